"""What an unload gave back, seen on the devices and not taken for granted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from msgspec import Struct

from modeldeck.backend.estimate.credit import held_by
from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, EngineMemory, MemoryReading
from modeldeck.backend.models import LoadedModel

ReadMemory = Callable[[], Awaitable[MemoryReading | None]]
"""A reading that began after it was asked for; None where the memory does not answer."""

ENOUGH = 0.98
"""The share that must be back; drivers keep a little."""
PATIENCE = 5.0
"""Seconds that a driver may take to give the memory of a process back that is gone."""
_PAUSE = 0.1


class Freed(Struct, frozen=True, kw_only=True):
    """What one device got back."""

    device: str
    """``cuda:0``, or ``ram``."""
    held_bytes: int
    """What the engine held before."""
    freed_bytes: int
    holders: tuple[DeviceProcess, ...] = ()
    """Who holds memory of the device, where not everything came back."""

    @property
    def complete(self) -> bool:
        """Whether all but a rest is back."""
        return self.freed_bytes >= ENOUGH * self.held_bytes


class Unloading:
    """The memory before an engine ends; ``finish`` waits for it to come back. One for each unload."""

    def __init__(self, read: ReadMemory, before: MemoryReading, pid: int, loaded: LoadedModel) -> None:
        self._read = read
        self._engine = next((one for one in before.engines if one.pid == pid), EngineMemory(pid, 0))
        self._before = {device.name: device for device in before.devices if self._is_told(device)}
        held = held_by(before, pid, loaded)
        gpus = {name: held_bytes for name, held_bytes in held.items() if name in self._before}
        on_gpu = any(name != "ram" for name in held)
        self._held = gpus if on_gpu else held
        """By device; the RAM only of a model that is on no GPU. Empty where the driver names nobody: nothing is waited
        for then, and nothing claimed."""

    @classmethod
    async def begin(cls, read: ReadMemory, pid: int, loaded: LoadedModel) -> Unloading | None:
        """Look at the memory while the engine with this pid still holds the model; None where nobody can tell."""
        before = await read()
        return cls(read, before, pid, loaded) if before is not None else None

    async def finish(self, seconds: float = PATIENCE) -> tuple[Freed, ...]:
        """The engine is gone and reaped: wait until its memory is back, but no longer than ``seconds``."""
        deadline = monotonic() + seconds
        while True:
            reading = await self._read()
            found = self._compared(reading) if reading is not None else ()
            if reading is None or all(one.complete for one in found) or monotonic() >= deadline:
                return found
            await asyncio.sleep(_PAUSE)

    def _compared(self, after: MemoryReading) -> tuple[Freed, ...]:
        now = {device.name: device for device in after.devices}
        found = []
        for name, held in self._held.items():
            if name not in self._before:  # RAM: what a process held is back the moment that it is reaped
                found.append(Freed(device=name, held_bytes=held, freed_bytes=held))
            elif name in now:
                found.append(self._freed(self._before[name], now[name], held))
        return tuple(found)

    def _freed(self, before: DeviceMemory, after: DeviceMemory, held: int) -> Freed:
        """What others took or gave back meanwhile is left out."""
        expected = before.used_bytes - held + self._of_others(after) - self._of_others(before)
        missing = max(0, after.used_bytes - expected)
        freed = max(0, held - missing)
        holders = after.processes if freed < ENOUGH * held else ()
        return Freed(device=before.name, held_bytes=held, freed_bytes=freed, holders=holders)

    def _is_told(self, device: DeviceMemory) -> bool:
        """Whether the driver says what it holds; in a container it may know processes by other numbers."""
        return any(self._engine.is_one(one.pid) and one.used_bytes is not None for one in device.processes)

    def _of_others(self, device: DeviceMemory) -> int:
        return sum(one.used_bytes or 0 for one in device.processes if not self._engine.is_one(one.pid))
