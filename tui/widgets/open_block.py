"""The end of a reply that is still being written, as plain text."""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from modeldeck.tui.wrapping import GrowingText


class OpenBlock(Widget):
    """Shows text that grows: only rows that changed are wrapped and painted again.

    Expects clean text. Layout is asked for only when there is a row more than before, because a layout of the whole
    screen is what costs.
    """

    DEFAULT_CSS = """
    OpenBlock {
        width: 1fr;
        height: auto;
        margin-bottom: 1;
    }
    OpenBlock.-code {
        background: $foreground 4%;
        padding: 0 1;
    }
    OpenBlock.-empty {
        display: none;
    }
    """

    def __init__(self) -> None:
        super().__init__(classes="-empty")
        self._text = ""
        self._rows = GrowingText(80)
        self._code = False

    @property
    def text(self) -> str:
        """All of the open block."""
        return self._text

    def show(self, text: str, *, code: bool = False) -> None:
        """Begin anew with this text."""
        self._text = text
        self._code = code
        self.set_class(not text, "-empty")
        self.set_class(code, "-code")
        self._rewrap(self._rows.width)
        self.refresh(layout=True)

    def extend(self, text: str) -> None:
        """Add to the end."""
        if not text:
            return
        self._text += text
        self.set_class(False, "-empty")
        before = len(self._rows.rows)
        changed = self._rows.extend(text)
        if len(self._rows.rows) != before:
            self.refresh(layout=True)
        else:
            top = changed + self.styles.gutter.top
            self.refresh(Region(0, top, self.outer_size.width, len(self._rows.rows) - changed))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The rows at this width."""
        if width != self._rows.width or self._code == self._rows.words:
            self._rewrap(width)
        return len(self._rows.rows)

    def render_line(self, y: int) -> Strip:
        """One row."""
        style = self.rich_style
        row = self._rows.rows[y] if y < len(self._rows.rows) else ""
        return Strip([Segment(row, style)]).adjust_cell_length(self.size.width, style)

    def _rewrap(self, width: int) -> None:
        self._rows = GrowingText(width, words=not self._code)
        if self._text:
            self._rows.extend(self._text)
