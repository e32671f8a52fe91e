"""Tokens become text as they come, each decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokenizers.decoders import DecodeStream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Decoder:
    """Text of one reply, token by token, in constant time; special tokens have no text, but for those ``shown``."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, shown: Sequence[str] = (), skip_special_tokens: bool = True
    ) -> None:
        self._tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._skips = skip_special_tokens
        self._stream = DecodeStream(skip_special_tokens=skip_special_tokens)
        convert: Any = tokenizer.convert_tokens_to_ids  # typed for one and for several at once
        self._shown_tokens: dict[int, str] = {convert(token): token for token in shown}
        self._ids: list[int] = []
        self._shown = 0

    def step(self, token: int) -> str:
        """What this token adds, empty while it is part of a character that is not complete."""
        if token in self._shown_tokens:
            return self._shown_tokens[token]
        if self._backend is not None:
            return self._stream.step(self._backend, token) or ""
        return self._step_slowly(token)

    def _step_slowly(self, token: int) -> str:
        """For tokenizers written in Python: decode the line that is open, and show what is new in it."""
        self._ids.append(token)
        text = str(self._tokenizer.decode(self._ids, skip_special_tokens=self._skips))
        if text.endswith("\ufffd"):
            return ""
        new, self._shown = text[self._shown :], len(text)
        if text.endswith("\n"):
            self._ids, self._shown = [], 0
        return new
