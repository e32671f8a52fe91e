"""``ls`` and ``show``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Modeldeck, write_model

KEYS = {
    "id", "name", "path", "source", "format", "architecture", "parameters", "dtype", "quantization",
    "context_length", "size_bytes", "has_chat_template", "needs_remote_code", "problems", "loadable",
    "architecture_class", "shape", "weights", "active_parameters", "modality", "licence", "tags", "revision", "refs",
    "base_model", "adapter", "file_count", "disk_bytes", "last_used", "quantization_details",
}  # fmt: skip
"""A script may rely on these: taking one away needs a new schema version."""


class TestList:
    def test_json_holds_every_model_with_stable_keys(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        ended = modeldeck("ls", "--json")
        assert (ended.code, ended.err) == (0, "")
        assert ended.document["schema_version"] == 1
        by_path = {model["path"]: model for model in ended.document["models"]}
        found = by_path[str(model_folder)]
        assert set(found) >= KEYS
        assert (found["name"], found["parameters"], found["loadable"]) == ("tiny-llama", 64, True)

    def test_the_table_names_what_the_row_is(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        row = next(line for line in modeldeck("ls").out.splitlines() if "tiny-llama" in line)
        assert row.split() == ["tiny-llama", "64", "bf16", "fits", "2,048", "203", "B", "folder"]

    def test_quiet_prints_ids_that_show_takes(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        ids = modeldeck("ls", "-q").out.splitlines()
        assert str(model_folder) in ids
        assert all(modeldeck("show", one).code == 0 for one in ids)

    @pytest.mark.usefixtures("no_starter")
    def test_nothing_found_says_where_it_looked_and_stdout_stays_empty(self, modeldeck: Modeldeck) -> None:
        ended = modeldeck("ls")
        assert (ended.code, ended.out) == (0, "")
        assert "~/models (not there)" in ended.err

    def test_a_broken_folder_is_listed_with_its_reason(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        (model_folder / "config.json").write_text("{")
        ended = modeldeck("ls", "--json")
        found = next(model for model in ended.document["models"] if model["name"] == "tiny-llama")
        assert found["loadable"] is False
        assert found["problems"]
        assert "broken" in modeldeck("ls").out

    def test_a_hostile_name_reaches_no_terminal(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        shutil.copytree(model_folder, model_folder.with_name("evil\x1b]52;c;aGk=\x07\u202e"))
        for arguments in (("ls",), ("ls", "-q"), ("ls", "--json"), ("show", "evil")):
            ended = modeldeck(*arguments)
            assert "evil" in ended.out
            assert not {"\x1b", "\x07", "\u202e"} & set(ended.out + ended.err)

    def test_a_bad_setting_is_told_and_the_rest_counts(self, modeldeck: Modeldeck, home: Path) -> None:
        other = write_model(home / "elsewhere" / "other")
        config = home / ".config" / "modeldeck" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('model_folders = ["~/elsewhere"]\ndevice = "tpu"\n')
        ended = modeldeck("ls", "-q")
        assert ended.code == 0
        assert str(other) in ended.out
        assert "device" in ended.err
        assert "tpu" in ended.err


class TestShow:
    def test_what_is_not_here_ends_with_3_and_a_sentence(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        ended = modeldeck("show", "tiny-lama")
        assert (ended.code, ended.out) == (3, "")
        assert "tiny-llama" in ended.err

    def test_json_is_the_model_of_ls(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        listed = modeldeck("ls", "--json").document["models"]
        shown = modeldeck("show", "tiny-llama", "--json").document["model"]
        assert {**shown, "fit": "fits"} in listed

    def test_for_people_it_says_every_figure_with_its_unit(self, modeldeck: Modeldeck, model_folder: Path) -> None:
        out = modeldeck("show", str(model_folder)).out
        assert "2,048 tokens" in out
        assert "203 B" in out

    def test_for_people_it_says_all_that_is_known_and_nothing_else(
        self, modeldeck: Modeldeck, model_folder: Path
    ) -> None:
        (model_folder / "README.md").write_text("---\nlicense: mit\ntags: [tiny]\n---\n# Hi")
        config = json.loads((model_folder / "config.json").read_text())
        (model_folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2, "hidden_size": 64}))
        lines = dict(line.split(maxsplit=1) for line in modeldeck("show", "tiny-llama").out.splitlines())
        assert (lines["licence"], lines["tags"], lines["layers"]) == ("mit", "tiny", "2")
        assert lines["architecture"] == "llama (LlamaForCausalLM)"
        assert not {"revision", "experts", "quantization", "adapter", "problem"} & set(lines)
        assert all(value != "?" for value in lines.values())
        document = modeldeck("show", "tiny-llama", "--json").document["model"]
        assert (document["licence"], document["shape"]["layers"], document["file_count"]) == ("mit", 2, 3)


class TestAdapter:
    @pytest.fixture(autouse=True)
    def adapter(self, home: Path) -> Path:
        folder = write_model(home / "models" / "tuned")
        (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
        (folder / "config.json").unlink()
        config = {"base_model_name_or_path": "org/base", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return folder

    def test_it_is_listed_as_one_and_not_as_broken(self, modeldeck: Modeldeck) -> None:
        row = next(line for line in modeldeck("ls").out.splitlines() if "tuned" in line)
        assert row.split() == ["tuned", "64", "adapter", "-", "?", "203", "B", "folder"]
        assert "tuned" not in modeldeck("doctor").out

    def test_show_tells_its_base_and_what_it_changes(self, modeldeck: Modeldeck) -> None:
        out = modeldeck("show", "tuned").out
        assert "org/base" in out
        assert "LORA, rank 8, alpha 16" in out
        assert "q_proj" in out

    def test_run_refuses_it_and_names_its_base(self, modeldeck: Modeldeck) -> None:
        ended = modeldeck("run", "tuned", "Hi")
        assert (ended.code, ended.out) == (1, "")
        assert "load its base model, org/base" in ended.err
