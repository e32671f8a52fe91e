"""The list of models: one widget that draws its lines itself, so that ten thousand rows cost what ten do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.tui.held_rows import HeldRow, HeldRows
from modeldeck.tui.list_place import Place, kept_place, place_of
from modeldeck.tui.marks import BROKEN, RESIDENT, status_mark
from modeldeck.tui.shelf_order import Order
from modeldeck.tui.shelf_row import ShelfRow
from modeldeck.tui.widgets.model_row import fit_cell, model_line, title_line

Placing = Callable[[Sequence[ShelfRow], Sequence[ShelfRow], Place, int], Place]
"""How the place is found when the rows change; see ``list_place``."""

_FITS = {
    Verdict.FITS: "fits",
    Verdict.TIGHT: "tight",
    Verdict.OFFLOADS: "tight",
    Verdict.DOES_NOT_FIT: "too-large",
}
_PARTLY = frozenset(_FITS.values())
"""These change the colour of a sign and leave the background of its row."""


class ModelList(ScrollView, can_focus=True, inherit_bindings=False):
    """Models, one a line, with a title line above that does not scroll."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "model-list--header",
        "model-list--cursor",
        "model-list--cursor-blurred",
        "model-list--active",
        "model-list--broken",
        "model-list--fits",
        "model-list--tight",
        "model-list--too-large",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="list.down", tooltip="To the next model"),
        Binding("k,up", "move(-1)", "Up", show=False, id="list.up", tooltip="To the model above"),
        Binding("g,home", "move_to(0)", "First", show=False, id="list.first", tooltip="To the first model"),
        Binding("G,end", "move_to(-1)", "Last", show=False, id="list.last", tooltip="To the last model"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="list.page_down", tooltip="One page down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="list.page_up", tooltip="One page up"),
        Binding("ctrl+d", "page(0.5)", "Half down", show=False, id="list.half_down", tooltip="Half a page down"),
        Binding("ctrl+u", "page(-0.5)", "Half up", show=False, id="list.half_up", tooltip="Half a page up"),
    ]

    cursor: reactive[int] = reactive(0)
    """The row that is highlighted; stays within the rows."""
    held: reactive[HeldRows] = reactive({})
    """The models that engines hold, load or failed with."""
    order: reactive[Order] = reactive(Order())
    """What the rows are sorted by, for the titles."""

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
        self._rows: Sequence[ShelfRow] = []
        self.touched = False
        """Whether somebody has moved in the list; as long as nobody has, who fills it may keep it at its top."""
        self._showing = False
        self._laid_out: tuple[object, ...] = ()
        self._looks: dict[str, Style] = {}
        """Styles by their class, worked out once for a theme: each costs as much as drawing a row."""

    @property
    def highlighted(self) -> ModelInfo | None:
        """The model under the cursor."""
        return self._rows[self.cursor].model if self.cursor < len(self._rows) else None

    @property
    def row_count(self) -> int:
        """How many rows are shown."""
        return len(self._rows)

    @property
    def in_view(self) -> Sequence[ShelfRow]:
        """The rows that are on the screen."""
        top = int(self.scroll_offset.y)
        return self._rows[top : top + max(0, self._height)]

    @property
    def _height(self) -> int:
        return self.scrollable_content_region.height - 1  # the titles take one line

    def show(self, rows: Sequence[ShelfRow], placing: Placing = kept_place) -> None:
        """Show these rows instead; ``placing`` says where the highlight and the view go."""
        before, shown = self._rows, self.highlighted
        place = placing(before, rows, Place(self.cursor, int(self.scroll_offset.y)), self._height)
        self._showing = True
        self._rows = rows
        self._resize()
        self.cursor = place.cursor
        if self._height > 0:
            self.scroll_to(y=place.top, animate=False)
        self._showing = False
        if self.highlighted != shown:
            self._tell_highlighted()
        self.refresh()

    def select(self, model_id: str) -> bool:
        """Highlight a model; False when it is not shown."""
        place = place_of(model_id, self._rows)
        if place is not None:
            self.cursor = place
        return place is not None

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor within the rows."""
        return max(0, min(cursor, len(self._rows) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        """Scroll the row into view and tell who shows its details."""
        if self._showing or before == now:
            return
        self.touched = True
        self._keep_in_view()
        self.refresh()
        self._tell_highlighted()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The wheel moves in the list too."""
        super().watch_scroll_y(old_value, new_value)
        self.touched = self.touched or (old_value != new_value and not self._showing)

    def _tell_highlighted(self) -> None:
        """As the sender itself: a message that is made in the turn of a pane around it would bubble no further."""
        self.post_message(self.Highlighted(self.highlighted).set_sender(self))

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self.cursor += rows

    def action_page(self, pages: float) -> None:
        """Move the cursor by so many pages."""
        self.cursor += round(pages * max(2, self.size.height - 1))

    def action_move_to(self, row: int) -> None:
        """To the first row, or to the last."""
        self.cursor = row if row >= 0 else len(self._rows) + row

    def on_click(self, event: events.Click) -> None:
        """A click highlights, a double click chooses."""
        place = event.get_content_offset(self)
        row = int(place.y) - 1 + int(self.scroll_offset.y) if place is not None and place.y > 0 else -1
        if 0 <= row < len(self._rows):
            self.cursor = row
            if event.chain == 2:
                self.post_message(self.Chosen(self._rows[row].model))

    def notify_style_update(self) -> None:
        """Another theme, or the focus has come or gone."""
        super().notify_style_update()
        self._looks.clear()

    def on_resize(self) -> None:
        """The columns follow the width."""
        self._resize()
        self._keep_in_view()

    def render_line(self, y: int) -> Strip:
        """The titles, or the row that is at this line of the view."""
        width = self.scrollable_content_region.width
        if y == 0:
            titles = title_line(width, self.order, ascii_only=self._ascii)
            return Strip([Segment(titles, self._look("header"))], width)
        index = y - 1 + self.scroll_offset.y
        if index >= len(self._rows):
            return Strip.blank(width, self._look(""))
        row = self._rows[index]
        held = self.held.get(row.id)
        line = model_line(row, self._mark(row.model, held), width, held=held, ascii_only=self._ascii)
        style = self._style(row.model)
        if index == self.cursor:
            style += self._look("cursor" if self.has_focus else "cursor-blurred")
        elif row.verdict in _FITS and row.model.loadable:
            return self._with_fit(line, style, _FITS[row.verdict], width)
        return Strip([Segment(line, style)], width)

    def _with_fit(self, line: str, style: Style, fit: str, width: int) -> Strip:
        """The sign of the Fit column in its colour."""
        place = _index_of_cell(line, fit_cell(width))
        sign = style + self._look(fit)
        parts = ((line[:place], style), (line[place], sign), (line[place + 1 :], style))
        return Strip([Segment(text, look) for text, look in parts], width)

    def _mark(self, model: ModelInfo, held: HeldRow | None) -> str:
        if held is not None and held.status is ModelStatus.LOADED and not held.current:
            return RESIDENT[self._ascii]
        if held is not None:
            return status_mark(held.status, self._ascii)
        return BROKEN if model.problems else " "

    def _style(self, model: ModelInfo) -> Style:
        if model.problems:
            return self._look("broken")
        held = self.held.get(model.id)
        return self._look("active" if held is not None and held.holds else "")

    def _look(self, name: str) -> Style:
        if (style := self._looks.get(name)) is None:
            part = name in _PARTLY
            style = self.get_component_rich_style(f"model-list--{name}", partial=part) if name else self.rich_style
            self._looks[name] = style
        return style

    def _resize(self) -> None:
        """Say how far the list can be scrolled; its scroll bar keeps its place, so nothing is laid out anew."""
        size = Size(self.scrollable_content_region.width, len(self._rows) + 1)
        self.set_reactive(ScrollView.virtual_size, size)
        self._scroll_update(size)

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:
        """Textual's own has the scroll bar painted whenever the screen is laid out, for each row of a reply."""
        before = self._laid_out
        self._laid_out = (size, virtual_size, container_size, self.styles.gutter)
        return self._laid_out != before and super()._size_updated(size, virtual_size, container_size, layout)

    def _keep_in_view(self) -> None:
        if self._height <= 0:
            return
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + self._height:
            self.scroll_to(y=self.cursor - self._height + 1, animate=False)


def _index_of_cell(line: str, cell: int) -> int:
    """Which character stands at this cell from the left; all behind it are one cell wide, as figures are."""
    return len(line) - (cell_len(line) - cell)
