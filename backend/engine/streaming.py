"""Tokens become text as they come: decoded once each, held back only where a stop string may have begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from tokenizers.decoders import DecodeStream
from transformers.generation.streamers import BaseStreamer

from modeldeck.backend.engine.stop_strings import StopFilter

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class ReplyEnded(Exception):
    """Raised inside ``generate`` to leave it at once; the reply so far is kept."""


class Decoder:
    """Text of one reply, token by token, in constant time; special tokens have no text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._shown = 0

    def step(self, token: int) -> str:
        """What this token adds, empty while it is part of a character that is not complete."""
        if self._backend is not None:
            return self._stream.step(self._backend, token) or ""
        return self._step_slowly(token)

    def _step_slowly(self, token: int) -> str:
        """For tokenizers written in Python: decode the line that is open, and show what is new in it."""
        self._ids.append(token)
        text = str(self._tokenizer.decode(self._ids, skip_special_tokens=True))
        if text.endswith("\ufffd"):
            return ""
        new, self._shown = text[self._shown :], len(text)
        if text.endswith("\n"):
            self._ids, self._shown = [], 0
        return new


class ReplyStreamer(BaseStreamer):
    """What ``generate`` hands every token to; ends it when a stop was asked for or a stop string has appeared."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        stops: Sequence[str],
        stop_asked: threading.Event,
        emit: Callable[[str, int], None],
    ) -> None:
        self._decoder = Decoder(tokenizer)
        self._filter = StopFilter(stops)
        self._stop_asked = stop_asked
        self._emit = emit
        self._prompt_seen = False
        self.new_tokens = 0
        self.last_token: int | None = None
        self.first_at: float | None = None
        """When the first new token came, by ``time.monotonic``."""
        self.last_at = 0.0

    @property
    def found_stop(self) -> bool:
        """Whether a stop string ended the reply."""
        return self._filter.found

    def put(self, value: torch.Tensor | Any) -> None:
        """Take the next tokens; the first call carries the prompt. Raises ReplyEnded to end the reply."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        for token in value.flatten().tolist():
            self._take(token)

    def _take(self, token: int) -> None:
        self.last_at = monotonic()
        self.first_at = self.first_at or self.last_at
        self.new_tokens += 1
        self.last_token = token
        self._emit(self._filter.feed(self._decoder.step(token)), self.new_tokens)
        if self._filter.found or self._stop_asked.is_set():
            raise ReplyEnded

    def end(self) -> None:
        """The reply came to its own end: what looked like the beginning of a stop string was none."""
        if rest := self._filter.rest():
            self._emit(rest, self.new_tokens)
