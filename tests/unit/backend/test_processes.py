"""Whose processes hold memory, also where nobody may look."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from modeldeck.backend.processes import Owner, Owners, family, swapped_bytes


def proc_of(tmp_path: Path, comm: str | None = "python3\n", status: str = "") -> Path:
    folder = tmp_path / "77"
    folder.mkdir()
    if comm is not None:
        (folder / "comm").write_bytes(comm.encode("utf-8", "surrogateescape"))
    (folder / "status").write_text(status)
    return tmp_path


def test_our_own_process_has_our_name() -> None:
    owner = Owners().of(os.getpid())
    assert owner.user == pwd.getpwuid(os.getuid()).pw_name
    assert owner.name == Path("/proc/self/comm").read_text().strip()


def test_a_user_that_the_machine_does_not_know_is_a_number(tmp_path: Path) -> None:
    def nobody(uid: int) -> str:
        raise KeyError(uid)

    assert Owners(proc_of(tmp_path), nobody).of(77) == Owner(f"uid {os.getuid()}", "python3")


def test_what_nobody_may_look_at_is_a_question_mark(tmp_path: Path) -> None:
    assert Owners(proc_of(tmp_path, comm=None), lambda uid: "ana").of(77) == Owner("ana", "?")
    assert Owners(tmp_path / "nothing").of(2**22 + 1) == Owner("?", "?")


@pytest.mark.parametrize("pid", [-1, 0, 2**22 + 1, 2**40, 2**70])
def test_no_number_ends_a_reading(pid: int) -> None:
    assert isinstance(Owners(Path("/nowhere")).of(pid), Owner)


def test_hostile_names_are_cleaned(tmp_path: Path) -> None:
    owner = Owners(proc_of(tmp_path, "\x1b[2J\nx\udcff"), lambda uid: "\x1b]0;a\x07\n").of(77)
    assert (owner.user + owner.name).isprintable()


def test_each_process_is_asked_once_until_it_is_gone(tmp_path: Path) -> None:
    asked: list[int] = []

    def name(uid: int) -> str:
        asked.append(uid)
        return "ana"

    owners = Owners(proc_of(tmp_path), name)
    for _ in range(3):
        owners.of(77)
        owners.keep_only([77])
    assert len(asked) == 1
    owners.keep_only([])
    owners.of(77)
    assert len(asked) == 2


def test_the_swap_of_a_process_is_read(tmp_path: Path) -> None:
    proc = proc_of(tmp_path, status="VmRSS:\t 9 kB\nVmSwap:\t   1024 kB\n")
    assert swapped_bytes(77, proc) == 2**20
    assert swapped_bytes(78, proc) == 0


def test_a_family_is_the_process_and_all_below() -> None:
    assert os.getpid() in family([os.getppid()], Path("/proc"))
    assert family([], Path("/proc")) == frozenset()
