"""Untrusted text made harmless. Model names, model output, cards, errors and log lines all pass here."""

from __future__ import annotations

import re
import unicodedata

_REPLACED: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_REPLACED[0x7F] = "\u2421"
_REPLACED |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_REPLACED |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C), "\ufffd")
_REPLACED |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_REPLACED |= dict.fromkeys((0x2028, 0x2029), "\n")

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u2800\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Characters without ink: joiners, fillers, tags. In running text some of them hold emoji and scripts together."""


def clean_text(text: str) -> str:
    """Make every control, bidi and surrogate character visible or harmless; newline and tab stay.

    Works code point by code point, so a stream may be cleaned piece by piece.
    """
    return text.translate(_REPLACED)


def clean_line(text: str) -> str:
    """Clean text that stands in one row: newline and tab become visible too. As many characters as before."""
    return clean_text(text).replace("\n", "\u240a").replace("\t", "\u2409")


def clean_paste(text: str) -> str:
    """Clean text from a clipboard, where some terminals send returns for newlines."""
    return clean_text(text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_name(text: str, limit: int = 200) -> str:
    """Clean text for one line: in NFC, without newline, tab and invisible characters, at most ``limit`` characters."""
    if text.isascii() and text.isprintable():
        line = text
    else:
        line = _INVISIBLE.sub("\ufffd", clean_line(unicodedata.normalize("NFC", text)))
    return line if len(line) <= limit else line[: limit - 1] + "\u2026"
