"""Devices and memory now: GPUs through their drivers, RAM and swap as the cgroup limits them, and the engine's share.

Blocking: call it in a thread. psutil, pynvml and amdsmi are imported when they are first needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from modeldeck.backend.cgroups import Cgroups, MemoryLimit
from modeldeck.backend.devices import available_devices, usable_cores
from modeldeck.backend.gpu_driver import GpuDriver
from modeldeck.backend.gpu_reader import RETRY_SECONDS, GpuReader
from modeldeck.backend.memory_reading import (
    DeviceMemory,
    DeviceProcess,
    EngineMemory,
    MemoryReading,
    UnreadableDevice,
)
from modeldeck.backend.processes import family, mapped_bytes, resident_bytes, swapped_bytes

__all__ = [
    "RETRY_SECONDS",
    "DeviceMemory",
    "DeviceProcess",
    "EngineMemory",
    "MemoryMonitor",
    "MemoryReading",
    "UnreadableDevice",
    "available_devices",
    "usable_cores",
]


class MemoryMonitor:
    """Reads memory again and again; nothing that a driver does makes it raise."""

    def __init__(
        self,
        drivers: Sequence[GpuDriver] | None = None,
        cgroups: Cgroups | None = None,
        environ: Mapping[str, str] = os.environ,
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._gpus = GpuReader(drivers, environ, proc, clock)
        self._cgroups = cgroups or Cgroups()
        self._proc = proc

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        """The devices, the RAM and the swap, and what these processes (the engines) and their children hold."""
        families = {pid: family([pid], self._proc) for pid in pids}
        engines = frozenset[int]().union(*families.values())
        ram = self._ram(sum(mapped_bytes(pid, self._proc) for pid in engines))
        held = {pid: resident_bytes(pid, self._proc) for pid in engines}
        gpus = self._gpus.read(engines, ram)
        return MemoryReading(
            devices=gpus.devices,
            ram=ram,
            swap=self._swap(),
            engine_bytes=sum(held.values()),
            engines=tuple(
                EngineMemory(leader, sum(held[pid] for pid in members), tuple(sorted(members)))
                for leader, members in families.items()
            ),
            engine_swap_bytes=sum(swapped_bytes(pid, self._proc) for pid in engines),
            unreadable=gpus.unreadable,
            problem=gpus.problem,
            no_devices=gpus.no_devices,
            driver=gpus.driver,
        )

    def _ram(self, mapped: int) -> DeviceMemory:
        """The RAM, where ``mapped`` bytes of files are in use by engines.

        The system calls such pages available, since it may drop them; a model whose weights are dropped stands still.
        """
        import psutil

        memory = psutil.virtual_memory()
        total, free = _limited(int(memory.total), int(memory.available) - mapped, self._cgroups.memory(mapped))
        return DeviceMemory(name="ram", label="RAM", used_bytes=total - free, total_bytes=total)

    def _swap(self) -> DeviceMemory | None:
        import psutil

        try:
            swap = psutil.swap_memory()
        except (OSError, RuntimeError):  # a sandbox may hide it
            return None
        total, free = _limited(int(swap.total), int(swap.total - swap.used), self._cgroups.swap())
        return DeviceMemory(name="swap", label="Swap", used_bytes=total - free, total_bytes=total) if total else None


def _limited(total: int, free: int, limit: MemoryLimit | None) -> tuple[int, int]:
    """The total and what is free of it: nothing that either the machine or a group refuses."""
    if limit is not None:
        total, free = min(total, limit.limit_bytes), min(free, limit.free_bytes)
    return total, max(0, min(free, total))
