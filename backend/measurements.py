"""What loads really took on this machine: the highest peak of each way to load a model, kept between runs.

A file that cannot be read counts as empty: losing it loses nothing that another load would not measure again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from modeldeck.backend.models import GenerationStats, LoadedModel, LoadRequest
from modeldeck.config.atomic import write_atomically
from modeldeck.config.shared_file import locked

MAX_MEASUREMENTS = 400
"""More than anybody has models; the least recently measured go first."""
_MAX_FILE = 2**20


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

    @classmethod
    def of(cls, request: LoadRequest, device: str) -> MeasuredLoad:
        """The load that a request asks for on a device (``cuda:0``, ``cuda:0+cuda:1``, ``cpu``, ``ram``)."""
        kind = "cpu" if device == "ram" else device.partition(":")[0].partition("+")[0]
        return cls(
            request.model_id, request.dtype, str(request.quantization), kind, request.size_bytes, str(request.attention)
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
    """Reads the file when it is asked first, and once more with what other instances measured at each new peak."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        self._known: dict[MeasuredLoad, Measurement] | None = None
        self._unwritten: list[Measurement] = []

    def find(self, request: LoadRequest, device: str) -> Measurement | None:
        """What this load took before on such a device, or None."""
        return self._load().get(MeasuredLoad.of(request, device))

    def keep(self, measurement: Measurement) -> None:
        """Remember a peak; of two of the same load the higher of each device, and the longer conversation.

        Blocks while another instance writes. Raises OSError, or UnicodeEncodeError for an id that is no text, when the
        file cannot be written; the peak is remembered for this run even so.
        """
        with self._lock:
            self._known = _with(self._load(), [measurement])
            msgspec.json.encode(measurement)  # one that cannot be written must not keep later ones from the file
            self._unwritten.append(measurement)
            with locked(self._file):
                on_disk = self._read()
                self._known = _with(on_disk, self._unwritten)
                if self._known != on_disk:
                    write_atomically(self._file, msgspec.json.encode(tuple(self._known.values())).decode())
            self._unwritten.clear()

    def _load(self) -> dict[MeasuredLoad, Measurement]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[MeasuredLoad, Measurement]:
        try:
            if self._file.stat().st_size > _MAX_FILE:
                return {}
            kept = msgspec.json.decode(self._file.read_bytes(), type=tuple[Measurement, ...])
        except (OSError, ValueError, RecursionError):
            return {}
        return {one.load: one for one in kept if _is_plausible(one)}


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


def _with(known: Mapping[MeasuredLoad, Measurement], new: Iterable[Measurement]) -> dict[MeasuredLoad, Measurement]:
    """What is known after these, too: the newest last, and no more than are kept."""
    after = dict(known)
    for one in new:
        before = after.pop(one.load, None)
        after[one.load] = one if before is None else _highest(before, one)
    return dict(list(after.items())[-MAX_MEASUREMENTS:])


def _highest(before: Measurement, after: Measurement) -> Measurement:
    """The higher peaks; a load on other devices than before replaces what was known."""
    if before.peaks.keys() != after.peaks.keys():
        return after
    longer = max(before, after, key=lambda one: one.context_tokens)
    return replace(longer, peaks={name: max(before.peaks[name], after.peaks[name]) for name in before.peaks})


def _is_plausible(one: Measurement) -> bool:
    return bool(one.peaks) and all(0 < peak < 2**50 for peak in one.peaks.values()) and one.context_tokens >= 0
