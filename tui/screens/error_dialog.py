"""What went wrong, and everything that is known about it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.screens.dialog import Dialog


class ErrorDialog(Dialog[str]):
    """Answers ``again``, ``options`` or None."""

    AUTO_FOCUS = "#again, #close"

    def __init__(self, title: str, sentence: str, detail: str, *, again: bool) -> None:
        super().__init__()
        self._title, self._sentence, self._detail, self._again = title, sentence, detail, again

    def compose(self) -> ComposeResult:
        """The sentence, the detail as it came (made harmless), and what can be done now."""
        with Vertical(classes="dialog -large"):
            yield Static(Content(clean_name(self._title)), classes="dialog-title -error")
            yield Static(Content(clean_text(self._sentence)), classes="dialog-text")
            with VerticalScroll(classes="dialog-detail"):
                yield Static(Content(clean_text(self._detail) or "Nothing more is known; the log may have more."))
            with Horizontal(classes="dialog-buttons"):
                if self._again:
                    yield Button("Try again", variant="primary", id="again", compact=True)
                    yield Button("Options ...", id="options", compact=True)
                yield Button("Close", id="close", compact=True)

    @on(Button.Pressed)
    def _answer(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id if event.button.id != "close" else None)
