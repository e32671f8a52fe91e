"""The first line of the screen: which panes there are, which one has the keys, and on which machine this is."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

PANES = {"models": "Models", "chat": "Chat", "details": "Details", "log": "Log", "devices": "Devices"}
"""The panes in the order in which tab goes through them."""


class PaneBar(Widget):
    """Names the panes; in a wide window each name stands above its side."""

    ALLOW_SELECT = False

    pane: reactive[str] = reactive("models")
    """The pane that has the keys."""
    right_pane: reactive[str] = reactive("chat")
    """What the right side shows, in a wide window."""
    counts: reactive[str] = reactive("", repaint=False)
    split: reactive[int] = reactive(0)
    """Where the right side begins, in cells; 0 when one pane has the whole window."""

    @dataclass
    class Chosen(Message):
        """The name of a pane was clicked."""

        pane: str

    def __init__(self, host: str, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._host = host

    def render(self) -> Content:
        """The names, then the machine on the right as far as there is room."""
        parts: list[Content] = []
        used = 0
        for pane, start, text in self._names():
            parts += [Content(" " * (start - used)), Content.styled(text, self._style_of(pane))]
            used = start + cell_len(text)
        host = self._host if self.size.width - used > cell_len(self._host) + 2 else ""
        gap = max(0, self.size.width - used - cell_len(host) - 1)
        return Content.assemble(*parts, " " * gap, (host, "$text-muted"))

    def watch_counts(self) -> None:
        """Only the side of the list: with the whole line, what lies below it on the right would be drawn anew too."""
        self.refresh(Region(0, 0, self.split or self.size.width, 1))

    def on_click(self, event: events.Click) -> None:
        """A click on a name goes there."""
        for pane, start, text in self._names():
            if start <= event.x < start + cell_len(text):
                self.post_message(self.Chosen(pane))

    def _names(self) -> list[tuple[str, int, str]]:
        """Pane, first cell and text of every name."""
        names = []
        at = 0
        for pane, title in PANES.items():
            text = f" {title} {self.counts} " if pane == "models" and self.counts else f" {title} "
            if pane == "chat" and self.split:
                at = max(at, self.split)
            names.append((pane, at, text))
            at += cell_len(text)
        return names

    def _style_of(self, pane: str) -> str:
        if pane == self.pane:
            return "bold $text on $primary-muted"
        shown = self.split and pane in {"models", self.right_pane}
        return "bold $text" if shown else "$text-muted"
