"""The list of models: one widget that draws its lines itself, so that ten thousand rows cost what ten do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.tui.marks import BROKEN, status_mark
from modeldeck.tui.widgets.model_row import model_line, title_line


class ModelList(ScrollView, can_focus=True, inherit_bindings=False):
    """Models, one a line, with a title line above that does not scroll."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "model-list--header",
        "model-list--cursor",
        "model-list--cursor-blurred",
        "model-list--active",
        "model-list--broken",
        "model-list--figures",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="list.down", tooltip="To the next model"),
        Binding("k,up", "move(-1)", "Up", show=False, id="list.up", tooltip="To the model above"),
        Binding("g,home", "first", "First", show=False, id="list.first", tooltip="To the first model"),
        Binding("G,end", "last", "Last", show=False, id="list.last", tooltip="To the last model"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="list.page_down", tooltip="One page down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="list.page_up", tooltip="One page up"),
        Binding("ctrl+d", "page(0.5)", "Half down", show=False, id="list.half_down", tooltip="Half a page down"),
        Binding("ctrl+u", "page(-0.5)", "Half up", show=False, id="list.half_up", tooltip="Half a page up"),
    ]

    cursor: reactive[int] = reactive(0)
    """The row that is highlighted; stays within the rows."""
    active_id: reactive[str | None] = reactive(None)
    """The model that the engine holds, loads or failed with."""
    active_status: reactive[ModelStatus] = reactive(ModelStatus.NOT_LOADED)

    @dataclass
    class Highlighted(Message):
        """Another model is highlighted, or none when there are no rows."""

        model: ModelInfo | None

    @dataclass
    class Chosen(Message):
        """The highlighted model was clicked twice."""

        model: ModelInfo

    def __init__(self, *, ascii_only: bool = False, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._ascii = ascii_only
        self._rows: list[ModelInfo] = []

    @property
    def highlighted(self) -> ModelInfo | None:
        """The model under the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    @property
    def row_count(self) -> int:
        """How many rows are shown."""
        return len(self._rows)

    def show(self, rows: Sequence[ModelInfo]) -> None:
        """Show these rows instead; the highlighted model stays highlighted while it is among them."""
        before = self.highlighted
        self._rows = list(rows)
        self._resize()
        place = next((i for i, row in enumerate(rows) if before is not None and row.id == before.id), None)
        self.cursor = place if place is not None else min(self.cursor, max(0, len(rows) - 1))
        if self.highlighted != before:
            self.post_message(self.Highlighted(self.highlighted))
        self.refresh()

    def append(self, rows: Iterable[ModelInfo]) -> None:
        """Add rows at the end; nothing that is shown moves."""
        empty = not self._rows
        self._rows.extend(rows)
        self._resize()
        if empty and self._rows:
            self.post_message(self.Highlighted(self.highlighted))
        self.refresh()

    def select(self, model_id: str) -> bool:
        """Highlight a model; False when it is not shown."""
        for row, model in enumerate(self._rows):
            if model.id == model_id:
                self.cursor = row
                return True
        return False

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor within the rows."""
        return max(0, min(cursor, len(self._rows) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        """Scroll the row into view and tell who shows its details."""
        self._keep_in_view()
        self.refresh()
        if before != now:
            self.post_message(self.Highlighted(self.highlighted))

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self.cursor += rows

    def action_page(self, pages: float) -> None:
        """Move the cursor by so many pages."""
        self.cursor += round(pages * max(2, self.size.height - 1))

    def action_first(self) -> None:
        """To the first row."""
        self.cursor = 0

    def action_last(self) -> None:
        """To the last row."""
        self.cursor = len(self._rows) - 1

    def on_click(self, event: events.Click) -> None:
        """A click highlights, a double click chooses."""
        place = event.get_content_offset(self)
        row = int(place.y) - 1 + int(self.scroll_offset.y) if place is not None and place.y > 0 else -1
        if 0 <= row < len(self._rows):
            self.cursor = row
            if event.chain == 2:
                self.post_message(self.Chosen(self._rows[row]))

    def on_resize(self) -> None:
        """The columns follow the width."""
        self._resize()
        self._keep_in_view()

    def render_line(self, y: int) -> Strip:
        """The titles, or the row that is at this line of the view."""
        width = self.scrollable_content_region.width
        if y == 0:
            return _strip(title_line(width), self.get_component_rich_style("model-list--header"))
        index = y - 1 + self.scroll_offset.y
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        model = self._rows[index]
        line = model_line(model, self._mark(model), width, ellipsis="~" if self._ascii else "…")
        return _strip(line, self._style(model, index == self.cursor))

    def _mark(self, model: ModelInfo) -> str:
        if model.id == self.active_id and self.active_status is not ModelStatus.NOT_LOADED:
            return status_mark(self.active_status, self._ascii)
        return " " if model.loadable else BROKEN

    def _style(self, model: ModelInfo, under_cursor: bool) -> Style:
        name = "active" if model.id == self.active_id and self.active_status is ModelStatus.LOADED else ""
        name = name if model.loadable else "broken"
        style = self.get_component_rich_style(f"model-list--{name}") if name else self.rich_style
        if under_cursor:
            style += self.get_component_rich_style(f"model-list--cursor{'' if self.has_focus else '-blurred'}")
        return style

    def _resize(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows) + 1)

    def _keep_in_view(self) -> None:
        height = self.scrollable_content_region.height - 1  # the titles take one line
        if height <= 0:
            return
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)


def _strip(line: str, style: Style) -> Strip:
    return Strip([Segment(line, style)], cell_len(line))
