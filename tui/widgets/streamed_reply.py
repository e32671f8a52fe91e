"""A reply while it is written and after: one widget, however long the reply is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.reactive import Reactive
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.markdown_blocks import BlockSplitter
from modeldeck.tui.markdown_rows import QUICK_LIMIT, Look, MarkdownRenderer, code_strip, drawn_apart
from modeldeck.tui.theme_look import rich_colour, theme_look
from modeldeck.tui.widgets.thought_rows import ThoughtRows
from modeldeck.tui.wrapping import GrowingText

REPAINT_SECONDS = 0.1
"""A reply is painted at most so often, however fast its pieces come."""


class StreamedReply(Widget):
    """The model's name, its reasoning, the closed blocks as Markdown, the open block as plain text, and one quiet line.

    A closed block is drawn once for each width; the open one is wrapped from its last row on. What takes long to draw
    is drawn in a thread, and stays as it is on the screen until then. The layout of the screen is asked for only when
    there are more rows than before.

    Args:
        model_name: Who replies; untrusted text.
        draw_later: Is to call ``draw`` soon; called whenever there is something to draw.
    """

    DEFAULT_CSS = """
    StreamedReply {
        height: auto;
        margin-bottom: 1;
        border-left: solid $panel;  /* a reply can draw anything but this, so it cannot pass for a question */
        padding-left: 1;
    }
    """

    virtual_size = Reactive(Size(0, 0), layout=False, repaint=False)
    """It scrolls nothing; Textual's own would have the screen laid out and painted again whenever a row is added."""

    def __init__(self, model_name: str, draw_later: Callable[[StreamedReply], None]) -> None:
        super().__init__()
        self._draw_later = draw_later
        self._model_name = clean_name(model_name, 60)
        self._splitter = BlockSplitter()
        self._waiting: list[str] = []
        self._thought = ThoughtRows()
        self._thought_grew, self._paint_due = False, inf
        self._blocks: list[str] = []
        self._drawn: list[list[Strip]] = []
        self._stale: set[int] = set()
        self._width = self._painted_rows = 0
        self._rows: list[Strip] = []
        self._tail = GrowingText(1)
        self._tail_text = self._line = ""
        self._tail_opened = -1
        self._state = "running"
        self._look = Look("default", "default", "default", True)
        self._base = Style()
        self._renderer: MarkdownRenderer | None = None
        self.status: Callable[[], str] = str
        """What the quiet line says while the reply runs; asked at every repaint."""
        self.repaint_seconds = REPAINT_SECONDS
        self.on_paint: Callable[[], object] = lambda: None
        """Called with every repaint, for what else moves with the reply."""

    def on_mount(self) -> None:
        """Start painting."""
        self._painter = self.set_interval(REPAINT_SECONDS, self._paint_if_due)
        self._paint_due = monotonic() + REPAINT_SECONDS

    def write(self, text: str) -> None:
        """Add a piece of the reply; it is seen with the next repaint, which is this one where the last was long ago."""
        self._waiting.append(text)
        self._paint_if_due()

    def think(self, text: str) -> None:
        """Add a piece of what the model reasons, in the same way."""
        self._thought.write(text)
        self._thought_grew = True
        self._paint_if_due()

    def fold(self) -> bool:
        """Show the reasoning, or fold it; returns False where there is none."""
        self._thought.folded = not self._thought.folded
        self.refresh(layout=True)
        return bool(self._thought)

    def finish(self, line: str, state: str = "finished") -> None:
        """No more text comes: close what is open and say how it ended.

        Args:
            line: Shown below the reply.
            state: ``finished``, ``cancelled`` or ``failed``.
        """
        self._painter.stop()
        self._paint_due = inf
        self._take_waiting()
        self._add_blocks(self._splitter.finish())
        self._set_tail()
        self._state = state
        self._line = clean_text(line)
        self.refresh(layout=True)
        self.set_timer(REPAINT_SECONDS, self._settle)

    async def draw(self) -> None:
        """Draw what was put off, in a thread, and show it all at once."""
        while self._stale and self._width:
            width, look = self._width, self._look
            sources = {place: self._blocks[place] for place in self._stale}
            drawn = await asyncio.to_thread(drawn_apart, sources, width, look)
            if (width, look) == (self._width, self._look):
                for place, rows in drawn.items():
                    self._drawn[place] = rows
                self._stale -= drawn.keys()
                self._join_rows()
                self.refresh(layout=True)

    def notify_style_update(self) -> None:
        """Another theme: draw every block again."""
        super().notify_style_update()
        self._width = 0
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All rows at this width."""
        self._fit(width)
        self._painted_rows = self._height  # what is laid out is painted
        return self._painted_rows

    def render_line(self, y: int) -> Strip:
        """One row."""
        self._fit(self.size.width)
        base = self._base
        strip = self._row(y).apply_style(base).adjust_cell_length(self.size.width, base)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            strip = _marked(strip, span, self.screen.get_component_rich_style("screen--selection"))
        return strip.apply_offsets(0, y)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text that the mouse has marked."""
        return selection.extract("\n".join(self._row(y).text.rstrip() for y in range(self._height))), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show what is marked."""
        self.refresh()

    @property
    def _height(self) -> int:
        head = 1 + self._thought.height(self._width)
        return head + len(self._rows) + len(self._tail_rows) + len(self._line_rows)

    @property
    def _tail_rows(self) -> list[str]:
        return self._tail.rows if self._tail_text else []

    @property
    def _line_rows(self) -> list[str]:
        """The quiet line, after one blank row while the open block stands above it."""
        text = GrowingText(self._width)
        text.extend(self._line)
        return [*([""] if self._tail_text else []), *text.rows]

    def _row(self, y: int) -> Strip:
        if y == 0:
            return Strip([Segment(self._model_name, Style(bold=True, color=self._look.accent))])
        y -= 1
        if self._thought:
            thought = self._thought.rows(self._width)
            if y < len(thought):
                return Strip([Segment(thought[y], Style(color=self._look.muted, italic=True))])
            y -= len(thought)
        if y < len(self._rows):
            return self._rows[y]
        y -= len(self._rows)
        if y < len(self._tail_rows):
            return self._tail_strip(self._tail_rows[y])
        y -= len(self._tail_rows)
        rows = self._line_rows
        return Strip([Segment(rows[y] if y < len(rows) else "", self._line_style)])

    def _tail_strip(self, row: str) -> Strip:
        if not self._splitter.in_code:
            return Strip([Segment(row)])
        return code_strip(row, self._width, self._look)

    @property
    def _line_style(self) -> Style:
        variables = self.app.theme_variables
        match self._state:
            case "failed":
                return Style(color=rich_colour(variables.get("error", "")))
            case "cancelled":
                return Style(color=rich_colour(variables.get("warning", "")))
            case _:
                return Style(color=self._look.muted)

    def _fit(self, width: int) -> None:
        """Draw every block for another width."""
        if width == self._width:
            return
        self._width = width
        self._look = theme_look(self)
        self._base = self.rich_style
        self._renderer = MarkdownRenderer(width, self._look)
        quick = sum(map(len, self._blocks)) <= QUICK_LIMIT
        self._stale.clear()
        self._drawn += [[] for _ in self._blocks[len(self._drawn) :]]
        for place, source in enumerate(self._blocks):
            if quick:
                self._drawn[place] = self._renderer.rows(source)
                continue
            self._put_off(place)
            self._drawn[place] = self._drawn[place] or self._renderer.plain(source)
        self._join_rows()
        self._tail_opened = -1
        self._set_tail()

    def _paint_if_due(self) -> None:
        """With a piece, or else by the clock."""
        now = monotonic()
        if now >= self._paint_due:
            self._paint_due = now + 0.9 * self.repaint_seconds  # pieces come as often, and never quite evenly
            self._paint()
            self.on_paint()

    def _paint(self) -> None:
        rows = self._painted_rows
        first = 1 if self._thought_grew else rows - len(self._line_rows) - min(1, len(self._tail_rows))
        self._thought_grew = False
        self._take_waiting()
        self._line = clean_text(self.status())
        self._painted_rows = self._height  # in a pane that is hidden nobody else asks for it
        if self._painted_rows != rows:
            self.refresh(layout=True)
        else:
            self.refresh(Region(0, first, self.size.width, rows - first))

    def _settle(self) -> None:
        """Ask again where Textual laid out the screen while the last rows came; nothing else would."""
        if self.size.height != self._height:
            self.refresh(layout=True)

    def _take_waiting(self) -> None:
        text, self._waiting = "".join(self._waiting), []
        if text:
            self._add_blocks(self._splitter.feed(clean_text(text)))
            self._set_tail()

    def _add_blocks(self, sources: list[str]) -> None:
        for source in sources:
            self._blocks.append(source)
            if self._renderer is None:
                continue
            if len(source) <= QUICK_LIMIT:
                rows = self._renderer.rows(source)
            else:
                rows = self._renderer.plain(source)
                self._put_off(len(self._blocks) - 1)
            self._drawn.append(rows)
            self._rows += [*rows, Strip([])]

    def _put_off(self, place: int) -> None:
        self._stale.add(place)
        if len(self._stale) == 1:
            self._draw_later(self)

    def _join_rows(self) -> None:
        self._rows = [row for rows in self._drawn for row in (*rows, Strip([]))]

    def _set_tail(self) -> None:
        text = self._splitter.open_text
        if self._tail_opened == self._splitter.opened:
            self._tail.extend(text[len(self._tail_text) :])
        else:
            code = self._splitter.in_code
            self._tail = GrowingText(max(1, self._width - 2) if code else self._width, words=not code)
            self._tail.extend(text)
            self._tail_opened = self._splitter.opened
        self._tail_text = text


def _marked(strip: Strip, span: tuple[int, int], style: Style) -> Strip:
    start, end = span
    stop = strip.cell_length if end == -1 else end
    before, middle, after = strip.divide([start, stop, max(stop, strip.cell_length)])
    return Strip.join([before, middle.apply_style(style), after])
