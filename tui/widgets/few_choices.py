"""A field for one of a few values, on or off among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static


class FewChoices(Static, can_focus=True):
    """A few values, of which a key takes the next; empty is one more, where the layer below decides."""

    DEFAULT_CSS = """
    FewChoices { height: 1; }
    FewChoices.-below { color: $text-disabled; }
    FewChoices:focus { background: $foreground 15%; text-style: bold; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "switch", "Switch", id="form.switch", tooltip="Take the next value"),
        Binding(
            "backspace,delete", "empty", "Reset", show=False, id="form.empty", tooltip="Let the layer below decide"
        ),
    ]

    @dataclass
    class Changed(Message):
        """The user took another value, or let go of it."""

        text: str
        """As ``declaration.parse`` reads it; empty where the layer below decides."""

    def __init__(self, words: dict[str, str]) -> None:
        super().__init__(markup=False)
        self._words = words
        """What is shown for each text, in the order in which they are taken."""
        self._value = ""
        self._below = ""

    def show_value(self, text: str, below: str) -> None:
        """Show a value of its own, or dimmed what the layer below says."""
        self._value, self._below = text, below
        self.set_class(not text, "-below")
        self.update(Content(self._words.get(text or below, text or below)))

    @property
    def text(self) -> str:
        """As ``declaration.parse`` reads it; empty where the layer below decides."""
        return self._value

    def action_switch(self) -> None:
        """The one after this."""
        texts = list(self._words)
        now = self._value or self._below
        self._change(texts[(texts.index(now) + 1) % len(texts)] if now in texts else texts[0])

    def action_empty(self) -> None:
        """Back to the layer below."""
        self._change("")

    def _change(self, text: str) -> None:
        self.show_value(text, self._below)
        self.post_message(self.Changed(text))
