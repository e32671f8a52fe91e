"""What a Textual app costs before it does anything: a list and a footer. The peer of ``benchmarks/startup.py``."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, OptionList


class BareApp(App[None]):
    """As little as a list with a footer can be."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "quit", "Quit")]

    def compose(self) -> ComposeResult:
        """A list and a footer."""
        yield OptionList(*(f"model {number}" for number in range(10)))
        yield Footer()


if __name__ == "__main__":
    BareApp().run()
