from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from modeldeck.config.remembered_list import MOST_RECENTS, ListMemory, RememberedList


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "list.json"


def test_everything_is_there_in_the_next_run(path: Path) -> None:
    remembered = RememberedList(path)
    assert remembered.memory == ListMemory()
    remembered.set_favourite("a", True)
    remembered.set_favourite("b", True)
    remembered.set_favourite("a", False)
    remembered.add_recent("x")
    remembered.add_recent("y")
    remembered.add_recent("x")
    remembered.set_order("size", reverse=True)
    expected = ListMemory(favourites=("b",), recents=("x", "y"), sort="size", reverse=True)
    assert remembered.memory == expected
    assert RememberedList(path).memory == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_instances_keep_what_the_other_wrote(path: Path) -> None:
    one, other = RememberedList(path), RememberedList(path)
    one.set_favourite("a", True)
    other.set_favourite("b", True)
    assert RememberedList(path).memory.favourites == ("a", "b")


def test_only_so_many_loads_are_kept(path: Path) -> None:
    remembered = RememberedList(path)
    for number in range(MOST_RECENTS + 5):
        remembered.add_recent(str(number))
    assert len(remembered.memory.recents) == MOST_RECENTS
    assert remembered.memory.recents[0] == str(MOST_RECENTS + 4)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"favourites": 3}', b"[" * 100_000], ids=range(5))
def test_f22_a_file_that_cannot_be_read_counts_as_none_and_is_kept_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    remembered = RememberedList(path)
    assert remembered.memory == ListMemory()
    assert [str(problem).partition(": ")[2] for problem in remembered.problems] == [
        "is damaged, so favourites and recent models are not known; "
        "the next change keeps it aside as list.json.corrupt-<time>"
    ]
    remembered.add_recent("a")
    remembered.add_recent("b")
    assert RememberedList(path).memory.recents == ("b", "a")
    assert [kept.read_bytes() for kept in path.parent.glob("list.json.corrupt-*")] == [content]
    assert RememberedList(path).problems == ()


def test_what_a_newer_version_wrote_does_no_harm(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"favourites": ["a"], "columns": []}')
    assert RememberedList(path).memory.favourites == ("a",)


def test_what_cannot_be_written_is_told_and_holds_until_the_end(path: Path) -> None:
    path.parent.write_text("no folder")
    remembered = RememberedList(path)
    with pytest.raises(OSError, match=r"list\.json|Not a directory|exists"):
        remembered.set_favourite("a", True)
    assert remembered.memory.favourites == ("a",)


MANY = """
import sys
from pathlib import Path
from modeldeck.config.remembered_list import RememberedList
for number in range(30):
    RememberedList(Path(sys.argv[1])).set_favourite(f"{sys.argv[2]}{number}", True)
"""


def test_f23_instances_that_write_at_the_same_time_lose_nothing(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", MANY, str(path), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert set(RememberedList(path).memory.favourites) == {f"{name}{number}" for name in "ab" for number in range(30)}
