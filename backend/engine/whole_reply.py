"""Replies that are only known at their end: a beam search decides last which of its paths is the reply."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from modeldeck.backend.engine.streaming import Emit, ReplyEnded, ReplyStreamer

if TYPE_CHECKING:
    import torch


class WholeReply:
    """Gathers what a streamer says of a reply that is there already, and says it in one piece."""

    def __init__(self, say: Emit) -> None:
        self._say = say
        self._texts = {True: "", False: ""}
        self._count = 0

    def add(self, text: str, new_tokens: int, reasoning: bool) -> None:
        """The next piece; what the streamer calls."""
        self._texts[reasoning] += text
        self._count = new_tokens

    def feed(self, streamer: ReplyStreamer, prompt: Sequence[int], output: torch.Tensor) -> None:
        """Hand the new tokens of ``generate``'s output to the streamer, up to a stop string.

        Its last token counts as coming with its first: no speed can be told from this.
        """
        with suppress(ReplyEnded):
            streamer.put(output[0, : len(prompt)])
            streamer.put(output[0, len(prompt) :])
            streamer.end()
        streamer.last_at = streamer.first_at or streamer.last_at
        for reasoning, text in self._texts.items():
            if self._count and (text or not reasoning):
                self._say(text, self._count, reasoning)
