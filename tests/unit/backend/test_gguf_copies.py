from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from modeldeck.backend.gguf_copies import GgufCopies

Make = Callable[..., Path]
LIMIT = 10**9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "gguf"


@pytest.fixture
def copies(root: Path) -> GgufCopies:
    return GgufCopies(root)


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def make(copies: GgufCopies) -> Make:
    """Write and publish a copy of so many bytes, last used at a given second."""

    def make_copy(gguf: Path, size: int = 100, used: float | None = None) -> Path:
        if not gguf.exists():
            gguf.write_bytes(b"GGUF")
        draft = copies.draft(gguf)
        (draft / "model.safetensors").write_bytes(bytes(size))
        folder = copies.publish(draft, gguf)
        if used is not None:
            os.utime(folder / "last-used", (used, used))
        return folder

    return make_copy


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


def test_a_published_copy_is_found_by_its_file(copies: GgufCopies, gguf: Path, make: Make, root: Path) -> None:
    assert copies.find(gguf) is None
    folder = make(gguf)
    assert copies.find(gguf) == folder
    assert folder.name == copies.key(gguf)
    assert copies.size() == 100
    assert [(copy.gguf, copy.path, copy.size_bytes) for copy in copies.list()] == [(str(gguf), folder, 100)]
    assert hidden(root) == []


def test_s18_only_the_user_may_look(copies: GgufCopies, gguf: Path, root: Path) -> None:
    old = os.umask(0)
    try:
        draft = copies.draft(gguf)
        folder = copies.publish(draft, gguf)
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in (root, folder)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_another_version_of_the_file_is_another_copy_and_the_old_one_goes(
    copies: GgufCopies, gguf: Path, make: Make
) -> None:
    old = make(gguf)
    gguf.write_bytes(b"GGUF2")
    assert copies.find(gguf) is None
    new = make(gguf)
    assert copies.find(gguf) == new
    assert not old.exists()


def test_a_link_to_the_file_shares_its_copy(copies: GgufCopies, gguf: Path, make: Make, tmp_path: Path) -> None:
    folder = make(gguf)
    (tmp_path / "link.gguf").symlink_to(gguf)
    assert copies.find(tmp_path / "link.gguf") == folder


def test_a_draft_is_no_copy(copies: GgufCopies, gguf: Path) -> None:
    draft = copies.draft(gguf)
    (draft / "model.safetensors").write_bytes(b"half")
    assert copies.find(gguf) is None
    assert copies.list() == ()
    copies.discard(draft)
    assert not draft.exists()


@pytest.mark.parametrize("damage", ["cut", "removed", "marker", "no marker"])
def test_a_damaged_copy_is_not_found_and_is_replaced(copies: GgufCopies, gguf: Path, make: Make, damage: str) -> None:
    folder = make(gguf)
    weights = folder / "model.safetensors"
    match damage:
        case "cut":
            os.truncate(weights, 50)
        case "removed":
            weights.unlink()
        case "marker":
            (folder / "complete.json").write_text("{")
        case _:
            (folder / "complete.json").unlink()
    assert copies.find(gguf) is None
    assert make(gguf) == folder
    assert copies.find(gguf) == folder


def test_two_engines_at_once_leave_one_whole_copy(root: Path, gguf: Path) -> None:
    def write(number: int) -> Path:
        copies = GgufCopies(root)
        draft = copies.draft(gguf)
        (draft / "model.safetensors").write_bytes(bytes(1000 + number))
        return copies.publish(draft, gguf)

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(write, range(24)))
    assert folders == {GgufCopies(root).find(gguf)}
    assert hidden(root) == []


def test_a_file_that_changed_meanwhile_gets_no_copy(copies: GgufCopies, gguf: Path, root: Path) -> None:
    draft = copies.draft(gguf)
    gguf.write_bytes(b"another")
    with pytest.raises(OSError, match="has changed"):
        copies.publish(draft, gguf)
    assert list(root.iterdir()) == []


def test_drafts_of_dead_engines_go_and_those_of_living_ones_stay(copies: GgufCopies, gguf: Path, root: Path) -> None:
    mine = copies.draft(gguf)
    script = (
        "import sys; from pathlib import Path; from modeldeck.backend.gguf_copies import GgufCopies\n"
        f"copies = GgufCopies(Path({str(root)!r}))\n"
        f"print(copies.draft(Path({str(gguf)!r})), flush=True)\n"
        "sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as engine:
        assert engine.stdout is not None
        theirs = Path(engine.stdout.readline().strip())
        assert copies.clear() == 0
        assert theirs.is_dir()
        engine.kill()
    assert copies.clear() == 0
    assert not theirs.exists()
    assert mine.is_dir()
    copies.publish(mine, gguf)
    assert copies.find(gguf) is not None


def test_the_least_recently_used_go_first(copies: GgufCopies, make: Make, tmp_path: Path) -> None:
    a, b, c = (tmp_path / f"{name}.gguf" for name in "abc")
    for used, path in enumerate((a, b, c)):
        make(path, 100, used + 1000)
    assert copies.use(a) is not None  # used just now
    assert copies.find(b) is not None  # only looked at
    assert copies.room_for(150, 400)
    assert {Path(copy.gguf).stem for copy in copies.list()} == {"a", "c"}
    assert copies.room_for(300, 400)
    assert {Path(copy.gguf).stem for copy in copies.list()} == {"a"}


@pytest.mark.parametrize(("size", "limit", "free"), [(101, 100, 10**6), (1, 0, 10**6), (101, 10**6, 1000), (1, 10, 0)])
def test_what_does_not_fit_evicts_nothing(
    copies: GgufCopies, make: Make, gguf: Path, monkeypatch: pytest.MonkeyPatch, size: int, limit: int, free: int
) -> None:
    make(gguf)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert not copies.room_for(size, limit)
    assert copies.size() == 100


def test_a_tenth_of_the_free_disk_is_the_most(copies: GgufCopies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert copies.room_for(100, LIMIT)
    assert not copies.room_for(101, LIMIT)


def test_copies_are_removed_one_by_one_or_all(copies: GgufCopies, make: Make, tmp_path: Path, root: Path) -> None:
    a, b, c = (tmp_path / f"{name}.gguf" for name in "abc")
    for path in (a, b, c):
        make(path)
    assert copies.remove(a) == 100
    assert copies.remove(a) == 0
    b.unlink()
    assert copies.remove(b) == 100  # also when the file itself is gone
    make(b)
    assert copies.clear() == 200
    assert list(root.iterdir()) == []


def test_looking_creates_and_raises_nothing(copies: GgufCopies, gguf: Path, root: Path, tmp_path: Path) -> None:
    assert copies.find(tmp_path / "not-there.gguf") is None
    assert (copies.list(), copies.size(), copies.clear(), copies.remove(gguf)) == ((), 0, 0, 0)
    assert copies.room_for(1, LIMIT)
    assert not root.exists()
    with pytest.raises(FileNotFoundError):
        copies.draft(tmp_path / "not-there.gguf")
