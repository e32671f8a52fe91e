"""The GPUs now, through the first driver that has any; nothing that a driver does makes it raise."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec import Struct

from modeldeck.backend.devices import default_drivers, gpu_shares_ram
from modeldeck.backend.gpu_driver import DriverError, Gpu, GpuDriver, GpuProcess, figure
from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, UnreadableDevice
from modeldeck.backend.nvml import short_label
from modeldeck.backend.processes import Owners
from modeldeck.backend.text import clean_name

RETRY_SECONDS = 30.0
"""How long a driver that failed is left alone; a shared box's driver may be mended while the app runs."""
_NO_DRIVER = "No NVIDIA or AMD driver answers on this machine, so models run on the CPU."
_SHARED = "The GPU of this machine shares the RAM, so its memory is the RAM below."


class GpuReading(Struct, frozen=True, kw_only=True):
    """The GPUs at one moment; the fields mean what those of MemoryReading do."""

    devices: tuple[DeviceMemory, ...] = ()
    unreadable: tuple[UnreadableDevice, ...] = ()
    problem: str = ""
    no_devices: str = ""
    driver: str = ""


class GpuReader:
    """Reads the devices again and again; what fails is asked again, but not more often than every 30 seconds."""

    def __init__(
        self,
        drivers: Sequence[GpuDriver] | None = None,
        environ: Mapping[str, str] = os.environ,
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._drivers = default_drivers() if drivers is None else tuple(drivers)
        self._environ = environ
        self._clock = clock
        self._owners = Owners(proc)
        self._reads: list[Callable[[], Gpu]] = []
        """One for each device, in the order of ``cuda:0`` ...; those of lost ones are not called."""
        self._version = self._problem = self._no_devices = ""
        self._lost: dict[int, UnreadableDevice] = {}
        self._open_at = -inf

    def read(self, ours: frozenset[int], ram: DeviceMemory) -> GpuReading:
        """All devices; ``ours`` are the engines' processes, ``ram`` stands in for a device without its own memory."""
        if self._clock() >= self._open_at:
            self._open()
        devices: list[DeviceMemory] = []
        unreadable: list[UnreadableDevice] = []
        for index in range(len(self._reads)):
            found = self._read_one(index, ours, ram)
            if isinstance(found, DeviceMemory):
                devices.append(found)
            else:
                unreadable.append(found)
        self._owners.keep_only(process.pid for device in devices for process in device.processes)
        if unreadable and (self._lost or not devices):
            self._open_at = min(self._open_at, self._clock() + RETRY_SECONDS)
        lost = [f"{one.name}: {one.reason}" for one in unreadable]
        return GpuReading(
            devices=tuple(devices),
            unreadable=tuple(unreadable),
            problem="; ".join(lost) or self._problem,
            no_devices=self._no_devices,
            driver=self._version,
        )

    def _open(self) -> None:
        """Find the devices anew: the first driver with some of them is the one."""
        self._reads, self._lost, self._version = [], {}, ""
        self._problem, self._no_devices = "", ""
        self._open_at = self._clock() + RETRY_SECONDS
        hidden = 0
        for driver in self._drivers:
            try:
                driver.open()
                handles = driver.handles(self._environ)
                hidden += 0 if handles else driver.count()
            except DriverError as error:
                self._problem = self._problem or ("" if error.absent else str(error))
                continue
            if handles:
                self._take(driver, handles)
                self._version = clean_name(figure(driver.version) or "", 60)
                return
        self._no_devices = "" if self._problem else _why_none(hidden)

    def _take(self, driver: GpuDriver, handles: Sequence[Any]) -> None:
        self._problem, self._open_at = "", inf
        self._reads = [partial(driver.read, handle) for handle in handles]
        for index, handle in enumerate(handles):
            if isinstance(handle, DriverError):
                self._lost[index] = UnreadableDevice(f"cuda:{index}", handle.reason)

    def _read_one(self, index: int, ours: frozenset[int], ram: DeviceMemory) -> DeviceMemory | UnreadableDevice:
        if (lost := self._lost.get(index)) is not None:
            return lost
        try:
            gpu = self._reads[index]()
        except DriverError as error:
            found = UnreadableDevice(f"cuda:{index}", error.reason)
            if error.final:
                self._lost[index] = found
            return found
        return self._device(index, gpu, ours, ram)

    def _device(self, index: int, gpu: Gpu, ours: frozenset[int], ram: DeviceMemory) -> DeviceMemory:
        shared = gpu.used_bytes is None or gpu.total_bytes is None
        return DeviceMemory(
            name=f"cuda:{index}",
            label=short_label(gpu.name, gpu.total_bytes),
            used_bytes=ram.used_bytes if gpu.used_bytes is None else gpu.used_bytes,
            total_bytes=ram.total_bytes if gpu.total_bytes is None else gpu.total_bytes,
            utilization=gpu.utilization,
            temperature=gpu.temperature,
            power_watts=gpu.power_watts,
            power_limit_watts=gpu.power_limit_watts,
            processes=self._processes(gpu.processes, ours),
            uuid=clean_name(gpu.uuid, 80),
            compute_capability=gpu.compute_capability,
            shares_ram=shared,
        )

    def _processes(self, found: Sequence[GpuProcess], ours: frozenset[int]) -> tuple[DeviceProcess, ...]:
        processes = []
        for process in sorted(found, key=lambda one: (-(one.used_bytes or 0), one.pid)):
            owner = self._owners.of(process.pid)
            processes.append(
                DeviceProcess(
                    pid=process.pid,
                    user=owner.user,
                    name=owner.name,
                    used_bytes=process.used_bytes,
                    ours=process.pid in ours,
                )
            )
        return tuple(processes)


def _why_none(hidden: int) -> str:
    if hidden:
        gpus = "the GPU" if hidden == 1 else f"all {hidden} GPUs"
        return f"The list of visible devices in the environment hides {gpus} of this machine."
    return _SHARED if gpu_shares_ram() else _NO_DRIVER
