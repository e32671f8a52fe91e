"""The last look at what goes to the terminal: no control character of a model, a file or an error ever passes.

Cleaning where the text comes in stays the first line; this one alone would shift columns, because the characters it
replaces had no width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from modeldeck.backend.text import clean_line

_DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ControlGuard(LineFilter):
    """Makes control and bidi characters visible, and takes away what a terminal would open at a click."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the line without any control character or link; untouched where there is none."""
        if not any(map(_is_dangerous, segments)):
            return segments
        return [
            Segment(clean_line(text), style.update_link(None) if style is not None else None, control)
            for text, style, control in segments
        ]


class InOne(LineFilter):
    """Several filters as one: Textual looks up each filter's result for each line of each widget in every frame."""

    def __init__(self, filters: Sequence[LineFilter]) -> None:
        super().__init__()
        self.filters = tuple(filters)

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """What they make of it, one after the other."""
        for one in self.filters:
            segments = one.apply(segments, background)
        return segments


def _is_dangerous(segment: Segment) -> bool:
    return _DANGEROUS.search(segment.text) is not None or (segment.style is not None and bool(segment.style.link))
