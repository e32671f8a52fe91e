"""A deadline that progress pushes forward, and that counts only time in which the event loop ticked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

_LONGEST_TICK = 1.0


class Stalled(Exception):
    """Nothing moved for the whole time that was allowed."""


class StallWatch:
    """Counts the seconds without progress.

    The time is gathered in ticks, and a tick that came late counts as two at most: a terminal that stopped reading
    blocks the event loop, and no engine may be ended for that.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self.seconds = seconds
        """How long nothing may move."""
        self.idle_seconds = 0.0
        """How long nothing has moved."""
        self._clock = clock
        self._tick = min(_LONGEST_TICK, seconds / 4)

    async def wait(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Wait for something that moves; ``attempt`` is called again after every tick and must be safe to cancel.

        Raises Stalled when ``seconds`` have gathered; starts again from 0 whenever something has moved.
        """
        while True:
            before = self._clock()
            try:
                async with asyncio.timeout(self._tick):
                    moved = await attempt()
            except TimeoutError:
                self.idle_seconds += min(self._clock() - before, 2 * self._tick)
                if self.idle_seconds >= self.seconds:
                    raise Stalled from None
            else:
                self.idle_seconds = 0.0
                return moved
