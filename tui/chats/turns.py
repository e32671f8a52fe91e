"""One question and its reply, without a screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct, structs

from modeldeck.backend.chat_messages import ChatMessage, FinishReason, GenerationStats, ReplyMode
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats.figures import figures


class TurnState(StrEnum):
    """Where a reply stands."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


class TextFile(Struct, frozen=True):
    """A file that the question brings along, as it was when it was asked."""

    path: str
    """As it was typed."""
    text: str
    tokens: int | None = None
    """For the model that was asked; None where nobody counted."""


@dataclass(eq=False)
class Turn:
    """One question and its reply, both as they were typed and generated (not yet cleaned for a screen)."""

    question: str
    model_name: str
    """Who replies; a chat may go on with another model."""
    reply: str = ""
    state: TurnState = TurnState.RUNNING
    stats: GenerationStats | None = None
    reason: str = ""
    """Why it failed, one sentence; empty otherwise."""
    thought: str = ""
    """What the model reasoned before it replied; never sent back."""
    number: int = 0
    """Its name in the conversation."""
    parent: int | None = None
    """The turn that it follows; None begins the conversation."""
    model_id: str = ""
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    """What the reply was asked with."""
    mode: ReplyMode = ReplyMode.CHAT
    thinking: bool | None = None
    files: tuple[TextFile, ...] = ()
    images: tuple[str, ...] = ()
    """Absolute paths."""
    asked_at: float = 0.0
    """Seconds since 1970."""
    without: tuple[int, ...] = ()
    """The turns before it that were not sent, because the context was full."""
    _resumed: bool = False
    _before: GenerationStats | None = None

    def add(self, text: str) -> None:
        """The next piece of the reply."""
        self.reply += text

    def think(self, text: str) -> None:
        """The next piece of the reasoning."""
        self.thought += text

    def resume(self) -> None:
        """The reply goes on where it was cut."""
        self._resumed, self._before, self.stats = True, self.stats, None
        self.state, self.reason = TurnState.RUNNING, ""

    def finish(self, stats: GenerationStats) -> None:
        """The engine says that the reply is complete, cut, or stopped."""
        if self._before is not None:
            stats = _together(self._before, stats)
        elif self._resumed:  # what came before was cut off without figures, so these are not the tokens of the reply
            stats = structs.replace(stats, token_ids=())
        self.stats = stats
        self._resumed, self._before = False, None
        self.state = TurnState.CANCELLED if stats.finish_reason is FinishReason.CANCELLED else TurnState.FINISHED

    def fail(self, reason: str) -> None:
        """The reply ended with an error; its text so far stays."""
        self.stats, self._resumed, self._before = self.stats or self._before, False, None
        self.state = TurnState.FAILED
        self.reason = reason

    def summary(self) -> str:
        """The quiet line below a reply that has ended: figures and how it ended; empty while it runs."""
        match self.state:
            case TurnState.RUNNING:
                return ""
            case TurnState.FAILED:
                return f"failed: {self.reason}"
            case TurnState.FINISHED | TurnState.CANCELLED:
                return figures(self.stats) if self.stats is not None else self.state.value

    def line_below(self) -> str:
        """The summary as a conversation shows it, in which a question without a reply is not sent again."""
        said = self.summary()
        return f"{said} (left out of what follows)" if said and not self.reply else said

    @property
    def can_continue(self) -> bool:
        """Whether there is a reply that was cut, so that it could go on; raw text can go on whatever ended it."""
        if not self.reply or self.state is TurnState.RUNNING:
            return False
        if self.mode is ReplyMode.RAW or self.state is not TurnState.FINISHED or self.stats is None:
            return True
        return self.stats.finish_reason is not FinishReason.STOP or self.stats.time_up

    def asks(self) -> ChatMessage:
        """The question as the engine is sent it, its files below it."""
        parts = [self.question, *(f"File {file.path}:\n{_fenced(file.text)}" for file in self.files)]
        return ChatMessage("user", "\n\n".join(parts), self.images)


def _fenced(text: str) -> str:
    """A code block that the text cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}"


def _together(first: GenerationStats, more: GenerationStats) -> GenerationStats:
    """The figures of a reply and of what continues it, as if it had been one."""
    return structs.replace(
        more,
        prompt_tokens=first.prompt_tokens,
        new_tokens=first.new_tokens + more.new_tokens,
        first_token_seconds=first.first_token_seconds,
        seconds=first.seconds + more.seconds - more.first_token_seconds,
        peaks={name: max(first.peaks.get(name, 0), more.peaks.get(name, 0)) for name in first.peaks | more.peaks},
        token_ids=(*first.token_ids, *more.token_ids),
    )
