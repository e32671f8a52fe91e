"""What is said in a conversation and what came of it, in words that both processes share."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class ChatMessage(Struct, frozen=True):
    """One turn of a conversation."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str
    images: tuple[str, ...] = ()
    """Paths of images that belong to the turn, for models that take them."""


class ReplyMode(StrEnum):
    """What is made of a conversation."""

    CHAT = "chat"
    """By the model's chat template; without one the last turn is completed as plain text."""
    CONTINUE = "continue"
    """The last message is the assistant's, and the reply goes on where it ends."""
    RAW = "raw"
    """The last turn is completed as plain text, template or not."""


class TokenChoice(Struct, frozen=True):
    """One token of a reply, and what else the model would have said there, before any sampling setting."""

    text: str
    """As it stands in the reply; part of a character where that takes several tokens. Untrusted text."""
    probability: float
    """0 to 1."""
    others: tuple[tuple[str, float], ...] = ()
    """The most likely tokens instead, the likeliest first, each with its probability."""


class FinishReason(StrEnum):
    """Why a reply ended, in the words of every inference API."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


class GenerationStats(Struct, frozen=True, kw_only=True):
    """The figures of one reply."""

    prompt_tokens: int
    new_tokens: int
    first_token_seconds: float
    """From the request's arrival in the engine to the first new token."""
    seconds: float
    """From the request's arrival to the last token."""
    finish_reason: FinishReason
    peaks: dict[str, int] = {}
    """As those of ``LoadedModel``, after this reply."""
    reused_tokens: int = 0
    """How many tokens of the prompt were in the cache already, from the turns before."""
    token_ids: tuple[int, ...] = ()
    """The tokens of the reply, special ones included, so that it can be looked into later."""
    cache_bytes: int = 0
    """What the cache of this conversation took at its end; 0 where unknown."""
    context_full: bool = False
    """Whether the reply ended because prompt and reply together fill the model's context."""
    time_up: bool = False
    """Whether it ran for as long as the settings allow."""

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed, without the prefill; 0 when fewer than two tokens were made."""
        decoding = self.seconds - self.first_token_seconds
        return (self.new_tokens - 1) / decoding if self.new_tokens > 1 and decoding > 0 else 0.0
