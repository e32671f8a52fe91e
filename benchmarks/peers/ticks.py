"""A clock in an event loop: how late each 5 ms tick comes, and how much processor time the process takes meanwhile."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

_TICK_SECONDS = 0.005
_QUARTERS = 4


class Mark(NamedTuple):
    """How much processor time this process has taken at a moment; seconds of two clocks."""

    at: float
    cpu: float


class Ticks:
    """What the ticks of one phase have shown.

    A loop that is held up makes every tick late that was due meanwhile, and not the first one alone: what counts is
    how long a key would have waited that was pressed at any moment.
    """

    def __init__(self) -> None:
        self._late: list[float] = []
        self._spent: list[Mark] = []

    async def run(self) -> None:
        """Tick until it is cancelled."""
        due = perf_counter() + _TICK_SECONDS
        while True:
            await asyncio.sleep(max(0.0, due - perf_counter()))
            now = perf_counter()
            self._late.append((now - due) * 1000)
            self._spent.append(Mark(now, process_time()))
            due += _TICK_SECONDS

    def told(self) -> dict[str, list[float]]:
        """``late``, milliseconds for each tick, and ``cpu``, the share of a core in each quarter; empty without any."""
        if not self._spent:
            return {}
        return {"late": [round(late, 3) for late in self._late], "cpu": self._quarters()}

    def _quarters(self) -> list[float]:
        first, last = self._spent[0].at, self._spent[-1].at
        quarter = (last - first) / _QUARTERS
        spent = [self._cpu_at(first + quarter * number) for number in range(_QUARTERS + 1)]
        return [(later - sooner) / quarter if quarter else 0.0 for sooner, later in pairwise(spent)]

    def _cpu_at(self, at: float) -> float:
        """Between two ticks, which may be far apart, as if it had been taken evenly."""
        place = min(max(1, bisect(self._spent, at, key=lambda mark: mark.at)), len(self._spent) - 1)
        sooner, later = self._spent[place - 1], self._spent[place]
        between = later.at - sooner.at
        return sooner.cpu + (later.cpu - sooner.cpu) * ((at - sooner.at) / between if between else 0.0)


class Phases:
    """The phases of a scenario, by name."""

    def __init__(self) -> None:
        self._ticks: dict[str, Ticks] = {}

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[None]:
        """Tick while this goes on."""
        self._ticks[name] = ticks = Ticks()
        ticking = asyncio.create_task(ticks.run())
        try:
            yield
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking

    def write(self, result: Path) -> None:
        """As JSON; whoever looks finds all of it or nothing, and after a failure the phases so far."""
        part = result.with_suffix(".part")
        part.write_text(json.dumps({name: ticks.told() for name, ticks in self._ticks.items()}))
        part.rename(result)
