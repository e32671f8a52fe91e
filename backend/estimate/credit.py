"""What engines hold, and so what unloading them gives back, for the estimate of a model that would take their place."""

from __future__ import annotations

from collections.abc import Iterable

from modeldeck.backend.memory_reading import DeviceMemory, EngineMemory, MemoryReading
from modeldeck.backend.models import LoadedModel


def held_by(memory: MemoryReading, pid: int, loaded: LoadedModel) -> dict[str, int]:
    """Bytes by device name that the engine with this pid holds; RAM includes the weights that it has mapped."""
    engine = next((one for one in memory.engines if one.pid == pid), EngineMemory(pid, 0))
    held = {gpu.name: size for gpu in memory.devices if (size := _on_gpu(gpu, engine, loaded)) > 0}
    if engine.ram_bytes > 0:
        held["ram"] = engine.ram_bytes
    return held


def added(holdings: Iterable[dict[str, int]]) -> dict[str, int]:
    """The credit of several together."""
    total: dict[str, int] = {}
    for held in holdings:
        for device, size in held.items():
            total[device] = total.get(device, 0) + size
    return total


def _on_gpu(gpu: DeviceMemory, engine: EngineMemory, loaded: LoadedModel) -> int:
    """What the driver says of its processes, else the peak that the engine reported, which PyTorch keeps reserved."""
    told = [one.used_bytes for one in gpu.processes if engine.is_one(one.pid) and one.used_bytes is not None]
    return sum(told) if told else min(loaded.peaks.get(gpu.name, 0), gpu.used_bytes)
