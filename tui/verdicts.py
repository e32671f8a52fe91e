"""Which models fit, worked out bit by bit, so that no key waits for thousands of estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelInfo
from modeldeck.tui.shelf_row import ShelfRow

Judge = Callable[[ModelInfo], Verdict]
"""Whether a model fits into what is free now, loaded as enter would load it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one turn of work has brought."""

    changed: list[ShelfRow]
    """Rows whose verdict is another than before."""
    finished: bool
    """Whether all rows that were given are up to date now."""


class Verdicts:
    """Keeps every verdict until the memory reading is another; an old one is shown until then."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._age = 0

    def outdate(self) -> None:
        """The memory, or how models would be loaded, is not what it was."""
        self._age += 1

    def work(self, rows: Iterable[ShelfRow], seconds: float) -> Judged:
        """Judge as many of these rows as there is time for, at least one; those that are up to date cost nothing."""
        changed: list[ShelfRow] = []
        deadline: float | None = None
        for row in rows:
            if row.verdict_age == self._age:
                continue
            if deadline is None:
                deadline = perf_counter() + seconds
            elif perf_counter() >= deadline:
                return Judged(changed, finished=False)
            before, row.verdict = row.verdict, self._judge(row.model)
            row.verdict_age = self._age
            if row.verdict is not before:
                changed.append(row)
        return Judged(changed, finished=True)
