"""What a benchmark found: a median, how sure it is, and whether it meets its target.

A figure taken alone on a shared machine says little; pairs that were taken side by side share its noise. So most
figures are ratios or differences of pairs, with a 95% bootstrap interval of their median.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median
from typing import Literal

from msgspec import Struct

RESAMPLES = 2000
FEWEST_ROUNDS = 3
"""With fewer the interval says nothing, and no target counts as met or missed."""
Verdict = Literal["met", "missed", "undecided", "no target"]


class Figure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the results."""

    what: str
    against: str = ""
    """What a user would run instead; empty where the figure stands alone."""
    value: float
    """The median."""
    low: float
    high: float
    """The 95% interval of the median; where ``every`` is set, the least and the greatest."""
    unit: str
    """``x`` for a ratio, else as it is written: ``ms``, ``MB``, ``%``."""
    rounds: int
    target: float | None = None
    at_most: bool = True
    """Whether the figure shall be at most the target, or at least."""
    every: bool = False
    """Whether each round shall meet the target, and not the median alone."""
    ours: float | None = None
    theirs: float | None = None
    """The medians of both sides, in ``side_unit``."""
    side_unit: str = ""
    detail: str = ""
    """What else a reader should know, as a sentence."""

    @property
    def verdict(self) -> Verdict:
        """``met`` or ``missed`` only where the whole interval says so, or every round."""
        if self.target is None:
            return "no target"
        if self.rounds < FEWEST_ROUNDS:
            return "undecided"
        if self.every:
            return "met" if self._good(self.high if self.at_most else self.low) else "missed"
        if self._good(self.low) and self._good(self.high):
            return "met"
        return "undecided" if self._good(self.low) or self._good(self.high) else "missed"

    def _good(self, value: float) -> bool:
        assert self.target is not None
        return value <= self.target if self.at_most else value >= self.target

    def __str__(self) -> str:
        against = f" against {self.against}" if self.against else ""
        sides = ""
        if self.ours is not None and self.theirs is not None:
            sides = f"   (ours {written(self.ours, self.side_unit)}, theirs {written(self.theirs, self.side_unit)})"
        return f"{self.what}{against}: {self.spread}, {self.rounds} rounds, {self.aim}: {self.verdict}{sides}"

    @property
    def spread(self) -> str:
        """``0.94x (0.91 to 0.99)``."""
        return f"{written(self.value, self.unit)} ({_number(self.low)} to {_number(self.high)})"

    @property
    def aim(self) -> str:
        """``at most 1.1x``, ``each at most 300 ms``, or that there is none."""
        if self.target is None:
            return "no target"
        each = "each " if self.every else ""
        return f"{each}at {'most' if self.at_most else 'least'} {self.target:g}{_joined(self.unit)}"


def ratio(
    what: str,
    against: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    target: float | None,
    at_most: bool = True,
    side_unit: str = "s",
    detail: str = "",
) -> Figure:
    """The median of ``ours / theirs`` over pairs. Raises ValueError when they are no pairs or not positive."""
    _check(ours, theirs)
    if min(*ours, *theirs) <= 0:
        raise ValueError("a figure is not positive")
    ratios = [mine / peer for mine, peer in zip(ours, theirs, strict=True)]
    return _figure(what, against, ratios, "x", target, at_most, detail, ours, theirs, side_unit)


def difference(
    what: str,
    against: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    target: float | None,
    unit: str = "ms",
    detail: str = "",
) -> Figure:
    """The median of ``ours - theirs`` over pairs, both in ``unit``. Raises ValueError when they are no pairs."""
    _check(ours, theirs)
    differences = [mine - peer for mine, peer in zip(ours, theirs, strict=True)]
    return _figure(what, against, differences, unit, target, True, detail, ours, theirs, unit)


def level(
    what: str, values: Sequence[float], *, target: float | None, unit: str, at_most: bool = True, detail: str = ""
) -> Figure:
    """The median of what was measured without a peer. Raises ValueError when nothing was."""
    return _figure(what, "", values, unit, target, at_most, detail)


def each(what: str, values: Sequence[float], *, target: float, unit: str, detail: str = "") -> Figure:
    """As ``level``, where every round shall be at most the target; the spread is that of all rounds."""
    if not values:
        raise ValueError("nothing was measured")
    return Figure(
        what=what,
        value=median(values),
        low=min(values),
        high=max(values),
        unit=unit,
        rounds=len(values),
        target=target,
        every=True,
        detail=detail or f"{sum(value <= target for value in values)} of {len(values)} within",
    )


def _figure(
    what: str,
    against: str,
    values: Sequence[float],
    unit: str,
    target: float | None,
    at_most: bool,
    detail: str,
    ours: Sequence[float] = (),
    theirs: Sequence[float] = (),
    side_unit: str = "",
) -> Figure:
    if not values:
        raise ValueError("nothing was measured")
    low, high = interval(values)
    return Figure(
        what=what,
        against=against,
        value=median(values),
        low=low,
        high=high,
        unit=unit,
        rounds=len(values),
        target=target,
        at_most=at_most,
        ours=median(ours) if ours else None,
        theirs=median(theirs) if theirs else None,
        side_unit=side_unit,
        detail=detail,
    )


def _check(ours: Sequence[float], theirs: Sequence[float]) -> None:
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"{len(ours)} and {len(theirs)} figures are no pairs")


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the median."""
    chance = random.Random(seed)  # no secret: the same figures shall give the same interval
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def written(value: float, unit: str) -> str:
    """With its unit, and no more digits than a reader needs."""
    return f"{_number(value)}{_joined(unit)}"


def _joined(unit: str) -> str:
    return unit if unit in {"", "x", "%"} else f" {unit}"


def _number(value: float) -> str:
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or not size else 3
    return f"{value:,.{digits}f}"
