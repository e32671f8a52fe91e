"""What a container or a scheduler leaves of this machine's memory and cores (cgroup v2 and v1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

_UNLIMITED = 2**60
"""Version 1 writes a limit near 2**63 where there is none."""


class MemoryLimit(Struct, frozen=True):
    """What the limits of all groups above this process leave together, in bytes."""

    limit_bytes: int
    """The tightest limit."""
    used_bytes: int
    """The limit without what is left in the group that has least left, which may be a wider one that is full."""

    @property
    def free_bytes(self) -> int:
        """What is left in the group that has least left."""
        return self.limit_bytes - self.used_bytes


class Cgroups:
    """Reads the files of the groups that this process is in, from its own group up to the root."""

    def __init__(self, mount: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> None:
        self._mount = mount
        self._membership = membership

    def memory(self, mapped: int = 0) -> MemoryLimit | None:
        """The limits of the memory, or None where there are none.

        Page cache that the kernel would give back at once (``inactive_file``) is not used, apart from ``mapped`` bytes
        of files that somebody is known to need.
        """
        return _together(self._memory_limits(mapped))

    def swap(self) -> MemoryLimit | None:
        """The limits of the swap, or None where there are none (version 1 limits RAM and swap together)."""
        return _together(
            (limit, _number(group / "memory.swap.current") or 0)
            for group in self._groups("")
            if (limit := _number(group / "memory.swap.max")) is not None
        )

    def cores(self) -> float | None:
        """How many cores the tightest quota allows, or None where there is none."""
        return min(self._quotas(), default=None)

    def out_of_memory_kills(self) -> int | None:
        """How many processes of this group the kernel has killed for lack of memory; None where it does not count."""
        for controller, name in (("", "memory.events"), ("memory", "memory.oom_control")):
            for group in self._groups(controller):
                if (kills := _counted(group / name, "oom_kill")) is not None:
                    return kills
        return None

    def _memory_limits(self, mapped: int) -> Iterator[tuple[int, int]]:
        for group in self._groups(""):
            if (limit := _number(group / "memory.max")) is not None:
                yield limit, _used(group, "memory.current", "", mapped)
        for group in self._groups("memory"):
            if (limit := _number(group / "memory.limit_in_bytes")) is not None:
                yield limit, _used(group, "memory.usage_in_bytes", "total_", mapped)

    def _quotas(self) -> Iterator[float]:
        for group in self._groups(""):
            words = _text(group / "cpu.max").split()
            if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]) > 0:
                yield int(words[0]) / int(words[1])
        for group in self._groups("cpu"):
            quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
            if quota is not None and quota > 0 and period:
                yield quota / period

    def _groups(self, controller: str) -> Iterator[Path]:
        """The folders of this process's group and of those above it; version 2 is the controller without a name."""
        for line in _text(self._membership).splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controller not in controllers.split(","):
                continue
            mount = self._mount / controllers if controllers else self._mount
            if controllers and not mount.is_dir():
                mount = self._mount / controller
            group = mount / path.lstrip("/")
            # Inside a container the path may be that of the host, which is not there; the mount itself then counts.
            while mount in group.parents:
                yield group
                group = group.parent
            yield mount


def _together(levels: Iterable[tuple[int, int]]) -> MemoryLimit | None:
    """One limit out of the limit and the use of each level."""
    held = [(limit, used) for limit, used in levels if 0 <= limit < _UNLIMITED]
    if not held:
        return None
    tightest = min(limit for limit, _ in held)
    left = max(0, min(limit - used for limit, used in held))
    return MemoryLimit(tightest, tightest - left)


def _used(group: Path, usage: str, prefix: str, mapped: int) -> int:
    """What the group holds without its idle page cache; mapped pages may lie on either list of the kernel."""
    used = _number(group / usage) or 0
    cached = {"inactive_file": 0, "active_file": 0}
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name.startswith(prefix) and (name := name.removeprefix(prefix)) in cached and value.isdecimal():
            cached[name] = int(value)
    firm = used - sum(cached.values())
    return max(0, used - cached["inactive_file"], min(used, firm + mapped))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _counted(path: Path, name: str) -> int | None:
    """The figure on the line of this name, in a file of such lines."""
    for line in _text(path).splitlines():
        found, _, value = line.partition(" ")
        if found == name and value.isdecimal():
            return int(value)
    return None


def _number(path: Path) -> int | None:
    """A whole number, negative ones included; None for ``max`` and where there is no such file."""
    text = _text(path).strip()
    return int(text) if text.removeprefix("-").isdecimal() else None
