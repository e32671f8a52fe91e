"""The field with the words of the filter."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive
from textual.widgets import Input

from modeldeck.tui.filter_words import HINT


class ModelFilter(Input):
    """Words that a model must have; what is typed takes effect at once."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Clear", id="filter.clear", tooltip="Clear the filter; once more leaves it"),
        Binding("enter,down", "to_list", "To the list", id="filter.list", tooltip="Go to the models that are left"),
    ]

    virtual_size = Reactive(Size(0, 0))
    """Every character changes it, and none needs the whole screen to be laid out anew, as Textual would: the field has
    one size whatever is in it."""

    class Left(Message):
        """The user is done with the filter."""

        def __init__(self, *, keep: bool) -> None:
            super().__init__()
            self.keep = keep
            """Whether the words stay in force."""

    def __init__(self) -> None:
        super().__init__(placeholder=HINT, compact=True, id="filter")

    def action_leave(self) -> None:
        """Clear the words, or leave when there are none."""
        if self.value:
            self.value = ""
        else:
            self.post_message(self.Left(keep=False))

    def action_to_list(self) -> None:
        """Go to the list; never loads."""
        self.post_message(self.Left(keep=True))
