"""Files are read ahead within the memory that is free, and never at any cost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from modeldeck.backend.prefetch import Prefetch, weight_files

MIB = 2**20


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the system was asked to read."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, start, length, _advice: calls.append((start, length)))
    return calls


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as stream:
        stream.truncate(3 * MIB + 5)
    return path


def test_every_part_is_asked_for(file: Path, asked: list[tuple[int, int]]) -> None:
    assert Prefetch([file], 10**9).wait(10)
    assert [start for start, _ in asked] == [0, MIB, 2 * MIB, 3 * MIB]


def test_more_than_there_is_room_for_is_not_read_at_all(file: Path, asked: list[tuple[int, int]]) -> None:
    assert Prefetch([file], 3 * MIB).wait(10)
    assert asked == []


def test_a_file_that_is_gone_does_no_harm(tmp_path: Path, asked: list[tuple[int, int]]) -> None:
    assert Prefetch([tmp_path / "gone"], 10**9).wait(10)
    assert asked == []


def test_it_ends_when_nobody_wants_it_any_more(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def read(_fd: int, start: int, _length: int, _advice: int) -> None:
        calls.append(start)
        prefetch.stop()

    monkeypatch.setattr(os, "posix_fadvise", read)
    prefetch = Prefetch([], 0)
    assert prefetch.wait(10)
    prefetch._read(file)
    assert calls == [0]


def test_the_files_of_a_model(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors", "config.json"):
        (tmp_path / name).touch()
    folder = ModelInfo(id="m", name="m", path=str(tmp_path), source=ModelSource.FOLDER, format=ModelFormat.SAFETENSORS)
    assert [file.name for file in weight_files(folder)] == ["a.safetensors", "b.safetensors"]
    gguf = ModelInfo(id="g", name="g", path="/g.gguf", source=ModelSource.FOLDER, format=ModelFormat.GGUF)
    assert weight_files(gguf) == [Path("/g.gguf")]
    assert [file.name for file in weight_files(gguf, tmp_path)] == ["a.safetensors", "b.safetensors"]
