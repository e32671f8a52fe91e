"""The pane with the models: it looks for them, filters them and says which one the user wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.backend.text import clean_name
from modeldeck.tui.deck_keys import DECK_KEYS
from modeldeck.tui.shelf import ModelShelf
from modeldeck.tui.widgets.model_list import ModelList

if TYPE_CHECKING:
    from modeldeck.backend.catalog.catalog import Catalog

_BATCH_SECONDS = 0.1
"""How long found models are gathered before they are shown together."""


class ModelFilter(Input):
    """Words that a model must have; what is typed takes effect at once."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Clear", id="filter.clear", tooltip="Clear the filter; once more leaves it"),
        Binding("enter,down", "to_list", "To the list", id="filter.list", tooltip="Go to the models that are left"),
    ]

    class Left(Message):
        """The user is done with the filter."""

        def __init__(self, *, keep: bool) -> None:
            super().__init__()
            self.keep = keep
            """Whether the words stay in force."""

    def action_leave(self) -> None:
        """Clear the words, or leave when there are none."""
        if self.value:
            self.value = ""
        else:
            self.post_message(self.Left(keep=False))

    def action_to_list(self) -> None:
        """Go to the list; never loads."""
        self.post_message(self.Left(keep=True))


class ModelBrowser(Vertical):
    """The models of this machine, found in a thread and filtered as the user types."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "load", "Load", id="model.load", tooltip="Load the highlighted model"),
        Binding("enter", "talk", "Chat", id="model.talk", tooltip="Talk to the highlighted model, which is loaded"),
        Binding(
            "slash",
            "filter",
            "Filter",
            id="models.filter",
            tooltip="Filter by name, architecture or type",
            priority=True,  # what is typed right behind it goes into the filter
        ),
        Binding("r", "rescan", "Rescan", show=False, id="models.rescan", tooltip="Look for models again"),
        *DECK_KEYS,
    ]

    active_id: reactive[str | None] = reactive(None)
    """The model that the engine holds, loads or failed with; its row is marked."""
    active_status: reactive[ModelStatus] = reactive(ModelStatus.NOT_LOADED)
    counts: reactive[str] = reactive("")
    """``12 of 143``, for the title of the pane."""

    @dataclass
    class LoadRequested(Message):
        """The user asked for this model to be loaded."""

        model: ModelInfo

    @dataclass
    class Found(Message):
        """The thread that looks for models found some."""

        models: list[ModelInfo]
        search: int

    @dataclass
    class Searched(Message):
        """The thread that looks for models has seen everything."""

        search: int
        looked_in: tuple[str, ...]
        """Where it looked, in words; only when it found nothing."""

    def __init__(self, catalog: Catalog, *, ascii_only: bool = False, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._catalog = catalog
        self._ascii = ascii_only
        self.shelf = ModelShelf()
        self._search_number = 0
        self.searching = False
        self._looked_in: tuple[str, ...] = ()
        self._told_loaded = False

    def compose(self) -> ComposeResult:
        """The list alone, which is what the first frame needs."""
        models = ModelList(ascii_only=self._ascii, id="models")
        yield models.data_bind(ModelBrowser.active_id, ModelBrowser.active_status)

    async def complete(self) -> None:
        """Bring the filter, which shows when it is used, and the hint for when there is nothing to list."""
        if not self.query(ModelFilter):
            field = ModelFilter(placeholder="words of a name, architecture or type", compact=True, id="filter")
            await self.mount(field, before=self.model_list)
            await self.mount(Static(id="empty", markup=False))
            self._tell()

    @property
    def model_list(self) -> ModelList:
        """The list, for who moves the focus."""
        return self.query_one(ModelList)

    @property
    def highlighted(self) -> ModelInfo | None:
        """The model under the cursor."""
        return self.model_list.highlighted

    @property
    def filtering(self) -> bool:
        """Whether the filter is open."""
        return any(field.display for field in self.query(ModelFilter))

    def search(self) -> None:
        """Look for models again; what is shown stays until everything was seen."""
        self._search_number += 1
        self.searching = True
        self.shelf.begin()
        self._tell()
        self._search(self._search_number)

    @work(thread=True, exclusive=True, group="search")
    def _search(self, number: int) -> None:
        worker = get_current_worker()
        found = False
        for batch in _batches(self._catalog.scan(lambda: worker.is_cancelled)):
            if worker.is_cancelled:
                return
            found = True
            self.post_message(self.Found(batch, number))
        self.post_message(self.Searched(number, () if found else self._catalog.looked_in()))

    @on(Found)
    def _take(self, message: Found) -> None:
        message.stop()
        if message.search == self._search_number:
            self.model_list.append(self.shelf.take(message.models))
            self._tell()

    @on(Searched)
    def _finish(self, message: Searched) -> None:
        message.stop()
        if message.search == self._search_number:
            self.searching = False
            self._looked_in = message.looked_in
            self.shelf.finish()
            self._show()

    def add(self, model: ModelInfo, *, highlight: bool = True) -> None:
        """Take in a model that lies elsewhere; highlighting it gives the list the keys where a filter had them."""
        self.shelf.add(model)
        if highlight:
            self.clear_filter()
        self._show()
        if highlight:
            self.model_list.select(model.id)

    def clear_filter(self) -> bool:
        """Show all models again; False when nothing was filtered."""
        used = self.filtering
        if used:
            field = self.query_one(ModelFilter)
            field.display = False
            field.value = ""
            self.shelf.filter("")
            self._show()
            self.screen.set_focus(self.model_list)
        return used

    def action_load(self) -> None:
        """Ask for the highlighted model."""
        if (model := self.highlighted) is not None:
            self.post_message(self.LoadRequested(model))

    def action_talk(self) -> None:
        """Who is asked for a model that is loaded shows it."""
        self.action_load()

    @on(ModelList.Highlighted)
    def _tell_enter(self) -> None:
        """The footer says what enter does; it is drawn anew only where that changes."""
        if (loaded := self._on_loaded) != self._told_loaded:
            self._told_loaded = loaded
            self.refresh_bindings()

    def watch_active_id(self) -> None:
        """What enter does may have changed."""
        self._tell_enter()

    def watch_active_status(self) -> None:
        """What enter does may have changed."""
        self._tell_enter()

    @property
    def _on_loaded(self) -> bool:
        model = self.highlighted if self.is_mounted else None
        return model is not None and self.active_status is ModelStatus.LOADED and model.id == self.active_id

    @on(ModelList.Chosen)
    def _load_chosen(self, message: ModelList.Chosen) -> None:
        message.stop()
        self.post_message(self.LoadRequested(message.model))

    def action_rescan(self) -> None:
        """Look for models again."""
        self.search()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter is said to do what it does; in the filter itself its key is a character."""
        if action in {"load", "talk"}:
            return self._on_loaded == (action == "talk")
        return action != "filter" or not isinstance(self.screen.focused, ModelFilter)

    async def action_filter(self) -> None:
        """Open the filter."""
        await self.complete()
        field = self.query_one(ModelFilter)
        field.display = True
        self.screen.set_focus(field)

    @on(Input.Changed, "#filter")
    def _filter(self, message: Input.Changed) -> None:
        message.stop()
        self.shelf.filter(message.value)
        self._show()

    @on(ModelFilter.Left)
    def _leave_filter(self, message: ModelFilter.Left) -> None:
        message.stop()
        if message.keep and self.query_one(ModelFilter).value:
            self.screen.set_focus(self.model_list)
        else:
            self.clear_filter()

    def _show(self) -> None:
        self.model_list.show(self.shelf.visible())
        self._tell()

    def _tell(self) -> None:
        """Say how many there are, and what to do when there is nothing."""
        shown, known = self.model_list.row_count, len(self.shelf)
        self.counts = (f"{shown} of {known}" if shown != known else f"{known}") + (" ..." if self.searching else "")
        for empty in self.query("#empty").results(Static):
            empty.display = shown == 0
            if shown == 0:
                empty.update(self._hint(known))

    def _hint(self, known: int) -> Content:
        if self.searching and not known:
            return Content("Looking for models ...")
        if known:
            return Content(f"None of the {known} models has all of these words. Escape shows them all.")
        looked = ", ".join(clean_name(place) for place in self._looked_in) or "no folder"
        return Content(
            f"No models found. Looked in {looked}.\n\n"
            "Put a model folder or a .gguf file there and press r, set model_folders in config.toml,"
            " or press a and type a path or a Hub id."
        )


def _batches(models: Iterable[ModelInfo]) -> Iterator[list[ModelInfo]]:
    """Gather models, so that the list is drawn a few times a second and not once for each."""
    batch: list[ModelInfo] = []
    due = monotonic() + _BATCH_SECONDS / 5  # the first ones soon
    for model in models:
        batch.append(model)
        if monotonic() >= due:
            yield batch
            batch = []
            due = monotonic() + _BATCH_SECONDS
    if batch:
        yield batch
