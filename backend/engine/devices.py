"""Which devices a request means on this machine, and what they are called afterwards."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field

import torch

from modeldeck.backend.errors import LoadError
from modeldeck.backend.models import DeviceMap, LoadRequest

_SINGLE_GPU_SHARE = 0.9
"""Of a single GPU's free memory for weights, as transformers itself leaves room for the rest."""
_RAM_SHARE = 0.9


@dataclass(frozen=True)
class Placement:
    """Where the weights go."""

    device_map: str | dict[str, str] | None
    """As ``from_pretrained`` takes it; None is the CPU, with weights mapped from the file."""
    max_memory: dict[int | str, int] | None = None
    """Bytes by the index of a GPU, or ``cpu``; None leaves it to transformers, which asks every GPU that it sees."""
    names: dict[str, str] = field(default_factory=dict)
    """What PyTorch calls a device, to what the request calls it, where that differs."""

    @property
    def gpus(self) -> list[str]:
        """Those on CUDA that may get weights, as PyTorch calls them."""
        if isinstance(self.device_map, dict):
            return [name for name in self.device_map.values() if name.startswith("cuda")]
        if self.device_map is None:
            return []
        indices = range(torch.cuda.device_count()) if self.max_memory is None else self.max_memory
        return [f"cuda:{index}" for index in indices if index != "cpu"]

    def devices_of(self, model: torch.nn.Module) -> str:
        """Where the parameters really are: ``cpu``, ``cuda:0``, or several joined with ``+``."""
        found = {"disk" if p.device.type == "meta" else str(p.device) for p in model.parameters()}
        return "+".join(sorted(self.names.get(name, name) for name in found)) or "cpu"

    def named(self, figures: dict[str, int]) -> dict[str, int]:
        """Figures by device under the request's names."""
        return {self.names.get(name, name): value for name, value in figures.items()}


def placement_for(request: LoadRequest) -> Placement:
    """Where the request wants the weights.

    GPUs are found by their UUIDs where the request has them, since PyTorch may count them in another order. Raises
    LoadError, with the devices that are here, when one that was asked for is not.
    """
    if request.device in {"cpu", "mps"}:
        return Placement(_plain(request.device))
    if request.device == "auto" and not torch.cuda.is_available():
        return Placement({"": "mps"} if torch.backends.mps.is_available() else None)
    asked = _asked_gpus(request)
    indices = {name: _index_of(name, request.gpu_uuids.get(name)) for name in asked}
    names = {f"cuda:{index}": name for name, index in indices.items() if name != f"cuda:{index}"}
    if request.device_map is DeviceMap.SINGLE or (len(asked) == 1 and request.device != "auto"):
        if not request.memory_limits or not request.cpu_offload:
            return Placement({"": f"cuda:{indices[asked[0]]}"}, names=names)
        indices = {asked[0]: indices[asked[0]]}
    kind = "sequential" if request.device_map is DeviceMap.SEQUENTIAL else "auto"
    whole = request.device == "auto" and kind == "auto" and request.cpu_offload and not request.memory_limits
    return Placement(kind, None if whole else _limits(request, indices), names)


def _plain(device: str) -> dict[str, str] | None:
    return {"": _checked("mps", torch.backends.mps.is_available())} if device == "mps" else None


def _asked_gpus(request: LoadRequest) -> list[str]:
    if request.device == "auto":
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cuda:0" if name == "cuda" else name for name in request.device.split("+")]


def _index_of(name: str, uuid: str | None) -> int:
    """PyTorch's number of a GPU."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if uuid:
        for index in range(count):
            if f"GPU-{getattr(torch.cuda.get_device_properties(index), 'uuid', '')}" == uuid:
                return index
    kind, _, index_text = name.partition(":")
    _checked(name, kind == "cuda" and index_text.isdigit() and int(index_text) < count)
    return int(index_text)


def _limits(request: LoadRequest, indices: dict[str, int]) -> dict[int | str, int]:
    share = _SINGLE_GPU_SHARE if len(indices) == 1 else 1.0
    limits: dict[int | str, int] = {}
    for name, index in indices.items():
        free = int(torch.cuda.mem_get_info(index)[0] * share)
        limits[index] = min(free, request.memory_limits.get(name, free))
    limits["cpu"] = _ram_limit(request) if request.cpu_offload else 0
    return limits


def _ram_limit(request: LoadRequest) -> int:
    import psutil

    free = int(psutil.virtual_memory().available * _RAM_SHARE)
    return min(free, request.memory_limits.get("cpu", free))


def _checked(name: str, present: bool) -> str:
    if not present:
        here = ", ".join(_present())
        if name.startswith("cuda") and not torch.cuda.is_available() and not (torch.version.cuda or torch.version.hip):
            line = shlex.join([sys.executable, "-m", "pip", "install", "--force-reinstall", "torch"])
            raise LoadError(
                f"This PyTorch ({torch.__version__}) is built without CUDA and finds no device {name}; run: {line}; "
                f"or load on {here}."
            )
        raise LoadError(f"PyTorch finds no device {name} on this machine; it finds {here}. Load on one of these.")
    return name


def _present() -> list[str]:
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]
