"""Which device a request means on this machine, and what it is called afterwards."""

from __future__ import annotations

import torch

from modeldeck.backend.errors import LoadError


def device_map_for(device: str) -> str | dict[str, str] | None:
    """What ``from_pretrained`` takes as ``device_map``; None is the CPU, with weights mapped from the file.

    Raises LoadError, with the devices that are here, when the one asked for is not.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return "auto"
        return {"": "mps"} if torch.backends.mps.is_available() else None
    if device == "cpu":
        return None
    if device == "mps":
        return {"": _checked("mps", torch.backends.mps.is_available())}
    name = "cuda:0" if device == "cuda" else device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, index = name.partition(":")
    return {"": _checked(name, kind == "cuda" and index.isdigit() and int(index) < count)}


def _checked(name: str, present: bool) -> str:
    if not present:
        here = ", ".join(_present())
        raise LoadError(f"PyTorch finds no device {name} on this machine; it finds {here}. Load on one of these.")
    return name


def _present() -> list[str]:
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def devices_of(model: torch.nn.Module) -> str:
    """Where the parameters really are: ``cpu``, ``cuda:0``, or several joined with ``+``."""
    names = {"disk" if p.device.type == "meta" else str(p.device) for p in model.parameters()}
    return "+".join(sorted(names)) or "cpu"
