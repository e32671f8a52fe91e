from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from modeldeck.backend.catalog.adapters import adapter_shape, adapters_of, base_of
from modeldeck.backend.catalog.catalog import Catalog, read_model
from modeldeck.backend.model_shape import AdapterShape
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from tests.unit.catalog.trees import hub_model, hub_repo, model_folder, safetensors_bytes

CONFIG = {
    "peft_type": "LORA",
    "base_model_name_or_path": "org/base",
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["v_proj", "q_proj"],
}
FILES = {
    "adapter_config.json": json.dumps(CONFIG).encode(),
    "adapter_model.safetensors": safetensors_bytes({"a": ("F32", [16, 8]), "b": ("F32", [8, 16])}),
}


def adapter_folder(path: Path, **changes: object) -> Path:
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text(json.dumps({**CONFIG, **changes}))
    (path / "adapter_model.safetensors").write_bytes(FILES["adapter_model.safetensors"])
    return path


def scan(folder: Path, cache: Path) -> dict[str, ModelInfo]:
    return {row.name: row for row in Catalog((folder,), cache, starter=False).scan()}


def test_an_adapter_is_a_row_of_its_own_in_folders_and_cache(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "models" / "tuned")
    snapshot = hub_repo(tmp_path / "hub", "me/tuned", FILES)
    rows = scan(tmp_path / "models", tmp_path / "hub")
    for row in (rows["tuned"], rows["me/tuned"]):
        assert (row.format, row.base_model, row.problems) == (ModelFormat.ADAPTER, "org/base", ())
        assert (row.parameters, row.dtype, row.loadable) == (256, "float32", False)
        assert row.adapter == AdapterShape(kind="LORA", rank=16, alpha=32.0, targets=("q_proj", "v_proj"))
        assert row.size_bytes == len(FILES["adapter_model.safetensors"])
        assert "org/base" in row.why_not_loadable
    assert (rows["tuned"].path, rows["me/tuned"].path) == (str(folder), str(snapshot))
    assert read_model(folder, ModelSource.FOLDER).format is ModelFormat.ADAPTER


def test_it_is_found_under_its_base_by_repository_path_or_name(tmp_path: Path) -> None:
    hub_repo(tmp_path / "hub", "org/base", hub_model())
    by_path = model_folder(tmp_path / "models" / "mine")
    adapter_folder(tmp_path / "models" / "one")
    adapter_folder(tmp_path / "models" / "two", base_model_name_or_path=str(by_path))
    adapter_folder(tmp_path / "models" / "three", base_model_name_or_path="elsewhere/MINE")
    adapter_folder(tmp_path / "models" / "four", base_model_name_or_path="not/here")
    rows = scan(tmp_path / "models", tmp_path / "hub")
    everything = list(rows.values())
    assert [row.name for row in adapters_of(rows["org/base"], everything)] == ["one"]
    assert {row.name for row in adapters_of(rows["mine"], everything)} == {"two", "three"}
    assert base_of(rows["four"], everything) is None
    assert base_of(rows["mine"], everything) is None


def test_a_broken_revision_is_no_base_while_a_whole_one_is_here(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "models" / "one")
    whole = read_model(model_folder(tmp_path / "base"), ModelSource.FOLDER)
    broken = structs.replace(whole, id="x", name="org/base", problems=("It is broken.",))
    whole = structs.replace(whole, name="org/base")
    (adapter,) = scan(tmp_path / "models", tmp_path / "hub").values()
    assert base_of(adapter, [broken, whole]) is whole


def test_an_adapter_beside_whole_weights_is_that_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "merged")
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    (row,) = scan(tmp_path / "models", tmp_path / "hub").values()
    assert (row.format, row.loadable) == (ModelFormat.SAFETENSORS, True)


def test_one_without_weights_or_with_a_broken_file_says_so(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "models" / "a")
    (folder / "adapter_model.safetensors").unlink()
    (row,) = scan(tmp_path / "models", tmp_path / "hub").values()
    assert row.problems == ("adapter_model.safetensors is missing.",)
    (folder / "adapter_model.bin").write_bytes(b"1234")
    (row,) = scan(tmp_path / "models", tmp_path / "hub").values()
    assert (row.size_bytes, row.parameters, row.problems) == (4, None, ())


@pytest.mark.parametrize("value", [None, True, -1, "x" * 10_000, [None, 3, "\x1b]0;x\x07"], {}, 10**30, float("nan")])
@pytest.mark.parametrize("key", ["peft_type", "r", "lora_alpha", "target_modules", "base_model_name_or_path"])
def test_s23_no_value_of_an_adapter_does_harm(key: str, value: object) -> None:
    shape = adapter_shape({**CONFIG, key: value})
    assert shape.rank is None or 0 < shape.rank < 2**20
    assert all("\x1b" not in target and len(target) <= 80 for target in shape.targets)
