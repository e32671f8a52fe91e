"""Whether a question may appear by itself: what is typed must not answer one that nobody has read."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen


def is_typing(screen: Screen[Any]) -> bool:
    """Whether the keys go into a text of this screen, or to another dialog."""
    from textual.widgets import Input, TextArea  # no first frame waits for them

    return screen.app.screen is not screen or isinstance(screen.app.focused, Input | TextArea)
