"""How fast a load goes and how long it will still take: by what is seen of it now, and by what loads took before.

Pure arithmetic: every moment is told, in seconds of a clock that never goes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from modeldeck.backend.load_times import StageTime
from modeldeck.backend.models import LoadStage
from modeldeck.backend.protocol import LoadProgress

SHOWN_SECONDS = 2.0
"""The rate that is shown is that of so long."""
STEADY_SECONDS = 10.0
"""The rate that the rest is reckoned with is that of so long; after so long without a step there is none."""
_TRUSTED_SECONDS = 2.0
"""After so long what is seen of a stage counts alone, and the past no more; without a past nothing is said before."""
_SHORTEST = 0.5
"""Seconds; no rate is taken over less, and no less is worth saying that it is left."""
_UNKNOWN_REST = 5.0
"""Seconds; without a past the stages after the weights are not known, and beside these even fewer would mislead."""
_ORDER = {stage: place for place, stage in enumerate(LoadStage)}


class Rate:
    """How fast a count grows. Steps may be large and rare: a rate always covers one step at least."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()

    def see(self, done: int, now: float) -> None:
        """The count at this moment."""
        if not self._steps or done > self._steps[-1][1]:
            self._steps.append((now, done))
        while len(self._steps) > 2 and self._steps[1][0] <= now - STEADY_SECONDS:
            self._steps.popleft()

    def over(self, seconds: float, now: float) -> float | None:
        """A second, over the last ``seconds`` or since the step before the last; above 0, or None while unknown."""
        if len(self._steps) < 2 or now - self._steps[-1][0] > STEADY_SECONDS:
            return None
        base = self._steps[0]
        for step in self._steps:
            if step[0] > now - seconds or step is self._steps[-1]:
                break
            base = step
        elapsed = now - base[0]
        return (self._steps[-1][1] - base[1]) / elapsed if elapsed >= _SHORTEST else None

    def seen_seconds(self, now: float) -> float:
        """How long it has been watched."""
        return now - self._steps[0][0] if self._steps else 0.0

    def still_seconds(self, now: float) -> float:
        """How long ago it grew last."""
        return now - self._steps[-1][0] if self._steps else 0.0


class LoadPace:
    """One load. ``past`` is what the stages of such a load took before, where that is known."""

    def __init__(self, past: Mapping[LoadStage, StageTime], now: float) -> None:
        self._past = past
        self._newest = LoadProgress(0, LoadStage.STARTING)
        self._began = now
        self._taken: dict[LoadStage, StageTime] = {}
        self._rate = Rate()

    @property
    def stage(self) -> LoadStage:
        """Where the load is."""
        return self._newest.stage

    def see(self, progress: LoadProgress, now: float) -> None:
        """The load moved on; no kind of progress may be left out but older ones of a stage."""
        if progress.stage is not self.stage:
            self._taken = self.times(now) if _ORDER[progress.stage] > _ORDER[self.stage] else {}
            self._began, self._rate = now, Rate()
        self._newest = progress
        if progress.total > 0:
            self._rate.see(min(progress.done, progress.total), now)

    def bytes_per_second(self, now: float) -> float | None:
        """Over the last moments, while bytes are gone through; None while that is not known."""
        progress = self._newest
        counted = progress.unit == "bytes" and progress.done < progress.total
        return self._rate.over(SHOWN_SECONDS, now) if counted else None

    def seconds_left(self, now: float) -> float | None:
        """Until the model can reply, or without a past, until its weights are there; None where that is unknown.

        Never less than half a second: of what should be over by now nothing is known.
        """
        here = self._left_here(now)
        left = None if here is None else here + self._left_after()
        return left if left is not None and left >= (_SHORTEST if self._past else _UNKNOWN_REST) else None

    def times(self, now: float) -> dict[LoadStage, StageTime]:
        """What each stage took, the last one until now."""
        return {**self._taken, self.stage: StageTime(max(0.0, now - self._began), self._newest.total)}

    def _left_here(self, now: float) -> float | None:
        """Seconds left of the stage."""
        progress, past = self._newest, self._past.get(self.stage)
        if progress.total <= 0:
            return _left_of(past.seconds, now - self._began) if past is not None else None
        if progress.done >= progress.total:
            return _left_of(0.0, self._rate.still_seconds(now))
        by_past = None
        if past is not None and past.total == progress.total:
            by_past = past.seconds * (1 - max(0, progress.done) / progress.total)
        return self._counted_left(by_past, now)

    def _counted_left(self, by_past: float | None, now: float) -> float | None:
        """The past decides at first, and what is seen after two seconds: from the page cache all is much faster."""
        rate = self._rate.over(STEADY_SECONDS, now)
        if rate is None:
            return by_past if self._rate.still_seconds(now) < STEADY_SECONDS else None
        by_rate = (self._newest.total - self._newest.done) / rate
        trust = min(1.0, self._rate.seen_seconds(now) / _TRUSTED_SECONDS)
        if by_past is None:
            return by_rate if trust == 1.0 else None
        return by_past + (by_rate - by_past) * trust

    def _left_after(self) -> float:
        """Seconds of the stages that are still to come, as far as the past knows them."""
        return sum(time.seconds for stage, time in self._past.items() if self._comes(stage, time))

    def _comes(self, stage: LoadStage, time: StageTime) -> bool:
        if _ORDER[stage] <= _ORDER[self.stage]:
            return False
        # Weights that were read and then moved may be in memory already, and are only gone through once this time.
        moves_now = self.stage is LoadStage.READING_WEIGHTS and time.total == self._newest.total > 0
        return not (stage is LoadStage.MOVING and moves_now)


def _left_of(expected: float, spent: float) -> float | None:
    """Of a stage that counts nothing; None once it takes so much longer than it should that nobody knows."""
    return max(0.0, expected - spent) if spent <= 1.5 * expected + 1.0 else None
