"""A load as code, to be copied and run elsewhere."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.screens.dialog import Dialog

_NAMES = {"python": "Python", "transformers": "transformers serve", "vllm": "vllm serve"}


class CodeDialog(Dialog[None]):
    """Shows the script and the commands, and copies the one whose button is pressed.

    What is copied goes through the terminal (OSC 52), which does not say whether it took it: so the text is shown, too.
    """

    AUTO_FOCUS = "#copy-python"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll(-1)", "Up", show=False, id="code.up", tooltip="Scroll up"),
        Binding("down", "scroll(1)", "Down", show=False, id="code.down", tooltip="Scroll down"),
    ]

    def __init__(self, model_name: str, texts: dict[str, str]) -> None:
        super().__init__()
        self._model_name = model_name
        self._texts = texts
        """By the keys of ``_NAMES``."""

    def compose(self) -> ComposeResult:
        """The texts, one below the other, then a button for each."""
        with Vertical(classes="dialog -large"):
            yield Static(Content(f"{clean_name(self._model_name)} as code"), classes="dialog-title")
            with VerticalScroll(classes="dialog-detail", id="code"):
                for kind, text in self._texts.items():
                    yield Static(Content.styled(_NAMES[kind], "bold $text-accent"))
                    yield Static(Content(clean_text(text.rstrip("\n")) + "\n"))
            with Horizontal(classes="dialog-buttons"):
                for kind in self._texts:
                    yield Button(f"Copy {_NAMES[kind]}", id=f"copy-{kind}", compact=True)
                yield Button("Close", id="close", compact=True)

    def action_scroll(self, lines: int) -> None:
        """Scroll the code."""
        self.query_one("#code", VerticalScroll).scroll_relative(y=lines, animate=False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        kind = (event.button.id or "").removeprefix("copy-")
        if kind not in self._texts:
            self.dismiss(None)
            return
        self.app.copy_to_clipboard(clean_text(self._texts[kind]))
        self.notify(f"{_NAMES[kind]} was sent to the clipboard of your terminal.", markup=False)
