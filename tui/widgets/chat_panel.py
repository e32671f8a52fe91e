"""The chat: the turns, the prompt, and the reply that runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widgets import Static, TextArea
from textual.worker import Worker, WorkerState

from modeldeck.backend.chat_messages import GenerationStats
from modeldeck.backend.errors import BackendError
from modeldeck.backend.models import LoadedModel
from modeldeck.backend.text import clean_name
from modeldeck.tui.chat_keys import CHAT_KEYS
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.desk import ChatDesk
from modeldeck.tui.chats.store import ChatStore
from modeldeck.tui.chats.turns import Turn
from modeldeck.tui.chats_flow import ChatsFlow
from modeldeck.tui.file_notes import FileNotes
from modeldeck.tui.looking_flow import LookingFlow
from modeldeck.tui.reply_flow import ReplyFlow
from modeldeck.tui.talker import SettingsSource, Talker
from modeldeck.tui.trouble_flow import TroubleFlow
from modeldeck.tui.turn_flow import TurnFlow
from modeldeck.tui.widgets.chat_lines import ChatLines
from modeldeck.tui.widgets.chat_view import ChatView
from modeldeck.tui.widgets.prompt import Prompt
from modeldeck.tui.widgets.writing import write

NO_MODEL = "No model is loaded: enter on one in the list loads it."
RUNNING = "A reply is running; escape stops it."
EMPTY = "Nothing said yet. With a model loaded, type below and press enter."
_logger = logging.getLogger(__name__)
_SHORT_NOTE = 40
"""Characters; a longer note has the whole line."""


class ChatPanel(Vertical):
    """Talks to the loaded model; the conversation and the draft outlive every load and unload.

    What a turn or a conversation can do stands in the flows; here is what they show it with. Without ``chats``
    nothing is kept on disk; ``tell`` takes sentences that shall stay in the log.
    """

    DEFAULT_CSS = """
    ChatPanel > .chat--prompt {
        height: auto;
        padding: 0 1 0 2;
        border-top: solid $foreground 20%;
        border-title-align: right;
        border-title-color: $text-muted;
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
    ChatPanel > .chat--warning {
        height: auto;
        padding: 0 1 0 2;
        color: $text-warning;
        display: none;
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
        &.-alone { max-width: 100%; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [*CHAT_KEYS]

    loaded: var[LoadedModel | None] = var(None)
    """What the engine holds; bound by the screen."""
    model_name: var[str] = var("")
    """What people call the loaded model; untrusted text."""
    other_name: var[str] = var("")
    """What people call a model that could be talked to, where none is loaded in front; untrusted text."""
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

    @dataclass
    class Wanted(Message):
        """Something that the rest of the deck must do.

        ``compare``: put the question of a turn, or a new one, to two models. ``4bit``, ``more_context``, ``context``:
        load the model otherwise, with another limit of its context the last two. ``tell_left_open``: say that the
        conversation was open when modeldeck ended unasked.
        """

        panel: ChatPanel
        what: str
        turn: Turn | None = None

    def __init__(
        self,
        talker: Talker,
        generation: SettingsSource,
        chats: ChatStore | None = None,
        tell: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        super().__init__()
        self.talker = talker
        self.tell = tell
        self.lines = ChatLines(self, generation)
        self.desk = ChatDesk(chats, self.lines.saving_changed)
        self.replies = ReplyFlow(self)
        self.trouble = TroubleFlow(self)
        self.looking = LookingFlow(self)
        self.turn_deeds = TurnFlow(self)
        self.chats = ChatsFlow(self)
        self.file_notes = FileNotes(self)
        self._prompt = Prompt(self._send)
        self._advised = False
        """Whether the line beside the prompt is about the settings."""

    def compose(self) -> ComposeResult:
        """Turns, prompt, and one line for what must be said and what is set."""
        yield ChatView(EMPTY)
        yield Static(classes="chat--warning", markup=False)
        with Horizontal(classes="chat--prompt"):
            yield Static(">", markup=False)
            yield self._prompt
        with Horizontal(classes="chat--footer"):
            yield Static(classes="chat--note", markup=False)
            yield Static(classes="chat--settings -alone", markup=False)

    def on_mount(self) -> None:
        """Say what is set, and take up what was said last."""
        self.desk.start()
        self.refresh_settings()
        self.chats.reopen()

    async def on_unmount(self) -> None:
        """What was said is on the disk before the program ends, and what was not yet sent."""
        self.conversation.put_by(self.lines.unsent)
        await self.desk.close(unasked=bool(self.app.return_code))

    @property
    def conversation(self) -> Conversation:
        """What is on show."""
        return self.desk.conversation

    @property
    def view(self) -> ChatView:
        """The turns."""
        return self.query_one(ChatView)

    @property
    def model_id(self) -> str | None:
        """Of the loaded model."""
        return self.loaded.model_id if self.loaded is not None else None

    @property
    def draft(self) -> str:
        """What stands in the prompt and was not sent."""
        return self._prompt.text

    def focus_prompt(self) -> None:
        """Let the user type."""
        self.screen.set_focus(self.query_one(Prompt))

    def refresh_settings(self) -> None:
        """Show what holds for the next reply; call it when settings were saved."""
        if self.children:
            self.query_one(".chat--settings", Static).update(Content(self.lines.settings_line))
            if (advice := self.lines.advice()) or self._advised:
                self.say(advice, warning=True)
            self._advised = bool(advice)

    def say(self, text: str, *, warning: bool = False) -> None:
        """Put a line beside the prompt; the next key in the prompt takes it away."""
        note = self.query_one(".chat--note", Static)
        note.set_class(warning, "-warning")
        write(note, text)  # every key comes by here
        settings = self.query_one(".chat--settings")
        settings.display = len(text) <= _SHORT_NOTE
        settings.set_class(not text, "-alone")

    async def stop_reply(self) -> bool:
        """End the running reply; returns False where none runs."""
        if not self.replying:
            return False
        self.say("Stopping the reply ...")
        await self.replies.stop()
        return True

    def watch_replying(self, replying: bool) -> None:
        """A cursor that blinks is drawn twice a second, beside a model that may need every core."""
        self._prompt.cursor_blink = not replying

    def watch_loaded(self) -> None:
        """Another model may have settings of its own."""
        if self.children:
            self.say("")
            self.lines.refresh()
        self.refresh_settings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What applies only now and then is offered only then."""
        match action, parameters:
            case "chat", ("stop_editing",):
                return self.replies.editing is not None
            case "chat", ("choices",):
                return self.trouble.trouble is not None
        return True

    def action_chat(self, deed: str) -> None:
        """Do something with a turn, or with the conversation."""
        if deed in self.turn_deeds:
            self.turn_deeds.do(deed)
        else:
            self.chats.do(deed)

    @on(TextArea.Changed)
    def _typed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.say(self.lines.advice(), warning=True)
        self.file_notes.look(event.text_area.text)

    @on(Prompt.Refused)
    def say_busy(self) -> None:
        """Why nothing can be asked now."""
        other = clean_name(self.other_name, 40)
        nobody = f"Nobody is talked to: ctrl+o talks to {other}, which is loaded." if other else NO_MODEL
        self.say(RUNNING if self.replying else nobody, warning=True)

    def _send(self, text: str) -> bool:
        model = self.loaded
        if self.replying or model is None:
            return False
        self.replies.ask(text, model)
        return True

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A reply that met an error nobody expected must not look as if it still ran; any other is told, too."""
        if event.state is not WorkerState.ERROR:
            return
        error = event.worker.error
        _logger.error("The chat met an error that nobody expected.", exc_info=error)
        if event.worker is self.replies.worker:
            self.replies.broke(error)
        else:
            self.say(
                f"That ended by an error in modeldeck ({type(error).__name__}); the log file says more.", warning=True
            )
