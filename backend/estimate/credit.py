"""What unloading the loaded model gives back, for the estimate of the model that would take its place."""

from __future__ import annotations

from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
from modeldeck.backend.models import LoadedModel


def credit_of(memory: MemoryReading, loaded: LoadedModel | None) -> dict[str, int]:
    """Bytes by device name; empty where no model is loaded.

    ``memory`` is a reading that counts the model's engine alone (``MemoryMonitor.read(manager.model_pids)``), which
    takes the weights that it has mapped for used RAM.
    """
    if loaded is None:
        return {}
    credit = {gpu.name: held for gpu in memory.devices if (held := _held(gpu, loaded)) > 0}
    if memory.engine_bytes > 0:
        credit["ram"] = memory.engine_bytes
    return credit


def _held(gpu: DeviceMemory, loaded: LoadedModel) -> int:
    """What the driver says of our process, else the peak that the engine reported, which PyTorch keeps reserved."""
    told = [process.used_bytes for process in gpu.processes if process.ours and process.used_bytes is not None]
    return sum(told) if told else min(loaded.peaks.get(gpu.name, 0), gpu.used_bytes)
