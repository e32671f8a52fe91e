from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import page_cache
from benchmarks.page_cache import StillCached, cached_share, evict, read_seconds


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Of sizes that fill no whole pages and no whole chunks, and one that is empty."""
    written = [tmp_path / name for name in ("large", "small", "empty")]
    for file, size in zip(written, (3 * 2**20 + 5, 17, 0), strict=True):
        file.write_bytes(os.urandom(size))
    return written


def test_files_leave_the_cache_and_a_reading_brings_them_all_back(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "CHUNK", 2**20)
    assert cached_share(files) == 1.0  # they were just written
    try:
        evict(files)
    except StillCached as error:
        pytest.skip(f"on the file system of the tests, {error}")
    assert cached_share(files) <= page_cache.COLD_SHARE
    assert read_seconds(files) > 0
    assert cached_share(files) == 1.0


def test_files_that_stay_are_told(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: None)
    with pytest.raises(StillCached, match="keeps 100% of the files"):
        evict(files)


def test_empty_files_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert cached_share([tmp_path / "empty"]) == 0.0
