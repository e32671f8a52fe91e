"""Watches the loads of a manager: tells how fast they go and what is left, and remembers what they took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from modeldeck.backend.load_pace import LoadPace
from modeldeck.backend.load_times import StageTime
from modeldeck.backend.manager_state import ManagerState
from modeldeck.backend.models import LoadRequest, LoadStage, ModelStatus
from modeldeck.backend.residents import Resident

Times = Mapping[LoadStage, StageTime]


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a load goes at one moment; None stands for what is not known."""

    bytes_per_second: float | None = None
    seconds_left: float | None = None
    """An estimate; never below half a second."""


class LoadFollower:
    """Must be told of every change of the manager, by ``look``.

    ``find`` gives what such a load took before, and ``keep`` is told what a load took that ended with a model; neither
    may raise.
    """

    def __init__(
        self,
        manager: ManagerState,
        find: Callable[[LoadRequest], Times],
        keep: Callable[[LoadRequest, Times], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._manager = manager
        self._find = find
        self._keep = keep
        self._clock = clock
        self._resident: Resident | None = None
        self._pace: LoadPace | None = None

    def look(self) -> None:
        """See what the manager does now."""
        now, resident, progress = self._clock(), self._manager.front, self._manager.progress
        if progress is None or resident is None:
            self._end(now)
            return
        begins = progress.stage is LoadStage.STARTING
        if self._pace is None or resident is not self._resident or (begins and self._pace.stage is not progress.stage):
            self._resident, self._pace = resident, LoadPace(self._find(resident.request), now)
        self._pace.see(progress, now)

    def outlook(self) -> Outlook:
        """How the load that runs goes now."""
        if self._pace is None:
            return Outlook()
        now = self._clock()
        return Outlook(self._pace.bytes_per_second(now), self._pace.seconds_left(now))

    def _end(self, now: float) -> None:
        if self._pace is not None and self._resident is not None and self._resident.status is ModelStatus.LOADED:
            self._keep(self._resident.request, self._pace.times(now))
        self._resident = self._pace = None
