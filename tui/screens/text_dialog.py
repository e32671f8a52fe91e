"""Takes a text: one line, or many."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static, TextArea

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.screens.dialog import Dialog


class TextDialog(Dialog[str]):
    """Answers what was typed, or None. Enter takes one line; of many lines ctrl+s does."""

    AUTO_FOCUS = "#text"

    DEFAULT_CSS = """
    TextDialog #text, TextDialog #text:focus { height: 1; background: $panel; padding: 0 1; margin-bottom: 1; }
    TextDialog TextArea#text, TextDialog TextArea#text:focus { height: 8; border: none; padding: 0; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "take", "Take", show=False, id="text.take", tooltip="Take the text"),
    ]

    def __init__(
        self, title: str, value: str, yes: str, *, text: str = "", hint: str = "", many_lines: bool = False
    ) -> None:
        super().__init__()
        self._title, self._value, self._yes = title, clean_text(value), yes
        self._text, self._hint, self._many_lines = text, hint, many_lines

    def compose(self) -> ComposeResult:
        """What it is for, the field, the buttons."""
        with Vertical(classes="dialog"):
            yield Static(Content(clean_name(self._title)), classes="dialog-title")
            if self._text:
                yield Static(Content(clean_text(self._text)), classes="dialog-muted")
            if self._many_lines:
                yield TextArea(self._value, soft_wrap=True, tab_behavior="focus", id="text")
            else:
                yield Input(self._value, placeholder=self._hint, max_length=1000, compact=True, id="text")
            with Horizontal(classes="dialog-buttons"):
                yes = f"{self._yes} (ctrl+s)" if self._many_lines else self._yes
                yield Button(Content(clean_name(yes, 40)), variant="primary", id="yes", compact=True)
                yield Button("Cancel", id="no", compact=True)

    @on(Input.Submitted)
    @on(Button.Pressed, "#yes")
    def action_take(self) -> None:
        """Answer what stands in the field."""
        field = self.query_one("#text")
        self.dismiss(field.text if isinstance(field, TextArea) else field.value if isinstance(field, Input) else None)

    @on(Button.Pressed, "#no")
    def _cancel(self) -> None:
        self.dismiss(None)
