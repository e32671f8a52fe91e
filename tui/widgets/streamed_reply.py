"""A reply while it is written and after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.markdown_blocks import BlockSplitter
from modeldeck.tui.widgets.open_block import OpenBlock
from modeldeck.tui.widgets.safe_markdown import SafeMarkdown

REPAINT_SECONDS = 0.1
"""A reply is painted at most so often, however fast its pieces come."""
MARKDOWN_LIMIT = 16_000
"""Characters; a larger block stays plain text, because parsing and highlighting it would be felt."""


class StreamedReply(Vertical):
    """The model's name, the closed blocks as Markdown, the open block as plain text, and one quiet line."""

    DEFAULT_CSS = """
    StreamedReply {
        height: auto;
        margin-bottom: 1;
    }
    StreamedReply > .reply--name {
        height: 1;
        color: $text-accent;
        text-style: bold;
    }
    StreamedReply > .reply--plain {
        margin-bottom: 1;
    }
    StreamedReply > .reply--line {
        color: $text-muted;
    }
    StreamedReply.-failed > .reply--line {
        color: $text-error;
    }
    StreamedReply.-cancelled > .reply--line {
        color: $text-warning;
    }
    """

    def __init__(self, model_name: str) -> None:
        super().__init__()
        self._model_name = clean_name(model_name, 60)
        self._splitter = BlockSplitter()
        self._waiting: list[str] = []
        self._opened = -1
        self._painting = asyncio.Lock()
        self.status: Callable[[], str] = str
        """What the quiet line says while the reply runs; asked at every repaint."""
        self._tail = OpenBlock()
        self._line = Static(classes="reply--line", markup=False)

    def compose(self) -> ComposeResult:
        """The name, the open block and the quiet line; closed blocks are mounted before the open one."""
        yield Static(Content(self._model_name), classes="reply--name")
        yield self._tail
        yield self._line

    def on_mount(self) -> None:
        """Start painting."""
        self._painter = self.set_interval(REPAINT_SECONDS, self._paint)

    def write(self, text: str) -> None:
        """Add a piece of the reply; it is seen with the next repaint."""
        self._waiting.append(text)

    async def finish(self, line: str, state: str = "finished") -> None:
        """No more text comes: close what is open and say how it ended.

        Args:
            line: Shown below the reply.
            state: ``finished``, ``cancelled`` or ``failed``.
        """
        self._painter.stop()
        await self._paint()
        async with self._painting:
            await self._show(self._splitter.finish())
        self.add_class(f"-{state}")
        self._line.update(Content(clean_text(line)))

    async def _paint(self) -> None:
        async with self._painting:
            text, self._waiting = "".join(self._waiting), []
            if text:
                await self._show(self._splitter.feed(clean_text(text)))
            self._say(self.status())

    def _say(self, line: str) -> None:
        if self._line.content != line:
            self._line.update(Content(line), layout=False)

    async def _show(self, closed: list[str]) -> None:
        if not closed:
            self._show_tail()
            return
        with self.app.batch_update():
            await self.mount_all([_block(source) for source in closed], before=self._tail)
            self._show_tail()

    def _show_tail(self) -> None:
        text = self._splitter.open_text
        if self._opened != self._splitter.opened or not text.startswith(self._tail.text):
            self._opened = self._splitter.opened
            self._tail.show(text, code=self._splitter.in_code)
        else:
            self._tail.extend(text[len(self._tail.text) :])


def _block(source: str) -> Widget:
    if len(source) > MARKDOWN_LIMIT:
        return Static(Content(source), classes="reply--plain")
    return SafeMarkdown(source)
