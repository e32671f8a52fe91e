"""A text cut into tokens, with one of them under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from modeldeck.backend.chat_messages import TokenChoice
from modeldeck.backend.text import clean_text
from modeldeck.tui.theme_look import rich_colour

UNLIKELY = 0.5
"""A token below this probability is underlined."""


def shown_token(text: str) -> str:
    """A token on one line, with its spaces and line breaks to be seen."""
    return clean_text(text).replace("\n", "⏎").replace("\t", "→").replace(" ", "·") or "(nothing)"


class TokenView(ScrollView, can_focus=True):
    """Wraps the tokens once for each width; the cursor moves over them."""

    DEFAULT_CSS = """
    TokenView, TokenView:focus { background: transparent; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "step(1)", "Next", show=False, id="tokens.next", tooltip="To the next token"),
        Binding("left,h", "step(-1)", "Before", show=False, id="tokens.before", tooltip="To the token before"),
        Binding("down,j", "row(1)", "Down", show=False, id="tokens.down", tooltip="One row down"),
        Binding("up,k", "row(-1)", "Up", show=False, id="tokens.up", tooltip="One row up"),
        Binding("n", "unlikely(1)", "Unlikely", show=False, id="tokens.unlikely", tooltip="To the next unlikely token"),
        Binding(
            "p", "unlikely(-1)", "Back", show=False, id="tokens.unlikely_before", tooltip="To the unlikely one before"
        ),
        Binding("home,g", "step(-1000000)", "First", show=False, id="tokens.first", tooltip="To the first token"),
        Binding("end,G", "step(1000000)", "Last", show=False, id="tokens.last", tooltip="To the last token"),
    ]

    place: reactive[int] = reactive(0)
    """The token under the cursor."""

    @dataclass
    class Moved(Message):
        """The cursor stands on another token."""

        place: int

    def __init__(self, tokens: Sequence[TokenChoice]) -> None:
        super().__init__()
        self._tokens = tokens
        self._rows: list[list[tuple[int, str]]] = []
        self._row_of: dict[int, int] = {}

    def on_mount(self) -> None:
        """The first token is looked at."""
        self.post_message(self.Moved(self.place))

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew."""
        self._wrap(max(8, self.scrollable_content_region.width - 1))

    def watch_place(self) -> None:
        """Bring it into view, and tell."""
        self.scroll_to_region(Region(0, self._row_of.get(self.place, 0), 1, 1), animate=False)
        self.post_message(self.Moved(self.place))
        self.refresh()

    def action_step(self, by: int) -> None:
        """So many tokens on."""
        self.place = min(len(self._tokens) - 1, max(0, self.place + by))

    def action_row(self, by: int) -> None:
        """To the token that begins in the same place of another row, or before it."""
        row = self._row_of.get(self.place, 0)
        if 0 <= row + by < len(self._rows):
            column = self._column(row, self.place)
            there = self._rows[row + by]
            known = [place for place, _ in there if self._column(row + by, place) <= column]
            self.place = (known or [place for place, _ in there] or [self.place])[-1]

    def action_unlikely(self, by: int) -> None:
        """To the nearest unlikely token on this side, if there is one."""
        places = range(self.place + by, len(self._tokens) if by > 0 else -1, by)
        self.place = next((place for place in places if self._tokens[place].probability < UNLIKELY), self.place)

    def render_line(self, y: int) -> Strip:
        """One row of tokens."""
        row = self.scroll_offset.y + y
        base = self.rich_style
        if row >= len(self._rows):
            return Strip.blank(self.size.width, base)
        warning = Style(color=rich_colour(self.app.theme_variables.get("warning", "")), underline=True)
        segments = []
        for place, text in self._rows[row]:
            style = warning if self._tokens[place].probability < UNLIKELY else Style()
            if place == self.place:
                style += Style(reverse=True, bold=True)
            segments.append(Segment(text, base + style))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _column(self, row: int, wanted: int) -> int:
        cells = 0
        for place, text in self._rows[row]:
            if place == wanted:
                break
            cells += cell_len(text)
        return cells

    def _wrap(self, width: int) -> None:
        """A token is broken only where it is wider than the view, or holds a line break."""
        self._rows, self._row_of = [[]], {}
        used = 0
        for place, token in enumerate(self._tokens):
            text = clean_text(token.text).replace("\t", "→")
            pieces = text.replace("\n", "⏎\n").split("\n") if text else ["·"]
            for number, piece in enumerate(pieces):
                if number:
                    self._rows.append([])
                    used = 0
                cells = cell_len(piece)
                if used and used + cells > width:
                    self._rows.append([])
                    used = 0
                if piece:
                    self._rows[-1].append((place, piece))
                    self._row_of.setdefault(place, len(self._rows) - 1)
                used += cells
        self.virtual_size = Size(width, len(self._rows))
        self.refresh()
