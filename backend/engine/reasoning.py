"""What a model thinks before it answers, told apart from the answer while both come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from modeldeck.backend.chat_messages import ReplyMode
from modeldeck.backend.engine.decoding import Decoder
from modeldeck.backend.engine.stop_strings import overlap

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)
"""How models begin and end it that bring no template for their responses."""
_SILENT = "<|channel|>final<|message|>"
"""What some of them say before an answer without it."""
_FIELDS = frozenset({"reasoning_content", "reasoning", "thinking"})
"""What response templates call it."""
_END_OF_PROMPT = 64
"""Tokens; a tag that the chat template has written stands among the last ones."""


class Piece(NamedTuple):
    """Text of one kind."""

    text: str
    reasoning: bool


class Pieces(Protocol):
    """Tokens become text of two kinds."""

    def step(self, token: int) -> list[Piece]:
        """What this token adds."""
        ...

    def rest(self) -> list[Piece]:
        """What was held back when the reply ended."""
        ...


def pieces_of(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], mode: ReplyMode) -> Pieces:
    """By the tokenizer's response template where it has one, else by the usual tags at the beginning of a reply."""
    if mode is ReplyMode.RAW:
        return PlainPieces(tokenizer)
    template = getattr(tokenizer, "response_template", None)
    if template is not None:
        try:
            return TemplatePieces(tokenizer, template, prompt)
        except (ValueError, TypeError, KeyError):  # one that this version cannot read
            pass
    return TagPieces(tokenizer, prompt)


def open_tag(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> str:
    """What ends the reasoning that the chat template has begun already; empty where it has not."""
    ends = str(tokenizer.decode(list(prompt[-_END_OF_PROMPT:]))).rstrip()
    return next((closing for opening, closing in TAGS if ends.endswith(opening.rstrip())), "")


class PlainPieces:
    """A reply in which nothing is told apart."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._decoder = Decoder(tokenizer)

    def step(self, token: int) -> list[Piece]:
        """What this token adds."""
        text = self._decoder.step(token)
        return [Piece(text, False)] if text else []

    def rest(self) -> list[Piece]:
        """Nothing is held back."""
        return []


class TagPieces:
    """A reply that begins with a tag is reasoning up to the tag that ends it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> None:
        special = [str(token) for token in getattr(tokenizer, "all_special_tokens", ())]
        whole = "".join(part for tags in TAGS for part in tags)
        self._decoder = Decoder(tokenizer, shown=[token for token in special if token in whole])
        self._closing = open_tag(tokenizer, prompt)
        """What ends the reasoning that runs."""
        self._begun = False
        """Whether it is decided how the reply begins."""
        self._thought = False
        self._after_reasoning = False
        """Whether the next text is the first after it, which models begin with blank lines."""
        self._held = ""

    def step(self, token: int) -> list[Piece]:
        """What this token adds."""
        return self._feed(self._decoder.step(token))

    def _feed(self, text: str) -> list[Piece]:
        self._held += text
        if self._closing:
            return self._think()
        if not self._begun:
            return self._begin()
        return self._say()

    def rest(self) -> list[Piece]:
        """What was held back when the reply ended."""
        held, self._held = self._held, ""
        return [Piece(held, bool(self._closing))] if held else []

    def _begin(self) -> list[Piece]:
        """Wait until the beginning is a tag, or can be none any more."""
        start = self._held.lstrip()
        for opening, closing in TAGS:
            if start.startswith(opening):
                self._closing, self._held = closing, start[len(opening) :]
                return self._think()
        if start.startswith(_SILENT):
            self._held, self._begun = start[len(_SILENT) :], True
        elif start and not any(tag.startswith(start) for tag in (*(opening for opening, _ in TAGS), _SILENT)):
            self._begun = True
        return self._say() if self._begun else []

    def _think(self) -> list[Piece]:
        self._begun = True
        if not self._thought:
            self._held = self._held.lstrip("\n")
        at = self._held.find(self._closing)
        ends = at >= 0
        cut = at if ends else len(self._held) - overlap(self._held, self._closing)
        thought = self._held[:cut].rstrip("\n")  # blank lines before the end belong to nobody
        self._held = self._held[at + len(self._closing) :] if ends else self._held[len(thought) :]
        self._thought = self._thought or bool(thought)
        if ends:
            self._closing, self._after_reasoning = "", True
        return [*([Piece(thought, True)] if thought else []), *(self._say() if ends else [])]

    def _say(self) -> list[Piece]:
        text, self._held = self._held, ""
        if self._after_reasoning:
            text = text.lstrip("\n")
            self._after_reasoning = not text
        return [Piece(text, False)] if text else []


class TemplatePieces:
    """A reply as transformers' own parser takes it apart."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: Any, prompt: Sequence[int]) -> None:
        from transformers.utils.chat_parsing import ResponseParser

        self._decoder = Decoder(tokenizer, skip_special_tokens=False)
        self._parser: Any = ResponseParser(template, prefix=str(tokenizer.decode(list(prompt))))
        self._waiting = ""
        """What the parser was given since it last said something."""

    def step(self, token: int) -> list[Piece]:
        """What this token adds; as it stands from where the reply is not what the template says."""
        text = self._decoder.step(token)
        if self._parser is None:
            return [Piece(text, False)] if text else []
        self._waiting += text
        try:
            found = _pieces(self._parser.feed(text))
        except (ValueError, TypeError, KeyError):  # a call of a tool that is no JSON, for one
            return self._give_up()
        if found:
            self._waiting = ""
        return found

    def rest(self) -> list[Piece]:
        """What was held back when the reply ended."""
        if self._parser is None:
            return []
        try:
            return _pieces(self._parser.finalize()[1])
        except (ValueError, TypeError, KeyError):  # it ends before it has all that the template asks for
            return self._give_up()

    def _give_up(self) -> list[Piece]:
        self._parser, text, self._waiting = None, self._waiting, ""
        return [Piece(text, False)] if text else []


def _pieces(events: Sequence[dict[str, Any]]) -> list[Piece]:
    chunks = [event for event in events if event["type"] == "region_chunk" and event.get("text")]
    return [Piece(str(event["text"]), event.get("field") in _FIELDS) for event in chunks]
