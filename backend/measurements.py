"""What loads really took on this machine: the highest peak of each way to load a model, kept between runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from modeldeck.backend.chat_messages import GenerationStats
from modeldeck.backend.kept_rows import KeptRows
from modeldeck.backend.models import LoadedModel, LoadRequest

_OTHER = ("double_quantization", "compute_dtype", "device_map", "memory_limits", "cpu_offload", "adapter")


class MeasuredLoad(Struct, frozen=True):
    """Which load it was: the model with its revision and size, and how it was loaded."""

    model_id: str
    """``org/name@revision``, a path, or ``starter``."""
    dtype: str
    """As it was asked for: ``auto`` or one of torch's words."""
    quantization: str
    device_kind: str
    """``cuda``, ``mps`` or ``cpu``."""
    size_bytes: int | None = None
    """Of the weights' files: a path may hold another model by now."""
    attention: str = "auto"
    other: str = ""
    """The other options that change what a load takes, as far as they are not the usual ones."""

    @classmethod
    def of(cls, request: LoadRequest, device: str) -> MeasuredLoad:
        """The load that a request asks for on a device (``cuda:0``, ``cuda:0+cuda:1``, ``cpu``, ``ram``)."""
        kind = "cpu" if device == "ram" else device.partition(":")[0].partition("+")[0]
        plain = LoadRequest(model_id="", path="")
        other = [
            f"{name}={getattr(request, name)}" for name in _OTHER if getattr(request, name) != getattr(plain, name)
        ]
        return cls(
            model_id=request.model_id,
            dtype=request.dtype,
            quantization=str(request.quantization),
            device_kind=kind,
            size_bytes=request.size_bytes,
            attention=str(request.attention),
            other=" ".join(other),
        )


class Measurement(Struct, frozen=True, kw_only=True):
    """The highest peak of one way to load a model."""

    load: MeasuredLoad
    peaks: dict[str, int]
    """Bytes on each device (``cuda:0``, ``ram``): the whole engine, not only the weights."""
    context_tokens: int
    """Tokens of the longest conversation that this peak covers; 0 when it is that of the load alone."""
    cache_bytes: int = 0
    """What the cache took of it."""

    @property
    def peak_bytes(self) -> int:
        """All devices together."""
        return sum(self.peaks.values())


class Measurements:
    """The highest peak of each way to load a model."""

    def __init__(self, file: Path) -> None:
        decoder = msgspec.json.Decoder(list[Measurement])
        self._rows = KeptRows(file, decoder, key_of=lambda one: one.load, merged=_highest, plausible=_is_plausible)

    def find(self, request: LoadRequest, device: str) -> Measurement | None:
        """What this load took before on such a device, or None."""
        return self._rows.find(MeasuredLoad.of(request, device))

    def keep(self, measurement: Measurement) -> None:
        """Remember a peak; of two of the same load the higher of each device, and the longer conversation.

        Blocks, and raises, as ``KeptRows.keep`` does.
        """
        self._rows.keep(measurement)


def measured_load(request: LoadRequest, loaded: LoadedModel) -> Measurement:
    """What an engine reported after a load."""
    return Measurement(load=MeasuredLoad.of(request, loaded.device), peaks=loaded.peaks, context_tokens=0)


def measured_reply(request: LoadRequest, loaded: LoadedModel, stats: GenerationStats) -> Measurement:
    """What an engine reported after a reply; the conversation is its prompt and its new tokens."""
    return Measurement(
        load=MeasuredLoad.of(request, loaded.device),
        peaks=stats.peaks,
        context_tokens=stats.prompt_tokens + stats.new_tokens,
        cache_bytes=stats.cache_bytes,
    )


def _highest(before: Measurement, after: Measurement) -> Measurement:
    """The higher peaks; a load on other devices than before replaces what was known."""
    if before.peaks.keys() != after.peaks.keys():
        return after
    longer = max(before, after, key=lambda one: one.context_tokens)
    return replace(longer, peaks={name: max(before.peaks[name], after.peaks[name]) for name in before.peaks})


def _is_plausible(one: Measurement) -> bool:
    return bool(one.peaks) and all(0 < peak < 2**50 for peak in one.peaks.values()) and one.context_tokens >= 0
