"""The list of models with the shelf behind it: it takes rows in, sorts, filters and marks them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.tui.list_place import chosen_place, first_place, kept_place
from modeldeck.tui.shelf import ModelShelf
from modeldeck.tui.shelf_order import Order, SortColumn
from modeldeck.tui.verdicts import Judge
from modeldeck.tui.widgets.judging import Judging
from modeldeck.tui.widgets.model_list import ModelList, Placing

if TYPE_CHECKING:
    from modeldeck.config.remembered_list import RememberedList


class ShelfList(ModelList):
    """Shows what the shelf lets through; where rows come and go, the highlight and the view stay where they are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "Sort", show=False, id="models.sort", tooltip="Sort by the next column"),
        Binding("S", "reverse", "Reverse", show=False, id="models.reverse", tooltip="Sort the other way round"),
        Binding(
            "f", "favourite", "Favourite", show=False, id="models.favourite", tooltip="Mark a favourite, or unmark it"
        ),
    ]

    def __init__(self, memory: RememberedList, *, ascii_only: bool = False, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(ascii_only=ascii_only, id=id)
        self._memory = memory
        kept = memory.memory
        order = Order(SortColumn.named(kept.sort))
        order = order.reversed() if kept.reverse else order
        self.shelf = ModelShelf(kept.favourites, kept.recents, order)
        self.set_reactive(ModelList.order, order)
        self.changed: Callable[[], None] = lambda: None
        """Called whenever other rows are shown, or in another order."""
        self._judging: Judging | None = None

    def put(self, models: Iterable[ModelInfo]) -> None:
        """Take in models that are new or have changed."""
        self.shelf.put(models)
        self.follow()

    def drop(self, ids: Iterable[str]) -> None:
        """Take out models that are gone."""
        self.shelf.remove(ids)
        self.follow()

    def filter(self, text: str) -> None:
        """Show only models that have what the text asks for."""
        self.shelf.filter(text)
        self._place(chosen_place)

    def follow(self) -> None:
        """Show what the shelf has now."""
        self._place(kept_place if self.touched else first_place)

    def judge_with(self, judge: Judge) -> None:
        """From now on it is known what fits."""
        self._judging = Judging(self, judge)
        self._judging.soon()

    def outdate_verdicts(self) -> None:
        """The memory is not what it was, or models would be loaded otherwise."""
        if self._judging is not None:
            self._judging.outdate()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort(self.shelf.order.next())

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._sort(self.shelf.order.reversed())

    def action_favourite(self) -> None:
        """Mark the highlighted model as a favourite, or take the mark away."""
        if (model := self.highlighted) is not None:
            self.touched = True
            favourite = self.shelf.toggle_favourite(model.id)
            self.follow()
            what = f"That {clean_name(model.name)} is {'a' if favourite else 'no'} favourite"
            self._remember(what, lambda: self._memory.set_favourite(model.id, favourite))

    def watch_held(self) -> None:
        """Who filters for what is loaded sees it come and go."""
        self.touched = self.touched or bool(self.held)
        self.shelf.set_loaded(held_id for held_id, row in self.held.items() if row.holds)
        if self.shelf.words.conditions:
            self.follow()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """What comes into view is judged."""
        super().watch_scroll_y(old_value, new_value)
        if self._judging is not None:
            self._judging.soon()

    def _sort(self, order: Order) -> None:
        self.order = order
        self.shelf.sort(order, self._memory.memory.recents)
        self.follow()
        self._remember(
            "The order of the list", lambda: self._memory.set_order(order.column.value, reverse=order.reverse)
        )

    def _place(self, placing: Placing) -> None:
        self.show(self.shelf.visible(), placing)
        self.changed()
        if self._judging is not None:
            self._judging.begin()

    def _remember(self, what: str, write: Callable[[], None]) -> None:
        async def written() -> None:
            try:
                await asyncio.to_thread(write)
            except (OSError, UnicodeEncodeError) as error:
                reason = clean_name(str(error))
                self.notify(f"{what} is not remembered: {reason}.", severity="warning", markup=False)

        self.run_worker(written(), group="remember")
