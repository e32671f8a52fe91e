"""How values, limits and paths read in the sentences that a user sees; msgspec's own messages are never shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_LONGEST = 60
"""Characters of a wrong value that are quoted back."""


def plain(text: str) -> str:
    """One line in which nothing is invisible; for keys and paths, which come from files and names on disk."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def shown_path(path: Path) -> str:
    """A path as people write it, with ``~`` for the home folder."""
    home = os.path.expanduser("~")  # noqa: PTH111  (Path.home raises where there is no home)
    text = str(path)
    return plain("~" + text[len(home) :] if home != "/" and text.startswith(home + "/") else text)


def shown_value(value: object) -> str:
    """A wrong value, quoted short enough for one sentence."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 4 * _LONGEST:
            return "a number that large"
        case str():
            return repr(value) if len(value) <= _LONGEST else repr(value[:_LONGEST]) + "\u2026"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return plain(str(value))[:_LONGEST]


def number_range(
    ge: float | None = None, gt: float | None = None, le: float | None = None, lt: float | None = None
) -> str:
    """The limits in words that follow "must be": ``0 to 2``, ``above 0 and at most 1``; empty without limits."""
    if ge is not None and le is not None:
        return f"{ge} to {le}"
    words = (("at least", ge), ("above", gt), ("at most", le), ("below", lt))
    return " and ".join(f"{word} {limit}" for word, limit in words if limit is not None)


def size_range(unit: str, units: str, least: int | None, most: int | None) -> str:
    """``1 to 1000 characters``; empty without limits."""
    limits = number_range(ge=least, le=most)
    return limits and f"{limits} {unit if (most or least) == 1 else units}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A half sentence that names the nearest known name, or nothing where none is near."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
