"""What loads really took on this machine: the highest peak of each way to load a model, kept between runs.

A file that cannot be read counts as empty: losing it loses nothing that another load would not measure again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from modeldeck.backend.models import GenerationStats, LoadedModel, LoadRequest

MAX_MEASUREMENTS = 400
"""More than anybody has models; the least recently measured go first."""
_MAX_FILE = 2**20


class MeasuredLoad(Struct, frozen=True):
    """Which load it was: the model with its revision, and how it was loaded."""

    model_id: str
    """``org/name@revision``, a path, or ``starter``."""
    dtype: str
    """As it was asked for: ``auto`` or one of torch's words."""
    quantization: str
    device_kind: str
    """``cuda``, ``mps`` or ``cpu``."""

    @classmethod
    def of(cls, request: LoadRequest, device: str) -> MeasuredLoad:
        """The load that a request asks for on a device (``cuda:0``, ``cuda:0+cuda:1``, ``cpu``, ``ram``)."""
        kind = "cpu" if device == "ram" else device.partition(":")[0].partition("+")[0]
        return cls(request.model_id, request.dtype, str(request.quantization), kind)


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
    """Reads the file once, and writes it whole after each new peak."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[MeasuredLoad, Measurement] | None = None

    def find(self, request: LoadRequest, device: str) -> Measurement | None:
        """What this load took before on such a device, or None."""
        return self._load().get(MeasuredLoad.of(request, device))

    def keep(self, measurement: Measurement) -> None:
        """Remember a peak; of two of the same load the higher of each device, and the longer conversation.

        Raises OSError when the file cannot be written; the peak is remembered for this run even so.
        """
        known = self._load()
        before = known.pop(measurement.load, None)
        known[measurement.load] = _highest(before, measurement) if before is not None else measurement
        while len(known) > MAX_MEASUREMENTS:
            del known[next(iter(known))]
        if known[measurement.load] != before:
            self._write(tuple(known.values()))

    def _load(self) -> dict[MeasuredLoad, Measurement]:
        if self._known is None:
            self._known = {}
            with suppress(OSError, ValueError, RecursionError):
                if self._file.stat().st_size <= _MAX_FILE:
                    kept = msgspec.json.decode(self._file.read_bytes(), type=tuple[Measurement, ...])
                    self._known = {one.load: one for one in kept if _is_plausible(one)}
        return self._known

    def _write(self, kept: tuple[Measurement, ...]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with NamedTemporaryFile("wb", dir=self._file.parent, prefix=".measured-", delete=False) as draft:
            try:
                draft.write(msgspec.json.encode(kept))
                draft.flush()
                Path(draft.name).replace(self._file)
            except BaseException:
                os.unlink(draft.name)  # noqa: PTH108  # the draft's name is a plain string
                raise


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
