"""Untrusted text made harmless. Model names, model output, cards, errors and log lines all pass here."""

from __future__ import annotations

import re

_REPLACED: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_REPLACED[0x7F] = "\u2421"
_REPLACED |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_REPLACED |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C), "\ufffd")
_REPLACED |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_REPLACED |= dict.fromkeys((0x2028, 0x2029), "\n")

_INVISIBLE = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff\u00ad]")


def clean_text(text: str) -> str:
    """Make every control, bidi and surrogate character visible or harmless; newline and tab stay.

    Works code point by code point, so a stream may be cleaned piece by piece.
    """
    return text.translate(_REPLACED)


def clean_name(text: str, limit: int = 200) -> str:
    """Clean text for one line: no newline or tab, no zero-width characters, at most ``limit`` characters."""
    line = _INVISIBLE.sub("\ufffd", clean_text(text)).replace("\n", "\u240a").replace("\t", "\u2409")
    return line if len(line) <= limit else line[: limit - 1] + "\u2026"
