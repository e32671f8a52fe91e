"""The turns of a chat, one below the other."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.turns import Turn, TurnState
from modeldeck.tui.deck_keys import DECK_KEYS
from modeldeck.tui.garbage import sweep
from modeldeck.tui.widgets.question import Question
from modeldeck.tui.widgets.writing import write

if TYPE_CHECKING:
    from modeldeck.tui.widgets.streamed_reply import StreamedReply

LATEST = 20
"""Turns of a long conversation that are drawn at first; hundreds would keep the keys waiting for a second."""
_REPLY = "modeldeck.tui.widgets.streamed_reply"
"""What draws replies takes 40 ms to import the first time, for which the loop would stand still."""
SPARED = 5
"""Turns that are drawn beyond those before the first ones are put away; one by one would move the rest each time."""


@dataclass(eq=False)
class _Shown:
    """A turn and its widgets."""

    turn: Turn
    question: Question
    reply: StreamedReply


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
        self._more = Static(markup=False, classes="chat--empty")
        self._more.display = False
        self._to_draw: list[StreamedReply] = []
        self._shown: list[_Shown] = []
        self._conversation = Conversation()
        self._one_at_a_time = asyncio.Lock()
        self.chosen: Turn | None = None
        """The turn that the keys mean; None for the last one."""

    def compose(self) -> ComposeResult:
        """Only the hint at first."""
        with Vertical(classes="chat--turns"):
            yield self._empty
            yield self._more

    def on_mount(self) -> None:
        """Follow the end from the start; Textual's own anchor does it without painting twice."""
        self.anchor()

    async def show(self, conversation: Conversation, *, anew: Turn | None = None) -> None:
        """Show the path of a conversation, and its end; what is there already stays, but for the turn ``anew``.

        Of a long one only the last turns are drawn, and stay so while it grows; ``g`` draws more.
        """
        async with self._one_at_a_time:
            await self._show(conversation, anew)

    async def _show(self, conversation: Conversation, anew: Turn | None) -> None:
        self._conversation = conversation
        turns = conversation.turns
        first = self._shown[0].turn if self._shown else None
        start = turns.index(first) if first in turns else max(0, len(turns) - LATEST)
        same = _common(self._shown, turns[start:], anew)
        gone, self._shown = self._shown[same:], self._shown[:same]
        if self.chosen not in turns:
            self.chosen = None
        if turns and _REPLY not in sys.modules:
            await asyncio.to_thread(importlib.import_module, _REPLY)
        with self.app.batch_update():
            await self._put_away(gone)
            self._empty.display = not turns
            if new := turns[start + same :]:
                await self._mount_turns(new)
                await self._put_away_earlier()
            self.mark()
        self.scroll_end(animate=False)

    def action_scroll_home(self) -> None:
        """To the first turn that is drawn; turns before it are drawn first."""
        if self._earlier:
            self._show_earlier(self._earlier[-LATEST:][0])
        else:
            super().action_scroll_home()

    def reply_of(self, turn: Turn) -> StreamedReply | None:
        """Where the reply of this turn is drawn; None where the turn is not on show."""
        return next((one.reply for one in self._shown if one.turn is turn), None)

    def choose(self, turn: Turn | None) -> None:
        """Let the keys mean this turn, and bring it into view; the last one with None."""
        self.chosen = turn
        if turn is not None and turn in self._earlier:
            self._show_earlier(turn)
            return
        self.mark()
        for one in self._shown:
            if one.turn is turn:
                one.question.scroll_visible(animate=False, top=True)

    def mark(self) -> None:
        """Draw the marks of the questions that are not as they were."""
        earlier = len(self._earlier)
        self._more.display = earlier > 0
        write(self._more, f"{earlier} earlier {'turn' if earlier == 1 else 'turns'}; g shows them")
        places: dict[int | None, list[Turn]] = {}
        for turn in self._conversation.by_number.values():
            places.setdefault(turn.parent, []).append(turn)
        for one in self._shown:
            siblings = places[one.turn.parent]
            version = f"{siblings.index(one.turn) + 1}/{len(siblings)}" if len(siblings) > 1 else ""
            left_out = one.turn.number in self._conversation.left_out
            one.question.mark(version, chosen=one.turn is self.chosen, left_out=left_out)

    @property
    def _turns(self) -> Vertical:
        return self.query_one(".chat--turns", Vertical)

    @property
    def _earlier(self) -> list[Turn]:
        """The turns of the path that are not drawn."""
        turns = self._conversation.turns
        return turns[: turns.index(self._shown[0].turn)] if self._shown else []

    @work(group="earlier", exit_on_error=False)
    async def _show_earlier(self, turn: Turn) -> None:
        """Draw the turns from this one on, and go there."""
        async with self._one_at_a_time:
            earlier = self._earlier
            if turn in earlier:
                shown, self._shown = self._shown, []
                with self.app.batch_update():
                    await self._mount_turns(earlier[earlier.index(turn) :], before=shown[0].question)
                self._shown += shown
        self.mark()
        self.release_anchor()
        self.call_after_refresh(self.scroll_to, y=0, animate=False)

    async def _mount_turns(self, turns: Sequence[Turn], before: Question | None = None) -> None:
        """With their replies, as far as those are written."""
        from modeldeck.tui.widgets.streamed_reply import StreamedReply  # Markdown: two thirds of what the panes import

        new = [_Shown(turn, Question(turn), StreamedReply(turn.model_name, self._draw_later)) for turn in turns]
        self._shown += new
        widgets = [widget for one in new for widget in (one.question, one.reply)]
        await self._turns.mount_all(widgets, before=before)
        for one in new:
            if one.turn.thought:
                one.reply.think(one.turn.thought)
            if one.turn.reply:
                one.reply.write(one.turn.reply)
            if one.turn.state is not TurnState.RUNNING:
                one.reply.finish(one.turn.line_below(), one.turn.state.value)

    async def _put_away_earlier(self) -> None:
        """However long somebody stays in a conversation, it takes no more memory and time than its last turns."""
        if len(self._shown) > LATEST + SPARED:
            earlier, self._shown = self._shown[:-LATEST], self._shown[-LATEST:]
            await self._put_away(earlier)
        elif len(self._shown) % SPARED == 0:  # painting leaves something behind as well
            sweep()

    async def _put_away(self, shown: Sequence[_Shown]) -> None:
        if shown:
            await self._turns.remove_children([w for one in shown for w in (one.question, one.reply)])
            # Textual 8.2 keeps all rows of the last 1,024 widgets that were drawn, as the keys of a cache of colours.
            type(self._styles_cache).get_inner_outer.cache_clear()
            sweep()

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


def _common(shown: Sequence[_Shown], turns: Sequence[Turn], anew: Turn | None) -> int:
    """How many turns at the beginning are shown already."""
    same = 0
    for one, turn in zip(shown, turns, strict=False):
        if one.turn is not turn or turn is anew:
            break
        same += 1
    return same
