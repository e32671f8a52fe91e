"""Two ways to do the same, measured in turns on one machine, so that they share its noise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Pairs = tuple[tuple[float, ...], tuple[float, ...]]
"""Of our side, and of the other in the same pairs."""


def in_turns(pairs: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Pairs:
    """Measure both ``pairs`` times, the one that goes first changing each time."""
    mine: list[float] = []
    peers: list[float] = []
    for number in range(pairs):
        for measure, figures in ((ours, mine), (theirs, peers)) if number % 2 == 0 else ((theirs, peers), (ours, mine)):
            figures.append(measure())
    return tuple(mine), tuple(peers)


async def in_turns_on_loop(
    pairs: int, ours: Callable[[], Awaitable[float]], theirs: Callable[[], Awaitable[float]]
) -> Pairs:
    """As ``in_turns``, for sides that share an event loop."""
    mine: list[float] = []
    peers: list[float] = []
    for number in range(pairs):
        for measure, figures in ((ours, mine), (theirs, peers)) if number % 2 == 0 else ((theirs, peers), (ours, mine)):
            figures.append(await measure())
    return tuple(mine), tuple(peers)
