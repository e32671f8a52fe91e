"""Devices and memory now: GPUs through their drivers, RAM and swap as the cgroup limits them, and the engine's share.

Blocking: call it in a thread. psutil, pynvml and amdsmi are imported when they are first needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from modeldeck.backend.cgroups import Cgroups
from modeldeck.backend.devices import available_devices, usable_cores
from modeldeck.backend.gpu_driver import GpuDriver
from modeldeck.backend.gpu_reader import RETRY_SECONDS, GpuReader
from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, MemoryReading, UnreadableDevice
from modeldeck.backend.processes import family, mapped_bytes, resident_bytes, swapped_bytes

__all__ = [
    "RETRY_SECONDS",
    "DeviceMemory",
    "DeviceProcess",
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
        engines = family(pids, self._proc)
        ram = self._ram(sum(mapped_bytes(pid, self._proc) for pid in engines))
        gpus = self._gpus.read(engines, ram)
        return MemoryReading(
            devices=gpus.devices,
            ram=ram,
            swap=self._swap(),
            engine_bytes=sum(resident_bytes(pid, self._proc) for pid in engines),
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
        total, used = int(memory.total), int(memory.total - memory.available) + mapped
        limit = self._cgroups.memory()
        if limit is not None and limit.limit_bytes < total:
            total, used = limit.limit_bytes, limit.used_bytes
        return DeviceMemory(name="ram", label="RAM", used_bytes=min(used, total), total_bytes=total)

    def _swap(self) -> DeviceMemory | None:
        import psutil

        try:
            swap = psutil.swap_memory()
        except (OSError, RuntimeError):  # a sandbox may hide it
            return None
        total, used = int(swap.total), int(swap.used)
        limit = self._cgroups.swap()
        if limit is not None and limit.limit_bytes < total:
            total, used = limit.limit_bytes, limit.used_bytes
        return (
            DeviceMemory(name="swap", label="Swap", used_bytes=min(used, total), total_bytes=total) if total else None
        )
