"""A model card: Markdown that was written by anybody, as rows that are drawn a little ahead of who reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from modeldeck.backend.models import ModelInfo
from modeldeck.tui.markdown_blocks import BlockSplitter

if TYPE_CHECKING:
    from modeldeck.tui.markdown_rows import MarkdownRenderer

ReadCard = Callable[[ModelInfo], str | None]
"""The text of a model's card, cleaned, without its head; None where there is none. Blocking."""

AHEAD_ROWS = 200
"""So many rows are ready below the last one that was asked for."""
_CHUNK = 3000
"""Characters that are drawn at a time; in a thread, which the loop then waits for a few milliseconds at most."""
_SETTLE_SECONDS = 0.15
"""How long a model must stay highlighted before its card is read: who runs through the list reads none."""


class CardView(Widget):
    """Reads and draws the card of one model; takes no room where there is none.

    Nothing in it can be opened: addresses are spelled out, HTML is text, an image is its words.
    """

    DEFAULT_CSS = """
    CardView {
        height: auto;
        margin-top: 1;
        display: none;
    }
    """

    def __init__(self, read: ReadCard) -> None:
        super().__init__()
        self._read = read
        self._blocks: list[str] = []
        self._rows: list[Strip] = []
        self._width = 0
        self._wanted = 0
        self._more = asyncio.Event()

    def show(self, model: ModelInfo | None) -> None:
        """Show the card of this model, if it has one."""
        self.display = False
        self._blocks, self._rows = [], []
        if model is not None:
            self._load(model)
        else:
            self.workers.cancel_group(self, "card")

    def need(self, rows: int) -> None:
        """The reader has come near this row."""
        if rows + AHEAD_ROWS > self._wanted:
            self._wanted = rows + AHEAD_ROWS
            self._more.set()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All rows that are drawn."""
        return len(self._rows)

    def on_resize(self) -> None:
        """Another width: the rows are drawn anew, and the old ones stay until then."""
        if self._blocks and self.size.width != self._width:
            self._draw(self._blocks)

    def notify_style_update(self) -> None:
        """Another theme."""
        super().notify_style_update()
        if self._blocks:
            self._draw(self._blocks)

    def render_line(self, y: int) -> Strip:
        """One row."""
        row = self._rows[y] if y < len(self._rows) else Strip([])
        return row.apply_style(self.rich_style).adjust_cell_length(self.size.width, self.rich_style)

    @work(group="card", exclusive=True)
    async def _load(self, model: ModelInfo) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        blocks = await asyncio.to_thread(_blocks_of, self._read, model)
        if blocks:
            self._wanted = AHEAD_ROWS
            self._blocks = blocks
            self._rows = [Strip([Segment("Model card", Style(bold=True))])]
            self.display = True  # the width is known when it was laid out, and drawing begins

    @work(group="card.draw", exclusive=True)
    async def _draw(self, blocks: Sequence[str]) -> None:
        from modeldeck.tui.markdown_rows import MarkdownRenderer  # by now they are there: see _blocks_of
        from modeldeck.tui.theme_look import theme_look

        width = self._width = self.size.width
        renderer = MarkdownRenderer(width, theme_look(self), image_addresses=False)
        rows, left = [Strip([Segment("Model card", Style(bold=True))]), Strip([])], list(reversed(blocks))
        while left:
            if len(rows) > self._wanted:
                self._more.clear()
                await self._more.wait()
            rows += await asyncio.to_thread(_drawn, renderer, _chunk(left))
            if blocks is not self._blocks:
                return
            if len(rows) >= min(len(self._rows), self._wanted) or not left:
                self._rows = list(rows)
                self.refresh(layout=True)


def _blocks_of(read: ReadCard, model: ModelInfo) -> list[str]:
    """Runs in a thread, and imports there what draws Markdown, which takes longer than the loop may be held up."""
    text = read(model)
    if not text:
        return []
    import modeldeck.tui.theme_look  # noqa: F401

    splitter = BlockSplitter()
    return [block for block in (*splitter.feed(text), *splitter.finish()) if block.strip()]


def _chunk(left: list[str]) -> list[str]:
    """Take the next blocks, at least one."""
    taken = [left.pop()]
    while left and sum(map(len, taken)) + len(left[-1]) <= _CHUNK:
        taken.append(left.pop())
    return taken


def _drawn(renderer: MarkdownRenderer, blocks: Sequence[str]) -> list[Strip]:
    return [row for block in blocks for row in (*renderer.rows(block), Strip([]))]
