"""Text that is put into a Static widget."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


def write(line: Static, text: str) -> None:
    """Show this plain text where it is not there yet: an update has the whole screen laid out again."""
    if str(line.content) != text:
        line.update(Content(text))
