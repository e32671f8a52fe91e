"""The chat: the turns, the prompt, and the reply that runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Protocol

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widgets import Static, TextArea
from textual.worker import Worker, WorkerState

from modeldeck.backend.errors import BackendError, GenerationError
from modeldeck.backend.models import ChatMessage, GenerationStats, LoadedModel
from modeldeck.backend.protocol import GenerationFinished, TokensGenerated
from modeldeck.backend.text import clean_name, clean_text
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.conversation import Conversation, ReplyClock, Turn, TurnState
from modeldeck.tui.settings_line import summary
from modeldeck.tui.widgets.chat_view import ChatView
from modeldeck.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from modeldeck.tui.widgets.streamed_reply import StreamedReply

NO_MODEL = "No model is loaded: enter on one in the list loads it."
RUNNING = "A reply is running; escape stops it."
FORGET = "Once more forgets this chat."
EMPTY = "Nothing said yet. With a model loaded, type below and press enter."


class Replier(Protocol):
    """What the panel needs of ``PipelineManager``."""

    def generate(
        self, messages: Sequence[ChatMessage], settings: GenerationSettings
    ) -> AsyncGenerator[TokensGenerated | GenerationFinished, None]:
        """Stream a reply; raises BackendError."""
        ...

    async def stop_reply(self) -> None:
        """Ask the engine to end the reply."""
        ...


class SettingsSource(Protocol):
    """What the panel needs of ``GenerationStore``."""

    def effective(self, model_id: str | None) -> GenerationSettings:
        """What holds for this model now."""
        ...


class ChatPanel(Vertical):
    """Talks to the loaded model; the conversation and the draft outlive every load and unload."""

    DEFAULT_CSS = """
    ChatPanel > .chat--prompt {
        height: auto;
        padding: 0 1 0 2;
        border-top: solid $foreground 20%;
    }
    ChatPanel > .chat--prompt > Static {
        width: 2;
        color: $text-accent;
    }
    ChatPanel > .chat--footer {
        height: auto;
        padding: 0 1 0 2;
        color: $text-muted;
    }
    ChatPanel .chat--note {
        width: 1fr;
        height: auto;
        color: $text-muted;
        &.-warning { color: $text-warning; }
    }
    ChatPanel .chat--settings {
        width: auto;
        max-width: 60%;
        height: 1;
        padding-left: 2;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_chat", "New chat", id="chat.new", tooltip="Forget this conversation and begin a new one"),
        Binding("y", "copy_reply", "Copy", id="chat.copy", tooltip="Copy the last reply to the clipboard"),
    ]

    loaded: var[LoadedModel | None] = var(None)
    """What the engine holds; bound by the screen."""
    model_name: var[str] = var("")
    """What people call the loaded model; untrusted text."""
    replying: var[bool] = var(False, bindings=True)
    """Whether a reply runs."""

    @dataclass
    class ReplyStarted(Message):
        """A question was sent."""

    @dataclass
    class ReplyProgressed(Message):
        """The reply grew; only the newest matters."""

        tokens_per_second: float

        def can_replace(self, message: Message) -> bool:
            """Only the newest is shown."""
            return isinstance(message, ChatPanel.ReplyProgressed)

    @dataclass
    class ReplyFinished(Message):
        """The reply ended: with figures, or with an error."""

        stats: GenerationStats | None
        error: BackendError | None

    def __init__(self, manager: Replier, generation: SettingsSource) -> None:
        super().__init__()
        self._manager = manager
        self._generation = generation
        self.conversation = Conversation()
        self._reply: StreamedReply | None = None
        self._stopping = False
        self._asked_to_forget = False
        self._worker: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """Turns, prompt, and one line for what must be said and what is set."""
        yield ChatView(EMPTY)
        with Horizontal(classes="chat--prompt"):
            yield Static(">", markup=False)
            yield Prompt(self._send)
        with Horizontal(classes="chat--footer"):
            yield Static(classes="chat--note", markup=False)
            yield Static(classes="chat--settings", markup=False)

    def on_mount(self) -> None:
        """Say what is set."""
        self.refresh_settings()

    @property
    def draft(self) -> str:
        """What stands in the prompt and was not sent."""
        return self.query_one(Prompt).text

    def focus_prompt(self) -> None:
        """Let the user type."""
        self.screen.set_focus(self.query_one(Prompt))

    def refresh_settings(self) -> None:
        """Show what holds for the next reply; call it when settings were saved."""
        if self.children:
            line = summary(self._generation.effective(self._model_id))
            self.query_one(".chat--settings", Static).update(Content(line))

    def say(self, text: str, *, warning: bool = False) -> None:
        """Put a line beside the prompt; the next key in the prompt takes it away."""
        self._asked_to_forget = False
        note = self.query_one(".chat--note", Static)
        note.set_class(warning, "-warning")
        note.update(Content(text))

    async def stop_reply(self) -> bool:
        """End the running reply; returns False where none runs."""
        if not self.replying:
            return False
        self._stopping = True
        self.say("Stopping the reply ...")
        await self._manager.stop_reply()
        return True

    def watch_loaded(self) -> None:
        """Another model may have settings of its own."""
        self.refresh_settings()
        if self.children:
            self.say("")

    @property
    def _model_id(self) -> str | None:
        return self.loaded.model_id if self.loaded is not None else None

    @on(TextArea.Changed)
    def _typed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.say("")

    @on(Prompt.Refused)
    def _refused(self, event: Prompt.Refused) -> None:
        event.stop()
        self.say(RUNNING if self.replying else NO_MODEL, warning=True)

    def _send(self, text: str) -> bool:
        model = self.loaded
        if self.replying or model is None:
            return False
        self.replying = True
        self._stopping = self._asked_to_forget = False
        turn = self.conversation.begin(text, clean_name(self.model_name or model.model_id))
        self.post_message(self.ReplyStarted())
        self._worker = self._run_reply(turn, self._generation.effective(model.model_id))
        return True

    @work(group="reply", exit_on_error=False)
    async def _run_reply(self, turn: Turn, settings: GenerationSettings) -> None:
        self._reply = None
        self._reply = reply = await self.query_one(ChatView).add_turn(turn.question, turn.model_name)
        if self._stopping:  # before the engine was asked
            turn.state = TurnState.CANCELLED
            self._ended(turn, reply, None)
            return
        clock = ReplyClock(monotonic())
        reply.status = lambda: clock.line(monotonic())
        error: BackendError | None = None
        try:
            async with aclosing(self._manager.generate(self.conversation.messages(), settings)) as pieces:
                async for piece in pieces:
                    match piece:
                        case TokensGenerated():
                            turn.add(piece.text)
                            reply.write(piece.text)
                            self.post_message(self.ReplyProgressed(clock.saw(piece.new_tokens, monotonic())))
                        case GenerationFinished():
                            turn.finish(piece.stats)
        except BackendError as problem:
            error = problem
        if error is None and turn.state is TurnState.RUNNING:
            error = GenerationError("The engine ended the reply without saying why.")
        self._ended(turn, reply, error)

    def _ended(self, turn: Turn, reply: StreamedReply | None, error: BackendError | None) -> None:
        if error is not None:
            turn.fail(str(error))
        self.replying = False
        self.say("")
        self.post_message(self.ReplyFinished(turn.stats, error))
        if reply is not None and reply.is_attached:
            reply.finish(turn.summary(), turn.state.value)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A reply that met an error nobody expected must not look as if it still ran."""
        if event.worker is self._worker and event.state is WorkerState.ERROR:
            self.log.error(event.worker.error)
            problem = GenerationError(f"The reply met an unexpected error: {event.worker.error!r}")
            self._ended(self.conversation.turns[-1], self._reply, problem)

    @work(group="chat.new", exclusive=True)
    async def action_new_chat(self) -> None:
        """Stop what runs and forget the conversation, one of several turns only when asked twice; the draft stays."""
        if len(self.conversation.turns) > 1 and not self._asked_to_forget:
            self.say(FORGET)
            self._asked_to_forget = True
            return
        if await self.stop_reply() and self._worker is not None:
            await self._worker.wait()
        self.say("")
        self.conversation.clear()
        await self.query_one(ChatView).clear()

    def action_copy_reply(self) -> None:
        """Copy the last reply, as far as it is written."""
        reply = clean_text(self.conversation.last_reply())
        if not reply:
            self.say("There is no reply to copy yet.")
            return
        self.app.copy_to_clipboard(reply)
        self.say("Reply copied, if this terminal allows it.")
