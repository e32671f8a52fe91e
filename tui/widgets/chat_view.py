"""The turns of a chat, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from modeldeck.backend.text import clean_text
from modeldeck.tui.deck_keys import DECK_KEYS

if TYPE_CHECKING:
    from modeldeck.tui.widgets.streamed_reply import StreamedReply


class Question(Static):
    """What the user said, with its gutter."""

    DEFAULT_CSS = """
    Question {
        height: auto;
        margin-bottom: 1;
    }
    """

    def __init__(self, text: str) -> None:
        row = Table.grid(padding=0)
        row.add_column(width=6, style="bold")
        row.add_column(ratio=1, overflow="fold")
        row.expand = True
        row.add_row(Text("you"), Text(clean_text(text)))
        super().__init__(row)


class ChatView(VerticalScroll, can_focus=True):
    """Scrolls; stays at the bottom while text comes, unless the user has scrolled up."""

    DEFAULT_CSS = """
    ChatView {
        height: 1fr;
        padding: 1 2 0 2;
        scrollbar-size-vertical: 1;
    }
    ChatView > .chat--turns {
        height: auto;
        min-height: 100%;  /* an anchored view would push a short chat to the bottom */
    }
    ChatView .chat--empty {
        color: $text-muted;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False, id="chat.down", tooltip="Scroll down one line"),
        Binding("k", "scroll_up", "Up", show=False, id="chat.up", tooltip="Scroll up one line"),
        Binding("g", "scroll_home", "First", show=False, id="chat.first", tooltip="Go to the first turn"),
        Binding("G", "scroll_end", "Last", show=False, id="chat.last", tooltip="Go to the end and follow it"),
        Binding("ctrl+d", "page_down", "Page down", show=False, id="chat.page_down", tooltip="Scroll down one page"),
        Binding("ctrl+u", "page_up", "Page up", show=False, id="chat.page_up", tooltip="Scroll up one page"),
        *DECK_KEYS,
    ]

    def __init__(self, empty: str) -> None:
        super().__init__()
        self._empty = Static(Content(empty), classes="chat--empty")
        self._to_draw: list[StreamedReply] = []

    def compose(self) -> ComposeResult:
        """Only the hint at first."""
        with Vertical(classes="chat--turns"):
            yield self._empty

    def on_mount(self) -> None:
        """Follow the end from the start; Textual's own anchor does it without painting twice."""
        self.anchor()

    async def add_turn(self, question: str, model_name: str) -> StreamedReply:
        """Show a question and the place where its reply will be; the view goes to the end."""
        from modeldeck.tui.widgets.streamed_reply import StreamedReply  # Markdown: two thirds of what the panes import

        self._empty.display = False
        reply = StreamedReply(model_name, self._draw_later)
        await self.query_one(".chat--turns", Vertical).mount_all([Question(question), reply])
        self.scroll_end(animate=False)
        return reply

    async def clear(self) -> None:
        """Back to an empty chat."""
        await self.query("Question, StreamedReply").remove()
        self._empty.display = True

    def _draw_later(self, reply: StreamedReply) -> None:
        if reply in self._to_draw:
            return
        self._to_draw.append(reply)
        if len(self._to_draw) == 1:
            self._draw()

    @work(group="draw", exit_on_error=False)
    async def _draw(self) -> None:
        """One reply after the other, so that the loop never waits for more than one thread; the newest first."""
        while self._to_draw:
            reply = self._to_draw[-1]
            if reply.is_attached:
                await reply.draw()
            self._to_draw.remove(reply)
