"""Processes of this machine: families, the RAM that they hold, and whose they are.

Read from ``/proc`` where there is one; psutil, which is slower, answers elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from modeldeck.backend.text import clean_name

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
UNKNOWN = "?"
"""The name of what nobody may look at, or is gone."""


class Owner(Struct, frozen=True):
    """Whose process it is, and what runs; untrusted text, cleaned."""

    user: str
    """A name, or ``uid 1004`` where the machine knows none, or ``?``."""
    name: str


def family(pids: Sequence[int], proc: Path) -> frozenset[int]:
    """The processes and all below them."""
    seen: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            waiting.extend(_children(pid, proc))
    return frozenset(seen)


def resident_bytes(pid: int, proc: Path) -> int:
    """The resident set size; what processes share is in each of them; 0 for one that is gone.

    The proportional size (``smaps_rollup``) would be exact, but the kernel walks every page for it while it holds
    the lock that the engine needs to map memory: 15 ms for 1.2 GB, growing with the model, against 0.03 ms.
    """
    try:
        return int((proc / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        pass  # another kernel, or gone: psutil may still know
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, ValueError, OverflowError):
        return 0


def mapped_bytes(pid: int, proc: Path) -> int:
    """What of the resident set is mapped from files or shared; 0 where the kernel does not say."""
    try:
        return int((proc / str(pid) / "statm").read_text(encoding="ascii").split()[2]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def swapped_bytes(pid: int, proc: Path) -> int:
    """What of the process lies in the swap (``VmSwap``); 0 where the kernel does not say."""
    for line in _text(proc / str(pid) / "status").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "VmSwap:" and words[1].isdecimal():
            return int(words[1]) * 1024
    return 0


class Owners:
    """Tells whose processes are, and asks the machine once for each: names of users may come over a network."""

    def __init__(self, proc: Path = Path("/proc"), user_name: Callable[[int], str] | None = None) -> None:
        self._proc = proc
        self._user_name = user_name or _user_name
        self._known: dict[int, Owner] = {}

    def of(self, pid: int) -> Owner:
        """Whose it is; never raises."""
        if pid not in self._known:
            self._known[pid] = self._look(pid)
        return self._known[pid]

    def keep_only(self, pids: Iterable[int]) -> None:
        """Forget all others, whose numbers other processes may get."""
        kept = set(pids)
        self._known = {pid: owner for pid, owner in self._known.items() if pid in kept}

    def _look(self, pid: int) -> Owner:
        folder = self._proc / str(pid)
        try:
            return Owner(self._user(folder.stat().st_uid), clean_name(_text(folder / "comm").strip(), 40) or UNKNOWN)
        except OSError:
            return _asked_elsewhere(pid, self._user)

    def _user(self, uid: int) -> str:
        try:
            return clean_name(self._user_name(uid), 40)
        except (KeyError, OSError):
            return f"uid {uid}"


def _user_name(uid: int) -> str:
    import pwd

    return pwd.getpwuid(uid).pw_name


def _asked_elsewhere(pid: int, user: Callable[[int], str]) -> Owner:
    import psutil

    try:
        process = psutil.Process(pid)
        return Owner(user(process.uids().real), clean_name(process.name(), 40) or UNKNOWN)
    except (psutil.Error, AttributeError, ValueError, OverflowError):
        return Owner(UNKNOWN, UNKNOWN)


def _children(pid: int, proc: Path) -> list[int]:
    """Direct children, from the kernel's own lists; psutil would look at every process of the machine."""
    found: list[int] = []
    try:
        for task in (proc / str(pid) / "task").iterdir():
            found.extend(int(child) for child in (task / "children").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        pass  # gone meanwhile, or a kernel without these lists
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
