"""How long the stages of loads took on this machine, kept between runs."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

import msgspec
from msgspec import Struct

from modeldeck.backend.kept_rows import KeptRows
from modeldeck.backend.measurements import MeasuredLoad
from modeldeck.backend.models import LoadRequest, LoadStage

_LONGEST = 7 * 24 * 3600.0
"""Seconds; no stage of an honest load takes a week."""


class StageTime(Struct, frozen=True):
    """What one stage took."""

    seconds: float
    total: int = 0
    """Bytes or tensors that it went through; 0 for a stage that counts nothing."""


class LoadTimes(Struct, frozen=True):
    """What the stages of one way to load a model took."""

    load: MeasuredLoad
    """Its device is the one that was asked for (``auto`` too): which it becomes is known only at the end of a load."""
    stages: dict[LoadStage, StageTime]


class PastLoads:
    """The times of each way to load a model; the newest load counts for half."""

    def __init__(self, file: Path) -> None:
        decoder = msgspec.json.Decoder(list[LoadTimes])
        self._rows = KeptRows(file, decoder, key_of=lambda one: one.load, merged=_mean, plausible=_is_plausible)

    def find(self, request: LoadRequest) -> Mapping[LoadStage, StageTime]:
        """What the stages of such a load took; empty where there was none."""
        times = self._rows.find(_load_of(request))
        return times.stages if times is not None else {}

    def keep(self, request: LoadRequest, stages: Mapping[LoadStage, StageTime]) -> None:
        """Remember what a load took. Blocks, and raises, as ``KeptRows.keep`` does."""
        self._rows.keep(LoadTimes(_load_of(request), dict(stages)))


def _load_of(request: LoadRequest) -> MeasuredLoad:
    return MeasuredLoad.of(request, request.device)


def _mean(before: LoadTimes, after: LoadTimes) -> LoadTimes:
    """Of the stages of the newer load, which alone says how such a load goes now."""
    return LoadTimes(
        after.load, {stage: _mean_of(before.stages.get(stage), now) for stage, now in after.stages.items()}
    )


def _mean_of(before: StageTime | None, now: StageTime) -> StageTime:
    """A stage that went through something else before says nothing (a GGUF file, and then its prepared copy)."""
    if before is None or before.total != now.total:
        return now
    return StageTime((before.seconds + now.seconds) / 2, now.total)


def _is_plausible(one: LoadTimes) -> bool:
    return all(
        isfinite(time.seconds) and 0 <= time.seconds < _LONGEST and time.total >= 0 for time in one.stages.values()
    )
