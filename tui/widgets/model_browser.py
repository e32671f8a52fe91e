"""The pane with the models: the list, the filter above it, and what is said where there is nothing to list."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import var

from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.tui.catalog_feed import CatalogFeed
from modeldeck.tui.deck_keys import DECK_KEYS
from modeldeck.tui.garbage import spare_what_stays
from modeldeck.tui.shelf import ModelShelf
from modeldeck.tui.widgets.empty_list import EmptyList
from modeldeck.tui.widgets.filter_field import ModelFilter
from modeldeck.tui.widgets.model_wishes import ModelWishes
from modeldeck.tui.widgets.shelf_list import ShelfList

if TYPE_CHECKING:
    from modeldeck.backend.catalog.live_catalog import CatalogSettled, LiveCatalog


_MANY = 200
"""Models; fewer cost the collector nothing that anybody notices."""


class ModelBrowser(ModelWishes):
    """The models of this machine, filtered as the user types."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "filter",
            "Filter",
            id="models.filter",
            tooltip="Filter by words, and by what fits",
            priority=True,  # what is typed right behind it goes into the filter
        ),
        Binding("r", "rescan", "Rescan", show=False, id="models.rescan", tooltip="Look for models again"),
        *DECK_KEYS,
    ]

    counts: var[str] = var("")
    """``12 of 143``, for the title of the pane."""

    def __init__(self, catalog: LiveCatalog, model_list: ShelfList, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(model_list, id)
        model_list.changed = self._tell
        self._feed = CatalogFeed(self, catalog, model_list, self._settle)
        self.searching = False
        self._spared = 0
        """Of how many models the garbage collector was told that they stay."""
        self._looked_in: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """The list alone, which is what the first frame needs."""
        yield self.model_list.data_bind(ModelWishes.held)

    async def complete(self) -> None:
        """Bring the filter, which shows when it is used, and the hint for when there is nothing to list."""
        self.add_class("-complete")
        if not self.query(ModelFilter):
            field = ModelFilter()
            await self.mount(field, before=self.model_list)
            # Not by its message, which comes a turn later: the key and the list that it leaves are one frame.
            self.watch(field, "value", self.model_list.filter, init=False)
            await self.mount(EmptyList())
            self._tell()

    @property
    def shelf(self) -> ModelShelf:
        """The models that are known."""
        return self.model_list.shelf

    @property
    def filtering(self) -> bool:
        """Whether the filter is open."""
        return any(field.display for field in self.query(ModelFilter))

    def search(self) -> None:
        """Look for models again; what is shown stays until everything was seen."""
        self.searching = True
        self._tell()
        self._feed.look()

    def add(self, model: ModelInfo, *, highlight: bool = True) -> None:
        """Take in a model that lies elsewhere; highlighting it gives the list the keys where a filter had them."""
        if highlight:
            self.clear_filter()
        self.model_list.put([model])
        if highlight:
            self.model_list.select(model.id)

    def clear_filter(self) -> bool:
        """Show all models again; False when nothing was filtered."""
        used = self.filtering
        if used:
            field = self.query_one(ModelFilter)
            field.display = False
            field.value = ""
            self.screen.set_focus(self.model_list)
            self.screen.refresh_bindings()  # where the list had the focus already
        return used

    def action_rescan(self) -> None:
        """Look for models again."""
        self.search()

    async def action_filter(self) -> None:
        """Open the filter."""
        await self.complete()
        field = self.query_one(ModelFilter)
        field.display = True
        self.screen.set_focus(field)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter itself its key is a character."""
        if action == "filter" and isinstance(self.screen.focused, ModelFilter):
            return False
        return super().check_action(action, parameters)

    def _settle(self, settled: CatalogSettled) -> None:
        self.searching = False
        self._looked_in = settled.looked_in
        self._tell()
        if len(self.shelf) > self._spared + _MANY:
            self._spared = len(self.shelf)
            self.call_after_refresh(spare_what_stays)
        if settled.problem:
            self.notify(clean_name(settled.problem, 500), title="Models", severity="error", timeout=12, markup=False)

    @on(ModelFilter.Left)
    def _leave_filter(self, message: ModelFilter.Left) -> None:
        message.stop()
        if message.keep and self.query_one(ModelFilter).value:
            self.screen.set_focus(self.model_list)
        else:
            self.clear_filter()

    def _tell(self) -> None:
        """Say how many there are, and what to do when there is nothing."""
        shown, known = self.model_list.row_count, len(self.shelf)
        sort = self.shelf.order.column.value
        counts = (f"{shown} of {known}" if shown != known else f"{known}") + (f" by {sort}" if sort else "")
        self.counts = counts + (" ..." if self.searching else "")
        for empty in self.query(EmptyList):
            empty.display = shown == 0
            if shown == 0:
                odd = self.shelf.words.odd
                empty.tell(known, searching=self.searching, looked_in=self._looked_in, odd=odd)
