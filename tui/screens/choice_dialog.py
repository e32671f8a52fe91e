"""Several things that can be done now; one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui.screens.dialog import Dialog


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them, in its own words."""

    id: str
    label: str
    detail: str = ""


class ChoiceDialog(Dialog[str]):
    """Answers the id of what was chosen, or None."""

    AUTO_FOCUS = "#choices"

    DEFAULT_CSS = """
    ChoiceDialog #choices { height: auto; max-height: 60vh; border: none; padding: 0; background: transparent; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "down", "Down", show=False, id="choices.down", tooltip="To the next choice"),
        Binding("k", "up", "Up", show=False, id="choices.up", tooltip="To the choice above"),
    ]

    def __init__(self, title: str, text: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title, self._text, self._choices = title, text, choices

    def compose(self) -> ComposeResult:
        """What has happened, and what can be done."""
        with Vertical(classes="dialog"):
            yield Static(Content(clean_name(self._title)), classes="dialog-title")
            yield Static(Content(clean_text(self._text)), classes="dialog-text")
            yield OptionList(*(Option(_line(choice), id=choice.id) for choice in self._choices), id="choices")

    def action_down(self) -> None:
        """To the next choice."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """To the choice above."""
        self.query_one(OptionList).action_cursor_up()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_id)


def _line(choice: Choice) -> Content:
    detail = (f"\n{clean_name(choice.detail)}", "dim")
    return Content.assemble(clean_name(choice.label), detail if choice.detail else "")
