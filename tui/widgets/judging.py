"""Works out what fits while nothing else is to be done: first the rows on the screen, then all where it matters."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from modeldeck.tui.shelf_order import SortColumn
from modeldeck.tui.verdicts import Judge, Verdicts

if TYPE_CHECKING:
    from modeldeck.tui.widgets.shelf_list import ShelfList

_SLICE_SECONDS = 0.006
"""How long verdicts are worked out at a time; a key waits no longer for them."""
_GAP_SECONDS = 0.004
_FOLLOW_SECONDS = 0.2
"""How often the list follows while thousands of verdicts come in."""


class Judging:
    """Keeps the verdicts of a list's rows up to date, in slices on the loop."""

    def __init__(self, models: ShelfList, judge: Judge) -> None:
        self._models = models
        self._verdicts = Verdicts(judge)
        self._under_way = False
        self._unseen = False
        self._followed = 0.0

    def outdate(self) -> None:
        """The memory is not what it was, or models would be loaded otherwise."""
        self._verdicts.outdate()
        self.soon()

    def begin(self) -> None:
        """Rows have come on the screen: judge as many as there is time for before they are drawn, the others later."""
        self._verdicts.work(self._models.in_view, _SLICE_SECONDS)
        self.soon()

    def soon(self) -> None:
        """Begin, unless it is under way."""
        if not self._under_way and self._models.is_mounted:
            self._under_way = True
            self._models.call_after_refresh(self._work)

    def _work(self) -> None:
        shelf = self._models.shelf
        decides = shelf.words.by_verdict or shelf.order.column is SortColumn.FIT
        turn = self._verdicts.work(self._models.in_view, _SLICE_SECONDS)
        if turn.changed:
            self._models.refresh()
        changed, finished = turn.changed, turn.finished
        if decides and finished and not changed:
            turn = self._verdicts.work(shelf.rows(), _SLICE_SECONDS)
            changed, finished = turn.changed, turn.finished
        elif decides:
            finished = False
        shelf.judged(changed)
        self._unseen = decides and (self._unseen or bool(changed))
        if self._unseen and (finished or monotonic() - self._followed >= _FOLLOW_SECONDS):
            self._unseen, self._followed = False, monotonic()
            self._models.follow()
        self._under_way = not finished
        if not finished:
            self._models.set_timer(_GAP_SECONDS, self._work)
