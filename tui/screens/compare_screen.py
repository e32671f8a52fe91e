"""One question, two replies: of two models, or with two settings, side by side with their figures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Select, Static
from textual.worker import Worker

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode
from modeldeck.backend.errors import BackendError
from modeldeck.backend.protocol import GenerationFinished, PrefillProgress, TokensGenerated
from modeldeck.backend.text import clean_name
from modeldeck.config.declaration import InvalidValue
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats.figures import ReplyClock
from modeldeck.tui.chats.overrides import with_overrides
from modeldeck.tui.chats.turns import Turn
from modeldeck.tui.screens.dialog import Dialog
from modeldeck.tui.talker import Talker
from modeldeck.tui.widgets.streamed_reply import StreamedReply

_SIDES = ("left", "right")


@dataclass(frozen=True, slots=True)
class Contender:
    """A model with the settings that it is asked with."""

    title: str
    """On one line, safe to draw."""
    model_id: str
    settings: GenerationSettings


class CompareScreen(Dialog[None]):
    """Both are asked one after the other, so that neither takes from the other's speed.

    Args:
        talker: Has the models reply.
        contenders: What can be chosen, the first two to begin with; at least one.
        before: The turns before the question; the same for both.
        question: To begin with; None is an empty field.
        mode: As the conversation asks.
        thinking: The same.
    """

    AUTO_FOCUS = "#question"

    DEFAULT_CSS = """
    CompareScreen Input, CompareScreen Input:focus { height: 1; background: $panel; padding: 0 1; }
    CompareScreen #question { margin-bottom: 1; }
    CompareScreen .side { width: 1fr; height: 1fr; padding: 0 1; }
    CompareScreen #right-side { border-left: vkey $panel; }
    CompareScreen #sides { height: 1fr; }
    CompareScreen VerticalScroll { height: 1fr; margin-top: 1; scrollbar-size-vertical: 1; }
    CompareScreen #said { height: auto; color: $text-muted; padding: 0 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "ask", "Ask both", show=False, id="compare.ask", tooltip="Ask both"),
    ]

    def __init__(
        self,
        talker: Talker,
        contenders: Sequence[Contender],
        before: tuple[ChatMessage, ...] = (),
        question: ChatMessage | None = None,
        mode: ReplyMode = ReplyMode.CHAT,
        thinking: bool | None = None,
    ) -> None:
        super().__init__()
        self._talker, self._contenders = talker, contenders
        self._before, self._mode, self._thinking = before, mode, thinking
        self._asked = question or ChatMessage("user", "")
        self._question = " ".join(self._asked.content.split())
        self._worker: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """The question, the two sides, the keys."""
        with Vertical(classes="dialog -whole"):
            yield Static("Compare", classes="dialog-title")
            yield Input(self._question, placeholder="The question for both", compact=True, id="question")
            with Horizontal(id="sides"):
                for number, side in enumerate(_SIDES):
                    chosen = min(number, len(self._contenders) - 1)
                    with Vertical(classes="side", id=f"{side}-side"):
                        options = [(Content(one.title), place) for place, one in enumerate(self._contenders)]
                        yield Select(options, value=chosen, allow_blank=False, compact=True, id=f"{side}-who")
                        hint = "temperature 0, seed 7 ..."
                        yield Input(placeholder=hint, compact=True, id=f"{side}-settings")
                        yield VerticalScroll(id=f"{side}-reply")
            yield Static("Enter asks both, one after the other.", id="said", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Ask both", variant="primary", id="ask", compact=True)
                yield Button("Close", id="close", compact=True)

    @on(Input.Submitted)
    @on(Button.Pressed, "#ask")
    def action_ask(self) -> None:
        """Put the question to both."""
        question = self.query_one("#question", Input).value
        if not question.strip():
            self._say("There is no question.")
        elif self._worker is not None and self._worker.is_running:
            self._say("They are replying; escape closes and stops them.")
        else:
            # The field shows it on one line; as long as nobody changed it, it is asked as it was.
            asked = self._asked if question == self._question else ChatMessage("user", question)
            # Of the app: this screen would cancel it a second time when it goes, while the reply is being stopped.
            self._worker = self.app.run_worker(self._compare(asked), group="compare", exit_on_error=False)

    @on(Button.Pressed, "#close")
    def action_close(self) -> None:
        """Stop what runs and close."""
        if self._worker is not None:
            self._worker.cancel()  # which closes the reply that is being read, and so stops it
        self.dismiss(None)

    async def _compare(self, question: ChatMessage) -> None:
        try:
            asked = [self._contender(side) for side in _SIDES]
        except InvalidValue as error:
            self._say(f"{error}.")
            return
        messages = (*self._before, question)
        self._say("")
        for side, contender in zip(_SIDES, asked, strict=True):
            await self._reply(side, contender, messages)
        self._say("Enter asks both again.")

    def _contender(self, side: str) -> Contender:
        chosen = self.query_one(f"#{side}-who", Select).value
        contender = self._contenders[chosen if isinstance(chosen, int) else 0]
        typed = self.query_one(f"#{side}-settings", Input).value
        settings = with_overrides(contender.settings, typed)
        return Contender(contender.title, contender.model_id, settings)

    async def _reply(self, side: str, contender: Contender, messages: tuple[ChatMessage, ...]) -> None:
        place = self.query_one(f"#{side}-reply", VerticalScroll)
        await place.remove_children()
        shown = StreamedReply(contender.title, self._draw)
        await place.mount(shown)
        turn, clock = Turn("", contender.title), ReplyClock(monotonic())
        shown.status = lambda: clock.line(monotonic())
        asked = self._talker.generate(
            messages, contender.settings, mode=self._mode, thinking=self._thinking, model_id=contender.model_id
        )
        try:
            async with aclosing(asked) as pieces:
                async for piece in pieces:
                    match piece:
                        case TokensGenerated(reasoning=True):
                            shown.think(piece.text)
                            clock.saw(piece.new_tokens, monotonic())
                        case TokensGenerated():
                            shown.write(piece.text)
                            clock.saw(piece.new_tokens, monotonic())
                        case PrefillProgress():
                            clock.read = (piece.done, piece.total)
                        case GenerationFinished():
                            turn.finish(piece.stats)
        except BackendError as error:
            turn.fail(clean_name(str(error), 300))
        if shown.is_attached:
            shown.finish(turn.summary(), turn.state.value)

    def _draw(self, reply: StreamedReply) -> None:
        self.run_worker(reply.draw(), group="draw", exit_on_error=False)

    def _say(self, sentence: str) -> None:
        for line in self.query("#said").results(Static):  # none while it closes
            line.update(Content(sentence))
