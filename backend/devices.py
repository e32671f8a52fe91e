"""What this process may compute on: devices that a load may name, and cores."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence

from modeldeck.backend.amdsmi import AmdSmi
from modeldeck.backend.cgroups import Cgroups
from modeldeck.backend.gpu_driver import DriverError, GpuDriver
from modeldeck.backend.nvml import Nvml


def default_drivers() -> tuple[GpuDriver, ...]:
    """NVIDIA first; AMD is asked only where NVIDIA has nothing."""
    return Nvml(), AmdSmi()


def available_devices(
    drivers: Sequence[GpuDriver] | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """What a load may name as its device, ``auto`` first and ``cpu`` last; found out without torch."""
    found: list[str] = []
    for driver in default_drivers() if drivers is None else drivers:
        try:
            driver.open()
            handles = driver.handles(environ)
        except DriverError:
            continue
        finally:
            driver.close()
        found = [f"cuda:{index}" for index, handle in enumerate(handles) if not isinstance(handle, DriverError)]
        if handles:
            break
    apple = ("mps",) if gpu_shares_ram() else ()
    return ("auto", *found, *apple, "cpu")


def gpu_shares_ram() -> bool:
    """Whether this is a Mac whose GPU has no memory of its own."""
    return (sys.platform, platform.machine()) == ("darwin", "arm64")


def usable_cores(cgroups: Cgroups | None = None) -> int:
    """How many cores this process may keep busy: its affinity, and the whole cores of its cgroup's quota; 1 or more."""
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = (cgroups or Cgroups()).cores()
    return max(1, affinity if quota is None else min(affinity, int(quota)))
