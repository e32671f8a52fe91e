"""The pieces of a form: a line with its label, a list of which one is chosen, a field to type into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Select, Static

Value = TypeVar("Value")


class Choice(Select[Value], inherit_bindings=False):
    """A list that opens on enter or space; up and down are left to move between the fields."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "show_overlay", "Choose", id="load.choose", tooltip="Show what can be chosen"),
    ]


def field_row(label: str, *values: Widget) -> Horizontal:
    """One line with what stands beside it."""
    return Horizontal(Static(label, classes="field-label", markup=False), *values, classes="field")


def choice(name: str, options: Iterable[tuple[str, Value]], value: Value) -> Choice[Value]:
    """A list of which one is chosen."""
    return Choice(shown(options), value=value, allow_blank=False, compact=True, id=name, classes="field-value")


def shown(options: Iterable[tuple[str, Value]]) -> list[tuple[Content, Value]]:
    """Options whose names are text and nothing else: a name may look like markup."""
    return [(Content(label), value) for label, value in options]


def text_field(name: str, value: str, kind: str, most: int, such_as: str = "") -> Input:
    """One line of text; what stands in it is selected when it gets the keys."""
    return Input(value, placeholder=such_as, type=kind, max_length=most, compact=True, id=name, select_on_focus=True)  # type: ignore[arg-type]  # literals above
