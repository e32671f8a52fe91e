from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeldeck.backend.models import LoadRequest
from modeldeck.backend.pickled_weights import pickles_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two pickles and more."""
    (tmp_path / "model").mkdir()
    for name in ("pytorch_model-1.bin", "pytorch_model-2.bin", "config.json"):
        (tmp_path / "model" / name).write_bytes(b"weights")
    return tmp_path / "model"


def digest(folder: Path, adapter: Path | None = None) -> str:
    return pickles_digest(LoadRequest(model_id="x", path=str(folder), adapter=str(adapter) if adapter else None))


def test_s6_another_pickle_is_another_digest_and_other_files_are_none(folder: Path) -> None:
    before = digest(folder)
    (folder / "config.json").write_text("{}")
    assert digest(folder) == before
    os.utime(folder / "pytorch_model-1.bin", (1, 1))
    assert digest(folder) != before
    (folder / "pytorch_model-2.bin").write_bytes(b"more weights")
    (folder / "new.pt").write_bytes(b"")
    assert len({before, digest(folder)}) == 2


def test_s6_a_link_to_another_blob_is_another_digest(folder: Path) -> None:
    blobs = [folder.parent / name for name in "ab"]
    digests = set()
    for blob in blobs:
        blob.write_bytes(b"weights")
        os.utime(blob, (1, 1))
        (folder / "pytorch_model-1.bin").unlink()
        (folder / "pytorch_model-1.bin").symlink_to(blob)
        digests.add(digest(folder))
    assert len(digests) == 2


def test_s6_the_pickles_of_an_adapter_count_too(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    assert digest(folder, adapter) == digest(folder)
    (adapter / "adapter_model.bin").write_bytes(b"")
    assert digest(folder, adapter) != digest(folder)


def test_where_there_are_none_or_none_can_be_seen_there_is_no_digest(tmp_path: Path) -> None:
    assert digest(tmp_path) == digest(tmp_path / "gone") == ""
