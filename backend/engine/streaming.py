"""Tokens become text as they come, held back only where a stop string may have begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from transformers.generation.streamers import BaseStreamer

from modeldeck.backend.engine.reasoning import Piece, Pieces
from modeldeck.backend.engine.stop_strings import StopFilter

if TYPE_CHECKING:
    import torch

Emit = Callable[[str, int, bool], None]
"""Takes text, how many tokens the reply has by now, and whether the text is reasoning."""


class ReplyEnded(Exception):
    """Raised inside ``generate`` to leave it at once; the reply so far is kept."""


class ReplyStreamer(BaseStreamer):
    """What ``generate`` hands every token to; ends it when a stop was asked for or a stop string has appeared."""

    def __init__(self, pieces: Pieces, stops: Sequence[str], stop_asked: threading.Event, emit: Emit) -> None:
        self._pieces = pieces
        self._filter = StopFilter(stops)
        self._stop_asked = stop_asked
        self._emit = emit
        self._prompt_seen = False
        self._reasoning = False
        """The kind of the newest text."""
        self.tokens: list[int] = []
        """The reply so far."""
        self.first_at: float | None = None
        """When the first new token came, by ``time.monotonic``."""
        self.last_at = 0.0

    @property
    def new_tokens(self) -> int:
        """How many tokens the reply has."""
        return len(self.tokens)

    @property
    def last_token(self) -> int | None:
        """The newest one."""
        return self.tokens[-1] if self.tokens else None

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
        self.tokens.append(token)
        self._say(self._pieces.step(token))
        if self._filter.found or self._stop_asked.is_set():
            raise ReplyEnded

    def _say(self, pieces: Sequence[Piece]) -> None:
        """A token that adds no text is told as well: it counts."""
        if not pieces:
            self._emit("", self.new_tokens, self._reasoning)
        for piece in pieces:
            self._reasoning = piece.reasoning
            text = piece.text if piece.reasoning else self._filter.feed(piece.text)
            self._emit(text, self.new_tokens, piece.reasoning)

    def end(self) -> None:
        """The reply is over: what looked like the beginning of a tag or of a stop string was none."""
        if pieces := self._pieces.rest():
            self._say(pieces)
        if rest := self._filter.rest():
            self._emit(rest, self.new_tokens, False)
