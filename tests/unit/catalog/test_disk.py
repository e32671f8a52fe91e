from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeldeck.backend.catalog.catalog import Catalog
from modeldeck.backend.catalog.disk import files_use, folder_use
from modeldeck.backend.catalog.files import ModelFolder
from modeldeck.backend.models import ModelInfo
from tests.unit.catalog.trees import COMMIT, hub_model, hub_repo, model_folder


def only(folder: Path, cache: Path) -> ModelInfo:
    (row,) = Catalog((folder,), cache, starter=False).scan()
    return row


def test_a_blob_that_two_names_share_is_counted_once(tmp_path: Path) -> None:
    snapshot = hub_repo(tmp_path, "org/name", hub_model())
    (snapshot / "copy.safetensors").symlink_to((snapshot / "model.safetensors").readlink())
    use = folder_use(ModelFolder(str(snapshot), (str(tmp_path),)))
    assert use.file_count == 3
    assert use.disk_bytes == sum(len(data) for data in hub_model().values())


def test_parts_below_count_and_models_of_their_own_do_not(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "onnx").mkdir()
    (model / "onnx" / "model.onnx").write_bytes(bytes(1000))
    model_folder(model / "checkpoint-500")
    use = folder_use(ModelFolder(str(model)))
    whole = sum((model / name).stat().st_size for name in ("config.json", "model.safetensors"))
    assert (use.file_count, use.disk_bytes) == (3, whole + 1000)


def test_what_is_there_of_a_broken_model_is_counted(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "models" / "half")
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    row = only(tmp_path / "models", tmp_path / "hub")
    assert row.problems
    assert row.disk_bytes > row.size_bytes > 0
    blobs = tmp_path / "hub" / "models--org--started" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.1234.incomplete").write_bytes(b"half")
    assert only(tmp_path / "nothing", tmp_path / "hub").disk_bytes == 4


def test_a_scan_is_no_use_of_a_model(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "models" / "m")
    weights = model / "model.safetensors"
    os.utime(weights, (1_000_000_000, 1_600_000_000))
    if os.statvfs(weights).f_flag & os.ST_NOATIME:
        pytest.skip("this file system keeps no times of reading")
    for _ in range(2):
        assert only(tmp_path / "models", tmp_path / "hub").last_used == 1_000_000_000
    weights.read_bytes()
    assert (only(tmp_path / "models", tmp_path / "hub").last_used or 0) > 1_700_000_000


def test_no_weights_no_last_use(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert files_use(ModelFolder(str(tmp_path)), ["config.json", "gone"]).last_used is None


def test_a_snapshot_tells_its_commit_and_every_ref(tmp_path: Path) -> None:
    hub_repo(tmp_path, "org/name", hub_model())
    refs = tmp_path / "models--org--name" / "refs"
    (refs / "pr").mkdir()
    (refs / "pr" / "7").write_text(COMMIT)
    (refs / "old").write_text("f" * 40)
    os.mkfifo(refs / "fifo")
    row = only(tmp_path / "nothing", tmp_path)
    assert (row.revision, set(row.refs)) == (COMMIT, {"main", "pr/7"})
