"""What the model really takes: the highest memory of this process so far, on every device, and the reply's cache."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")


def peak_bytes(model: torch.nn.Module) -> dict[str, int]:
    """Bytes of the whole process on each device that holds a part of the model, under the names of the estimate.

    RAM is the peak of the resident set (``VmHWM``), mapped weights included; a GPU's is what PyTorch reserved at most
    and what the driver counts beside it. A device whose figure nobody can tell is left out.
    """
    peaks = {}
    for device in {parameter.device for parameter in model.parameters()}:
        name = "ram" if device.type in ("cpu", "meta") else str(device)
        peak = _ram_peak() if name == "ram" else _gpu_peak(device)
        if peak:
            peaks[name] = peak
    return peaks


def cache_bytes(cache: object) -> int:
    """Bytes of every tensor in a cache of transformers, whatever its layers are called; 0 where there is none."""
    layers = getattr(cache, "layers", None) or ()
    found: dict[int, torch.Tensor] = {}
    for layer in layers:
        for tensor in _tensors(vars(layer).values()):
            if tensor.dim() > 1:  # single numbers say where the window is
                found[id(tensor)] = tensor
    return sum(tensor.numel() * tensor.element_size() for tensor in found.values())


class CacheWatch:
    """Sees the cache of a reply go by, and holds it no longer than the reply."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._cache: object = None
        model.register_forward_hook(self._after)

    def _after(self, _module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        cache = getattr(output, "past_key_values", None)
        self._cache = cache if cache is not None else getattr(output, "cache_params", None)

    def take(self) -> object:
        """The last cache, which is then forgotten here."""
        cache, self._cache = self._cache, None
        return cache


def _tensors(values: Iterable[Any]) -> Iterable[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict):
            yield from _tensors(value.values())


def _ram_peak() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak) * (1 if os.uname().sysname == "Darwin" else 1024)
    return 0


def _gpu_peak(device: torch.device) -> int:
    if device.type == "cuda":
        reserved = int(torch.cuda.max_memory_reserved(device))
        return reserved + max(0, _driver_bytes(device) - int(torch.cuda.memory_reserved(device)))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    return 0


def _driver_bytes(device: torch.device) -> int:
    """What NVML says that this process holds of a GPU, context and kernels included; 0 where it does not say."""
    try:
        import pynvml
    except ImportError:
        return 0
    with suppress(pynvml.NVMLError, AttributeError, ValueError):
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
            if process.pid == os.getpid():
                return int(process.usedGpuMemory or 0)
    return 0
