"""What is typed into the filter: words that a model must have, and qualifiers: ``fits``, ``>7b``, ``-gguf``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.tui.shelf_row import NO_RECENT, ShelfRow

Condition = Callable[[ShelfRow], bool]

HINT = "words, or: fits 4bit gguf >7b <9gb ctx>32k fav -word"
"""One line for a filter that is still empty."""

_FITS: dict[str, frozenset[Verdict]] = {
    "fits": frozenset({Verdict.FITS, Verdict.TIGHT}),
    "tight": frozenset({Verdict.TIGHT}),
    "offloads": frozenset({Verdict.OFFLOADS}),
}
_COMPARED = re.compile(r"(ctx)?(>=|<=|>|<|=)([0-9]+(?:\.[0-9]+)?)([kmbt]|[kmgt]b)?", re.ASCII)
_HALF_TYPED = re.compile(r"-?(ctx)?([<>]=?|=)([0-9.]*[kmgt]?)|-|-?ctx", re.ASCII)
_LIKE_A_COMPARISON = re.compile(r"-?(ctx)?[<>=]")
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_BYTES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_TOKENS = {"": 1, "k": 2**10, "m": 2**20}
"""Of a context, where 32k means 32,768."""
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "=": operator.eq,
}  # fmt: skip
_4BIT = re.compile(r"4-?bit|awq|mxfp4|nvfp4|nf4|fp4|int4|w4a16|i?q4_", re.IGNORECASE)
_8BIT = re.compile(r"8-?bit|fp8|float8|int8|w8a8|w8a16|q8_", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FilterWords:
    """What the filter asks for; made by ``parse``."""

    words: tuple[str, ...] = ()
    """What to look for in the text of a row."""
    conditions: tuple[Condition, ...] = ()
    by_verdict: bool = False
    """Whether it asks what fits, so that every model's verdict is needed."""
    odd: tuple[str, ...] = ()
    """Words that look like a comparison and are none, such as ``>7q``; names are searched for them."""

    def keep(self, rows: Iterable[ShelfRow]) -> list[ShelfRow]:
        """The rows that meet every condition, in their order."""
        kept = list(rows)
        for word in self.words:
            kept = [row for row in kept if word in row.text]
        for condition in self.conditions:
            kept = [row for row in kept if condition(row)]
        return kept


def parse(text: str) -> FilterWords:
    """Read what was typed; any text means something, and what is only begun asks for nothing."""
    words: list[str] = []
    conditions: list[Condition] = []
    odd: list[str] = []
    by_verdict = False
    for word in text.casefold().split():
        if (met := _comparison(word)) is not None:
            conditions.append(met)
        elif _HALF_TYPED.fullmatch(word) is None:
            if word.startswith("-") or word in _FITS or word in _QUALIFIERS:
                conditions.append(_condition(word))
            else:
                words.append(word)
            odd += [word] if _LIKE_A_COMPARISON.match(word) else []
            by_verdict = by_verdict or word.removeprefix("-") in _FITS
    return FilterWords(tuple(words), tuple(conditions), by_verdict, tuple(odd))


def _condition(word: str) -> Condition:
    """A qualifier, or a word to look for; with ``-`` in front the opposite."""
    wanted = word.removeprefix("-")
    negated = wanted != word
    if (verdicts := _FITS.get(wanted)) is not None:  # what is not worked out yet is neither the one nor the other
        return lambda row: row.verdict is not None and (row.verdict in verdicts) is not negated
    met = _QUALIFIERS.get(wanted) or (lambda row: wanted in row.text)
    return (lambda row: not met(row)) if negated else met


def _comparison(word: str) -> Condition | None:
    """``>7b``, ``<10gb``, ``ctx>32k``; None for anything else. A model whose figure is unknown meets none of them."""
    found = _COMPARED.fullmatch(word.removeprefix("-"))
    if found is None:
        return None
    context, sign, digits, unit = found[1], found[2], found[3], found[4] or ""
    figure: Callable[[ModelInfo], int | None]
    if context:
        figure, units = _context, _TOKENS
    elif unit in _BYTES:
        figure, units = _size, _BYTES
    else:
        figure, units = _parameters, {name: count for name, count in _COUNTS.items() if name}
    if unit not in units:
        return None
    compare, limit, negated = _COMPARE[sign], float(digits) * units[unit], word.startswith("-")

    def meets(row: ShelfRow) -> bool:
        value = figure(row.model)
        return value is not None and compare(value, limit) is not negated

    return meets


def _context(model: ModelInfo) -> int | None:
    return model.context_length


def _size(model: ModelInfo) -> int | None:
    return model.size_bytes or None


def _parameters(model: ModelInfo) -> int | None:
    return model.parameters


def _bits(model: ModelInfo) -> float | None:
    """How many bits each parameter of a quantized model has on disk, where its files tell."""
    return model.size_bytes * 8 / model.parameters if model.quantization and model.parameters else None


def _four_bits(row: ShelfRow) -> bool:
    named = _4BIT.search(row.model.quantization or "") or "4bit" in row.text
    return bool(named) or ((bits := _bits(row.model)) is not None and 3.5 <= bits < 6)


def _eight_bits(row: ShelfRow) -> bool:
    stored = f"{row.model.quantization or ''} {row.model.dtype or ''}"
    named = _8BIT.search(stored) or "8bit" in row.text
    return bool(named) or ((bits := _bits(row.model)) is not None and 7.5 <= bits < 10)


def _experts(row: ShelfRow) -> bool:
    model = row.model
    told = model.active_parameters is not None or (model.shape is not None and (model.shape.experts or 0) > 1)
    return told or "moe" in row.text


_QUALIFIERS: dict[str, Condition] = {
    "4bit": _four_bits,
    "8bit": _eight_bits,
    "gguf": lambda row: row.model.format is ModelFormat.GGUF,
    "safetensors": lambda row: row.model.format is ModelFormat.SAFETENSORS,
    "adapter": lambda row: row.model.format is ModelFormat.ADAPTER,
    "loaded": lambda row: row.loaded,
    "broken": lambda row: bool(row.model.problems),
    "moe": _experts,
    "vision": lambda row: row.model.modality in {"image-text", "any"} or "vision" in row.text,
    "fav": lambda row: row.favourite,
    "recent": lambda row: row.recent != NO_RECENT,
}
