"""``show --estimate``."""

from __future__ import annotations

from pathlib import Path

from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.config.paths import Paths
from tests.unit.catalog.trees import gguf_file
from tests.unit.cli.conftest import Modeldeck


def test_json_holds_the_figures_of_each_device(modeldeck: Modeldeck, model_folder: Path) -> None:
    ended = modeldeck("show", str(model_folder), "--estimate", "--device", "cpu", "--dtype", "float32", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.document["request"] == {"device": "cpu", "dtype": "float32", "quantization": "none"}
    found = ended.document["estimate"]
    (ram,) = found["devices"]
    assert ram["device"] == "ram"
    assert ram["weights_bytes"] == 64 * 4
    parts = ("weights_bytes", "cache_bytes", "working_bytes", "engine_bytes")
    assert sum(ram[part] for part in parts) == ram["needed_bytes"] == found["needed_bytes"]
    assert ram["left_bytes"] == ram["free_bytes"] - ram["needed_bytes"]
    assert found["grounds"]
    assert set(ended.document["suggestion"]) == {"longest_context", "dtype", "quantization"}


def test_people_read_a_verdict_a_table_and_the_grounds(modeldeck: Modeldeck, model_folder: Path) -> None:
    lines = modeldeck("show", str(model_folder), "--estimate", "--context", "1024").out.splitlines()
    assert lines[0].endswith("1,024 tokens")
    assert lines[1].startswith("verdict: ")
    assert any(line.startswith("DEVICE") for line in lines)
    assert any(line.startswith("- Weights: ") for line in lines)


def test_options_that_mean_nothing_without_the_estimate_are_refused(modeldeck: Modeldeck, model_folder: Path) -> None:
    ended = modeldeck("show", str(model_folder), "--context", "100")
    assert ended.code == 2
    assert "--estimate" in ended.err


def test_a_value_that_does_not_exist_is_told_with_those_that_do(modeldeck: Modeldeck, model_folder: Path) -> None:
    ended = modeldeck("show", str(model_folder), "--estimate", "--quantization", "3bit")
    assert ended.code == 2
    assert "4bit" in ended.err
    assert modeldeck("show", str(model_folder), "--estimate", "--context", "0").code == 2


def test_a_prepared_copy_is_found_through_a_link_and_only_while_the_file_is_the_same(
    modeldeck: Modeldeck, paths: Paths, home: Path
) -> None:
    """As the engine finds it; a copy of what the file was before would not be loaded."""
    file = gguf_file(home / "somewhere" / "a.gguf")
    link = home / "b.gguf"
    link.symlink_to(file)
    copies = GgufCopies(paths.gguf_copies)
    copies.publish(copies.draft(file), file)

    def passing(path: Path) -> int:
        found = modeldeck("show", str(path), "--estimate", "--device", "cpu", "--dtype", "float32", "--json")
        needs = found.document["estimate"]["devices"]
        return sum(need["reclaimable_bytes"] for need in needs)

    assert passing(file) == passing(link) == 0
    file.write_bytes(file.read_bytes() + b"\0")
    assert passing(file) > 0


def test_a_context_beyond_the_models_own_is_cut_and_said(modeldeck: Modeldeck, model_folder: Path) -> None:
    ended = modeldeck("show", str(model_folder), "--estimate", "--context", "99999")
    assert "2,048 tokens" in ended.out
    assert "takes 2,048 tokens at the most" in ended.err
    assert not modeldeck("show", str(model_folder), "--estimate").err
