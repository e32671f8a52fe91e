"""What the engine writes to its stderr."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Log

from modeldeck.tui.deck_keys import DECK_KEYS
from modeldeck.tui.log_buffer import MAX_LINES, EngineLogBuffer
from modeldeck.tui.wrapping import GrowingText

SHOW_SECONDS = 0.1
"""Lines that come within this time are shown together: an engine may flood its stderr."""


class LogView(Log):
    """The engine's last lines, wrapped; follows them when it is at the bottom. ``Log`` shows them as plain text."""

    DEFAULT_CSS = """
    LogView, LogView:focus {
        background: transparent;
        background-tint: transparent;
        padding: 1 2 0 2;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        overflow-y: auto;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False, id="log.down", tooltip="Scroll down one line"),
        Binding("k", "scroll_up", "Up", show=False, id="log.up", tooltip="Scroll up one line"),
        Binding("g", "scroll_home", "First", show=False, id="log.first", tooltip="Go to the oldest line"),
        Binding("G", "scroll_end", "Last", show=False, id="log.last", tooltip="Go to the newest line and follow"),
        *DECK_KEYS,
    ]

    can_focus = True

    def __init__(self, log: EngineLogBuffer) -> None:
        super().__init__(max_lines=MAX_LINES)
        self._buffer = log
        self._shown = 0
        self._wrapped_at = 0
        self._timer: Timer | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def on_mount(self) -> None:
        """Show what was said before there was a view."""
        self._unsubscribe = self._buffer.subscribe(self._soon)
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Wrap everything anew where the width has changed."""
        if self._text_width != self._wrapped_at:
            self._shown = 0
            self._show()

    def on_unmount(self) -> None:
        """Stop listening."""
        if self._unsubscribe is not None:
            self._unsubscribe()

    @property
    def _text_width(self) -> int:
        """Cells of a row, the scrollbar left out whether it shows or not."""
        width = self.scrollable_content_region.width
        return width if self.show_vertical_scrollbar else width - 1

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = self.set_timer(SHOW_SECONDS, self._show)

    def _show(self) -> None:
        self._timer = None
        self._wrapped_at = self._text_width
        if self._wrapped_at <= 0:
            return  # not shown yet; the resize that comes with it shows everything
        if not self._buffer.total:
            if not self.lines:
                self.write_line("The engine has said nothing yet.")
            return
        follow = self.is_vertical_scroll_end
        if not self._shown:
            self.clear()
        lines = self._buffer.newest(self._shown)
        self._shown = self._buffer.total
        if lines:
            self.write_lines((row or " " for line in lines for row in self._rows(line)), scroll_end=False)
            if follow:
                self.scroll_end(animate=False)

    def _rows(self, line: str) -> list[str]:
        text = GrowingText(self._wrapped_at)
        text.extend(line)
        return text.rows
