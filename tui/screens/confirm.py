"""One question, two answers."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.screens.dialog import Dialog


class Confirm(Dialog[bool]):
    """Answers True for yes; False or None for no. Enter says yes, escape says no."""

    AUTO_FOCUS = "#yes"

    def __init__(self, title: str, question: str, yes: str, no: str = "Cancel", *, asks_to_quit: bool = False) -> None:
        super().__init__()
        self.asks_to_quit = asks_to_quit
        """Whether this is the question before leaving; the key asked for twice is then answer enough."""
        self._title, self._question, self._yes, self._no = title, question, yes, no

    def compose(self) -> ComposeResult:
        """The question, then what each button does in its own words."""
        with Vertical(classes="dialog"):
            yield Static(Content(clean_name(self._title)), classes="dialog-title")
            yield Static(Content(clean_text(self._question)), classes="dialog-text", id="question")
            with Horizontal(classes="dialog-buttons"):
                yield Button(Content(clean_name(self._yes, 40)), variant="primary", id="yes", compact=True)
                yield Button(Content(clean_name(self._no, 40)), id="no", compact=True)

    def ask(self, question: str) -> None:
        """Ask something else instead, since things have moved on."""
        if question != self._question:
            self._question = question
            for line in self.query("#question").results(Static):  # none before it is composed, and while it closes
                line.update(Content(clean_text(question)))

    @on(Button.Pressed)
    def _answer(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id == "yes")
