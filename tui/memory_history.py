"""The last two minutes of every device, for the sparklines."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeldeck.backend.memory import DeviceMemory, MemoryReading

LENGTH = 120
"""Readings that are kept; there is one a second."""


class Trace:
    """One figure over time, as shares from 0 to 1; None where it was not told."""

    def __init__(self) -> None:
        self.values: deque[float | None] = deque(maxlen=LENGTH)
        self.total = 0
        """How many there have ever been: what is drawn in groups keeps them while it moves."""

    def append(self, value: float | None) -> None:
        """Add the newest."""
        self.values.append(value)
        self.total += 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever told in this time."""
        return all(value is None for value in self.values)


class MemoryHistory:
    """What of each device was used, and how busy it was."""

    def __init__(self) -> None:
        self._used: dict[str, Trace] = {}
        self._busy: dict[str, Trace] = {}

    def add(self, reading: MemoryReading) -> None:
        """Keep another reading; a device that is missing in it has a gap."""
        told = {device.name: device for device in (*reading.devices, reading.ram, reading.swap) if device is not None}
        for name in self._used.keys() | told.keys():
            device = told.get(name)
            self.used(name).append(None if device is None else device.used_share)
            self.busy(name).append(_busy_share(device))

    def used(self, name: str) -> Trace:
        """The share of the memory that was used."""
        return self._used.setdefault(name, Trace())

    def busy(self, name: str) -> Trace:
        """The share of the time in which it was busy."""
        return self._busy.setdefault(name, Trace())


def _busy_share(device: DeviceMemory | None) -> float | None:
    return None if device is None or device.utilization is None else min(1.0, device.utilization / 100)
