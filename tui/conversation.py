"""The turns of a chat, without a screen: what was asked, what came back, and what the engine is sent next."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from modeldeck.backend.models import ChatMessage, FinishReason, GenerationStats
from modeldeck.tui import format as fmt


class TurnState(StrEnum):
    """Where a reply stands."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass
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

    def add(self, text: str) -> None:
        """The next piece of the reply."""
        self.reply += text

    def finish(self, stats: GenerationStats) -> None:
        """The engine says that the reply is complete, cut, or stopped."""
        self.stats = stats
        self.state = TurnState.CANCELLED if stats.finish_reason is FinishReason.CANCELLED else TurnState.FINISHED

    def fail(self, reason: str) -> None:
        """The reply ended with an error; its text so far stays."""
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
                return _figures(self.stats) if self.stats is not None else self.state.value


@dataclass
class Conversation:
    """The turns since the chat was begun; only the last one can be running."""

    turns: list[Turn] = field(default_factory=list)

    def begin(self, question: str, model_name: str) -> Turn:
        """Add a turn whose reply is still to come."""
        turn = Turn(question, model_name)
        self.turns.append(turn)
        return turn

    def messages(self) -> tuple[ChatMessage, ...]:
        """What the engine is sent: every turn with a reply, then the question that is waiting for one.

        A turn that ended without a single character of reply is left out whole, because many chat templates refuse
        two questions in a row. The system prompt travels in the settings.
        """
        messages: list[ChatMessage] = []
        for turn in self.turns:
            waiting = turn.state is TurnState.RUNNING
            if not waiting and not turn.reply:
                continue
            messages.append(ChatMessage("user", turn.question))
            if not waiting:
                messages.append(ChatMessage("assistant", turn.reply))
        return tuple(messages)

    def last_reply(self) -> str:
        """The newest reply that has any text, also one that is still running; empty when there is none."""
        return next((turn.reply for turn in reversed(self.turns) if turn.reply), "")

    def clear(self) -> None:
        """Forget every turn."""
        self.turns.clear()


@dataclass
class ReplyClock:
    """The speed of a running reply, seen from here: tokens after the first, over the time since the first."""

    started: float
    """Seconds, of a clock that never goes back."""
    first_token_at: float | None = None
    tokens_at_first: int = 0
    tokens: int = 0

    def saw(self, new_tokens: int, now: float) -> float:
        """Note how many tokens the reply has; returns tokens per second, 0 while nobody can know."""
        if self.first_token_at is None:
            self.first_token_at, self.tokens_at_first = now, new_tokens
        self.tokens = new_tokens
        elapsed = now - self.first_token_at
        return (new_tokens - self.tokens_at_first) / elapsed if elapsed > 0 else 0.0

    def line(self, now: float) -> str:
        """What is shown while the reply runs."""
        if self.first_token_at is None:
            waited = now - self.started
            return "waiting for the first token" + (f" · {fmt.seconds(waited)}" if waited >= 1 else "")
        rate = self.saw(self.tokens, now)
        return fmt.tokens(self.tokens) + (f" · {fmt.tokens_per_second(rate)}" if rate else "")


def _figures(stats: GenerationStats) -> str:
    """The figures of a reply and why it ended: ``142 tokens · 61.2 tok/s · first token 0.18 s · stop``."""
    parts = [fmt.tokens(stats.new_tokens)]
    if stats.tokens_per_second:
        parts.append(fmt.tokens_per_second(stats.tokens_per_second))
    if stats.new_tokens:
        parts.append(f"first token {fmt.seconds(stats.first_token_seconds)}")
    match stats.finish_reason:
        case FinishReason.LENGTH if stats.context_full:
            parts.append("length: the model's context is full")
        case FinishReason.LENGTH:
            parts.append("length: cut at the token limit")
        case reason:
            parts.append(reason.value)
    return " · ".join(parts)
