"""What a container or a scheduler leaves of this machine's memory and cores (cgroup v2 and v1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

_UNLIMITED = 2**60
"""Version 1 writes a limit near 2**63 where there is none."""


class MemoryLimit(Struct, frozen=True):
    """The tightest limit that holds for this process, in bytes."""

    limit_bytes: int
    used_bytes: int
    """Without the page cache that the kernel would give back at once (``inactive_file``)."""


class Cgroups:
    """Reads the files of the groups that this process is in, from its own group up to the root."""

    def __init__(self, mount: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> None:
        self._mount = mount
        self._membership = membership

    def memory(self) -> MemoryLimit | None:
        """The tightest memory limit, or None where there is none."""
        found = [limit for limit in self._memory_limits() if limit.limit_bytes < _UNLIMITED]
        return min(found, key=lambda limit: limit.limit_bytes, default=None)

    def swap(self) -> MemoryLimit | None:
        """The tightest limit of the swap, or None where there is none (version 1 limits RAM and swap together)."""
        limits = ((_number(group / "memory.swap.max"), group) for group in self._groups(""))
        found = [
            MemoryLimit(limit, _number(group / "memory.swap.current") or 0)
            for limit, group in limits
            if limit is not None and 0 <= limit < _UNLIMITED
        ]
        return min(found, key=lambda limit: limit.limit_bytes, default=None)

    def cores(self) -> float | None:
        """How many cores the tightest quota allows, or None where there is none."""
        return min(self._quotas(), default=None)

    def _memory_limits(self) -> Iterator[MemoryLimit]:
        for group in self._groups(""):
            limit = _number(group / "memory.max")
            if limit is not None:
                yield MemoryLimit(limit, _used(group, "memory.current", "inactive_file"))
        for group in self._groups("memory"):
            limit = _number(group / "memory.limit_in_bytes")
            if limit is not None:
                yield MemoryLimit(limit, _used(group, "memory.usage_in_bytes", "total_inactive_file"))

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


def _used(group: Path, usage: str, reclaimable: str) -> int:
    used = _number(group / usage) or 0
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == reclaimable and value.isdecimal():
            return max(0, used - int(value))
    return used


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """A whole number, negative ones included; None for ``max`` and where there is no such file."""
    text = _text(path).strip()
    return int(text) if text.removeprefix("-").isdecimal() else None
