"""A load that waits until there is room, and what is still missing."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from modeldeck.backend.memory_reading import DeviceProcess, MemoryReading

WAIT_SECONDS = 1.0
"""Between two looks at the memory."""


class Shortage(Struct, frozen=True, kw_only=True):
    """The first device that has not enough free memory yet."""

    device: str
    """``cuda:0``, or ``ram``; untrusted text where a driver names it."""
    needed_bytes: int
    free_bytes: int
    """0 while the device does not answer."""
    holders: tuple[DeviceProcess, ...] = ()
    """Who holds memory of it, the most first; engines of this program not among them."""


def shortage(reading: MemoryReading | None, needed: Mapping[str, int]) -> Shortage | None:
    """What is missing of the bytes that each device must have free; None where there is enough."""
    found = {device.name: device for device in (*reading.devices, reading.ram)} if reading is not None else {}
    for name, size in needed.items():
        device = found.get(name)
        if device is None:
            return Shortage(device=name, needed_bytes=size, free_bytes=0)
        if device.free_bytes < size:
            others = tuple(process for process in device.processes if not process.ours)
            return Shortage(device=name, needed_bytes=size, free_bytes=device.free_bytes, holders=others)
    return None
