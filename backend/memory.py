"""Devices and memory now: GPUs through NVML, RAM as the cgroup limits it, and what the engine itself takes.

Blocking: call it in a thread. psutil and pynvml are imported when they are first needed.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec import Struct

from modeldeck.backend.cgroups import Cgroups
from modeldeck.backend.nvml import NvmlDriver, NvmlError, Pynvml, plain_problem, short_label, visible_handles

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RETRY_SECONDS = 30.0
"""How long a driver that failed is left alone; a shared box's driver may be mended while the app runs."""


class DeviceProcess(Struct, frozen=True, kw_only=True):
    """A process that holds memory of a device, whoever it belongs to."""

    pid: int
    user: str
    """The name of its user, or ``uid 1004``, or ``?`` where nobody may look; untrusted text, cleaned."""
    name: str
    """Of its program; untrusted text, cleaned; ``?`` where nobody may look."""
    used_bytes: int
    ours: bool = False
    """Whether it is an engine of this program."""


class DeviceMemory(Struct, frozen=True, kw_only=True):
    """One device's memory now."""

    name: str
    """``cuda:0``, as torch counts, or ``ram``."""
    label: str
    """``H100 80 GB``; untrusted text, cleaned."""
    used_bytes: int
    total_bytes: int
    utilization: int | None = None
    """Percent of the time that the device was busy; None where it does not say."""
    temperature: int | None = None
    """Degrees Celsius."""
    power_watts: float | None = None
    power_limit_watts: float | None = None
    processes: tuple[DeviceProcess, ...] = ()
    """Who holds memory of it, the most first; empty where the driver does not say (and for RAM)."""
    uuid: str = ""
    """Of a GPU, as its driver names it; the same whatever ``CUDA_VISIBLE_DEVICES`` says."""

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return max(0, self.total_bytes - self.used_bytes)


class MemoryReading(Struct, frozen=True, kw_only=True):
    """All devices at one moment."""

    devices: tuple[DeviceMemory, ...]
    """The GPUs that this process may use; empty where there are none."""
    ram: DeviceMemory
    swap: DeviceMemory | None = None
    """None where there is none, or nobody may look."""
    engine_bytes: int = 0
    """Resident bytes of the engine and its children; what they share is counted in each."""
    problem: str = ""
    """Why the GPUs cannot be read (``NVML: driver mismatch (18)``), or empty."""


class MemoryMonitor:
    """Reads memory again and again; nothing that a driver does makes it raise."""

    def __init__(
        self,
        driver: NvmlDriver | None = None,
        cgroups: Cgroups | None = None,
        environ: Mapping[str, str] = os.environ,
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._driver = driver or Pynvml()
        self._cgroups = cgroups or Cgroups()
        self._environ = environ
        self._proc = proc
        self._clock = clock
        self._handles: list[Any] | None = None
        self._problem = ""
        self._retry_at = -inf

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        """The devices, the RAM, and the RAM of these processes and their children."""
        devices, problem = self._gpus()
        return MemoryReading(
            devices=devices, ram=self._ram(), engine_bytes=_resident_bytes(pids, self._proc), problem=problem
        )

    def _gpus(self) -> tuple[tuple[DeviceMemory, ...], str]:
        handles = self._open()
        devices, problem = [], self._problem
        for index, handle in enumerate(handles):
            try:
                gpu = self._driver.read(handle)
            except NvmlError as error:
                problem = f"cuda:{index}: {plain_problem(error).removeprefix('NVML: ')}"
                continue
            devices.append(
                DeviceMemory(
                    name=f"cuda:{index}",
                    label=short_label(gpu.name, gpu.total_bytes),
                    used_bytes=gpu.used_bytes,
                    total_bytes=gpu.total_bytes,
                    utilization=gpu.utilization,
                )
            )
        if handles and not devices:
            self._handles, self._problem, self._retry_at = None, problem, self._clock() + RETRY_SECONDS
        return tuple(devices), problem

    def _open(self) -> list[Any]:
        """The devices' handles, found once; after a failure again, but not more often than every 30 seconds."""
        if self._handles is None and self._clock() >= self._retry_at:
            try:
                self._driver.init()
                self._handles = visible_handles(self._driver, self._environ)
                self._problem = ""
            except NvmlError as error:
                self._problem = plain_problem(error)
                self._retry_at = self._clock() + RETRY_SECONDS
        return self._handles or []

    def _ram(self) -> DeviceMemory:
        import psutil

        memory = psutil.virtual_memory()
        total, used = int(memory.total), int(memory.total - memory.available)
        limit = self._cgroups.memory()
        if limit is not None and limit.limit_bytes < total:
            total, used = limit.limit_bytes, limit.used_bytes
        return DeviceMemory(name="ram", label="RAM", used_bytes=min(used, total), total_bytes=total)


def available_devices(driver: NvmlDriver | None = None, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """What a load may name as its device, ``auto`` first and ``cpu`` last; found out without torch."""
    driver = driver or Pynvml()
    try:
        driver.init()
        count = len(visible_handles(driver, environ))
    except NvmlError:
        count = 0
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return ("auto", *(f"cuda:{index}" for index in range(count)), *(("mps",) if apple else ()), "cpu")


def usable_cores(cgroups: Cgroups | None = None) -> int:
    """How many cores this process may keep busy: its affinity, and the whole cores of its cgroup's quota; 1 or more."""
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = (cgroups or Cgroups()).cores()
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def _resident_bytes(pids: Sequence[int], proc: Path) -> int:
    """RAM of the processes and all below them; a process that ended meanwhile counts nothing."""
    seen: set[int] = set()
    waiting = list(pids)
    total = 0
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            total += _process_bytes(pid, proc)
            waiting.extend(_children(pid, proc))
    return total


def _process_bytes(pid: int, proc: Path) -> int:
    """The resident set size in bytes; what processes share is in each of them.

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


def _children(pid: int, proc: Path) -> list[int]:
    """Direct children, from the kernel's own lists; psutil would look at every process of the machine."""
    found: list[int] = []
    try:
        for task in (proc / str(pid) / "task").iterdir():
            found.extend(int(child) for child in (task / "children").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        pass  # gone meanwhile, or a kernel without these lists
    return found
