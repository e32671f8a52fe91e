"""Two ways to do the same, measured in turns on one machine: the ratio, how sure it is, and whether it meets a target.

A figure taken alone on a shared machine says little; pairs that were taken side by side share its noise.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

RESAMPLES = 2000
FEWEST_PAIRS = 3
"""With fewer the interval says nothing, and no target counts as met or missed."""
Verdict = Literal["met", "missed", "undecided"]
Figures = tuple[tuple[float, ...], tuple[float, ...]]
"""Of our side, and of the other in the same pairs."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The median of ``ours / theirs`` over pairs, and its 95% bootstrap interval."""

    name: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    ratio: float
    low: float
    high: float
    target: float
    at_most: bool
    """Whether the ratio shall be at most the target, or at least."""

    @property
    def verdict(self) -> Verdict:
        """``met`` or ``missed`` only where the whole interval says so."""
        if len(self.ours) < FEWEST_PAIRS:
            return "undecided"
        if self.low <= self.target <= self.high and self.low != self.high:
            return "undecided"
        return "met" if (self.ratio <= self.target) == self.at_most or self.ratio == self.target else "missed"

    def __str__(self) -> str:
        word = "at most" if self.at_most else "at least"
        return (
            f"{self.name}: {self.ratio:.3f}x [{self.low:.3f} to {self.high:.3f}], {len(self.ours)} pairs, "
            f"target {word} {self.target:g}x: {self.verdict}   "
            f"(ours {median(self.ours):.3f}, theirs {median(self.theirs):.3f})"
        )


def compare(
    name: str, ours: Sequence[float], theirs: Sequence[float], *, target: float, at_most: bool = True, seed: int = 0
) -> Comparison:
    """Compare figures that were taken in pairs. Raises ValueError when they are no pairs or not positive."""
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"{len(ours)} and {len(theirs)} figures are no pairs")
    if min(*ours, *theirs) <= 0:
        raise ValueError("a figure is not positive")
    ratios = [mine / peer for mine, peer in zip(ours, theirs, strict=True)]
    low, high = interval(ratios, seed)
    return Comparison(name, tuple(ours), tuple(theirs), median(ratios), low, high, target, at_most)


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the median."""
    chance = random.Random(seed)  # no secret: the same figures shall give the same interval
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def in_turns(pairs: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Figures:
    """Measure both ``pairs`` times, the one that goes first changing each time."""
    mine: list[float] = []
    peers: list[float] = []
    for number in range(pairs):
        for measure, figures in ((ours, mine), (theirs, peers)) if number % 2 == 0 else ((theirs, peers), (ours, mine)):
            figures.append(measure())
    return tuple(mine), tuple(peers)


async def in_turns_on_loop(
    pairs: int, ours: Callable[[], Awaitable[float]], theirs: Callable[[], Awaitable[float]]
) -> Figures:
    """As ``in_turns``, for sides that share an event loop."""
    mine: list[float] = []
    peers: list[float] = []
    for number in range(pairs):
        for measure, figures in ((ours, mine), (theirs, peers)) if number % 2 == 0 else ((theirs, peers), (ours, mine)):
            figures.append(await measure())
    return tuple(mine), tuple(peers)


def within(values: Sequence[float], limit: float) -> Verdict:
    """Whether the median is at most the limit; ``met`` or ``missed`` only where its whole interval says so."""
    low, high = interval(values)
    if len(values) < FEWEST_PAIRS or low <= limit < high:
        return "undecided"
    return "met" if high <= limit else "missed"
