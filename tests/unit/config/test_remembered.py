from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modeldeck.config.remembered import MOST, LoadOptions, RememberedLoads

INT8 = LoadOptions("cuda:1", "bfloat16", "8bit")
NF4 = LoadOptions("auto", "auto", "4bit")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "loads.json"


def test_what_was_put_is_there_in_the_next_run(path: Path) -> None:
    first = RememberedLoads(path)
    assert first.get("org/a") is None
    first.put("org/a", INT8)
    assert first.get("org/a") == INT8
    assert RememberedLoads(path).get("org/a") == INT8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.put("org/a", None)
    assert RememberedLoads(path).get("org/a") is None


def test_two_instances_keep_what_the_other_wrote(path: Path) -> None:
    one, other = RememberedLoads(path), RememberedLoads(path)
    one.put("org/a", INT8)
    other.put("org/b", NF4)
    assert RememberedLoads(path).get("org/a") == INT8
    assert RememberedLoads(path).get("org/b") == NF4


def test_only_so_many_are_kept_and_the_last_used_stay(path: Path) -> None:
    loads = RememberedLoads(path)
    for number in range(MOST):
        loads.put(f"org/{number}", INT8)
    loads.put("org/0", NF4)
    loads.put("org/new", NF4)
    again = RememberedLoads(path)
    assert again.get("org/0") == NF4
    assert again.get("org/1") is None
    assert again.get("org/2") == INT8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"org/a": {"device": "rm -rf", "dtype": "auto", "quantization": "none"}}',
        b'{"org/a": {"device": "cpu", "dtype": "auto", "quantization": "none", "trust_remote_code": true}}',
        b"[" * 100_000,
    ],
    ids=["empty", "cut", "no table", "no text", "unknown device", "unknown field", "deep"],
)
def test_a_broken_file_is_forgotten(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    loads = RememberedLoads(path)
    assert loads.get("org/a") is None
    loads.put("org/b", NF4)
    assert RememberedLoads(path).get("org/b") == NF4


def test_what_cannot_be_written_down_counts_until_the_end_of_the_program(path: Path) -> None:
    path.parent.write_text("a file in the way")
    loads = RememberedLoads(path)
    with pytest.raises(OSError, match=r"."):
        loads.put("org/a", INT8)
    assert loads.get("org/a") == INT8


def test_an_id_that_is_no_text_is_kept_out_of_the_file(path: Path) -> None:
    loads = RememberedLoads(path)
    with pytest.raises(UnicodeEncodeError):
        loads.put("/models/\udcff", INT8)
    assert loads.get("/models/\udcff") == INT8
    assert not path.exists()
