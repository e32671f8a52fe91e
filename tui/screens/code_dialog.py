"""A load as code, to be copied and run elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from modeldeck.backend.as_code import NotExpressible, python_code, transformers_command, vllm_command
from modeldeck.backend.models import LoadRequest, ModelInfo
from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.screens.dialog import Dialog

_NAMES = {"python": "Python", "transformers": "transformers serve", "vllm": "vllm serve"}
_SHORT = {"python": "Python", "transformers": "transformers", "vllm": "vLLM"}
"""For the buttons, which share one line."""


class CodeDialog(Dialog[None]):
    """Shows the script and the commands, and copies the one whose button is pressed.

    What is copied goes through the terminal (OSC 52), which does not say whether it took it: so the text is shown, too.
    """

    AUTO_FOCUS = "Button"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll(-1)", "Up", show=False, id="code.up", tooltip="Scroll up"),
        Binding("down", "scroll(1)", "Down", show=False, id="code.down", tooltip="Scroll down"),
    ]

    def __init__(
        self, model: ModelInfo, request: LoadRequest, context_tokens: int, adapter_rank: int | None = None
    ) -> None:
        super().__init__()
        self._model_name = model.name
        self._texts: dict[str, str] = {}
        """What can be copied, by the keys of ``_NAMES``."""
        self._problems: dict[str, str] = {}
        """Why the others are not there."""
        self._write("python", lambda: python_code(model, request))
        self._write("transformers", lambda: transformers_command(model, request))
        self._write("vllm", lambda: vllm_command(model, request, context_tokens, request.gpu_uuids, adapter_rank))

    def _write(self, kind: str, write: Callable[[], str]) -> None:
        try:
            text = write()
        except NotExpressible as error:
            self._problems[kind] = str(error)
            return
        if clean_text(text) == text:
            self._texts[kind] = text
        else:
            self._problems[kind] = "The path has characters that no terminal can be given."

    def compose(self) -> ComposeResult:
        """The texts, one below the other, then a button for each."""
        with Vertical(classes="dialog -large"):
            yield Static(Content(f"{clean_name(self._model_name)} as code"), classes="dialog-title")
            with VerticalScroll(classes="dialog-detail", id="code"):
                for kind, name in _NAMES.items():
                    yield Static(Content.styled(name, "bold $text-accent"))
                    text = self._texts.get(kind) or self._problems[kind]
                    yield Static(Content(text.rstrip("\n") + "\n"))
            with Horizontal(classes="dialog-buttons"):
                for kind in self._texts:
                    yield Button(Content(f"Copy {_SHORT[kind]}"), id=f"copy-{kind}", compact=True)
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
        self.app.copy_to_clipboard(self._texts[kind])
        self.notify(f"{_NAMES[kind]} was sent to the clipboard of your terminal.", markup=False)
