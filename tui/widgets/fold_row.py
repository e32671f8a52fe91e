"""The row of a form under which the rest of it is folded."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static


class FoldRow(Static, can_focus=True):
    """Opens and closes with a key or a click."""

    DEFAULT_CSS = """
    FoldRow { height: 1; color: $text-muted; }
    FoldRow:focus { background: $foreground 15%; text-style: bold; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "fold", "Show more", id="form.fold", tooltip="Show or hide the settings few people need")
    ]

    class Folded(Message):
        """It was opened or closed."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.open = False

    def show_count(self, hidden: int) -> None:
        """Say how many rows are folded away."""
        self.update(Content("▾ fewer" if self.open else f"▸ {hidden} more"))

    def action_fold(self) -> None:
        """The other way round."""
        self.open = not self.open
        self.post_message(self.Folded())

    def on_click(self) -> None:
        """As the key does."""
        self.action_fold()
