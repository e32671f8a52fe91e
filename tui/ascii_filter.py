"""``ascii = true``: whatever is drawn with other characters than ASCII is drawn with ASCII ones of the same width.

One place for the whole screen, borders, scroll bars and dialogs of Textual included. Words in other scripts stay.
"""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter


def _box(code: int) -> str:
    """A box-drawing character: a line or a corner."""
    name = unicodedata.name(chr(code))
    if "DIAGONAL" in name:
        return "x"
    horizontal = any(word in name for word in ("HORIZONTAL", "LEFT", "RIGHT"))
    vertical = any(word in name for word in ("VERTICAL", "UP", "DOWN"))
    if horizontal and vertical:
        return "+"
    return "|" if vertical else "-"


def _block(code: int) -> str:
    """A block element: a thin one is a line, a shade or a half is filled."""
    name = unicodedata.name(chr(code))
    if "ONE EIGHTH" in name or "ONE QUARTER" in name:
        return "|" if "LEFT" in name or "RIGHT" in name else ("_" if "LOWER" in name else "-")
    return "#"


_RISING = "_.:-=+##"
"""For ``▁`` to ``█``, so that a sparkline keeps its heights."""
DRAWN: dict[int, str] = {
    **{code: _box(code) for code in range(0x2500, 0x2580)},
    **{code: _block(code) for code in range(0x2580, 0x25A0)},
    **{0x2581 + height: plain for height, plain in enumerate(_RISING)},
    **{ord(drawn): plain for drawn, plain in zip("●○◐✗✓…·•▲▼▶◀▸▾↑↓←→⏎╸╺", "*o~xv~-*^v><>v^v<>~--", strict=True)},
    ord("\N{NO-BREAK SPACE}"): " ",
    ord("\N{DEGREE SIGN}"): " ",
}
"""What is drawn, and what stands in for it; each takes one cell."""


class AsciiFilter(LineFilter):
    """Draws lines, blocks and marks with ASCII characters, and what the terminal's encoding has not as ``?``."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the line drawn with ASCII; untouched where it is so already."""
        if all(segment.text.isascii() for segment in segments):
            return segments
        return [Segment(self._drawn(segment.text), segment.style, segment.control) for segment in segments]

    def _drawn(self, text: str) -> str:
        drawn = text.translate(DRAWN)
        try:
            drawn.encode(self._encoding)
        except UnicodeEncodeError:
            return "".join(map(self._written, drawn))
        return drawn

    def _written(self, char: str) -> str:
        """The character, or as many question marks as it takes cells."""
        try:
            char.encode(self._encoding)
        except UnicodeEncodeError:
            return "?" * cell_len(char)
        return char
