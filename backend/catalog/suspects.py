"""The spots that scanners hung or died at: left alone for a while, then tried again, less and less often."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from modeldeck.backend.catalog.places import Skip, Spot
from modeldeck.backend.errors import EngineDied

RETRY_SECONDS = 30.0
"""After which a spot gets its second chance; each time that it hangs again, it waits twice as long for the next."""
LONGEST_RETRY_SECONDS = 600.0


class Cause(Struct, frozen=True):
    """Why a child is gone."""

    sentence: str
    culprit: Skip | None = None
    """The spot that the next child leaves alone, where it is known."""


class Suspects:
    """The spots that children hung or died at, and whether the next child shall name each before it touches it."""

    def __init__(self, retry_seconds: float = RETRY_SECONDS, clock: Callable[[], float] = monotonic) -> None:
        self.skipped: tuple[Skip, ...] = ()
        self.cautious = False
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._due: dict[Spot, float] = {}
        self._pauses: dict[Spot, float] = {}

    @property
    def due_in(self) -> float | None:
        """Seconds until a spot gets another chance; None where none is left alone."""
        return max(0.0, min(self._due.values()) - self._clock()) if self._due else None

    def forgive(self) -> None:
        """Give those another chance whose time has come."""
        now = self._clock()
        self._due = {spot: due for spot, due in self._due.items() if due > now}
        self.skipped = tuple(skip for skip in self.skipped if skip.spot in self._due)

    def settle(self) -> None:
        """Everything else was looked at: what had another chance is as good as any spot again."""
        self._pauses = {spot: pause for spot, pause in self._pauses.items() if spot in self._due}

    def clear(self) -> None:
        """Give all of them another chance."""
        self.skipped, self.cautious = (), False
        self._due, self._pauses = {}, {}

    def hung(self, at: Spot, seconds: float) -> Cause:
        """Nothing moved for so long."""
        if not at.path:
            self.cautious = True
            return Cause(f"The search for models hung for {seconds:.0f} s and was started again.")
        what = "its header took longer than {} s to read" if at.is_model else "listing it took longer than {} s"
        return self._skip(at, what.format(f"{seconds:.0f}"))

    def died(self, at: Spot, death: EngineDied) -> Cause:
        """Of what is only known if it was cautious: else the spot it told last is long past."""
        if not (self.cautious and at.path):
            self.cautious = True
            return Cause(f"The search for models ended and was started again: {death}")
        self.cautious = False
        return self._skip(at, "reading it crashed the reader")

    def _skip(self, at: Spot, what: str) -> Cause:
        culprit = Skip(at, f"{what}, so it was given up")
        self.skipped = (*self.skipped, culprit)
        pause = self._pauses.get(at, self._retry_seconds)
        self._due[at] = self._clock() + pause
        self._pauses[at] = min(2 * pause, LONGEST_RETRY_SECONDS)
        return Cause(f"{at.path.decode(errors='replace')}: {culprit.problem}.", culprit)
