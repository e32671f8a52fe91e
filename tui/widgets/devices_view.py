"""The devices: memory, how busy they are, and who holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from modeldeck.tui.deck_keys import DECK_KEYS
from modeldeck.tui.device_lines import device_lines

if TYPE_CHECKING:
    from modeldeck.tui.memory_feed import MemoryFeed


class DevicesView(VerticalScroll, can_focus=True):
    """Follows the feed while it is seen; drawn again only where a line has changed."""

    DEFAULT_CSS = """
    DevicesView {
        padding: 1 2 0 2;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;  /* the lines keep their width when there are more of them than rows */
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False, id="devices.down", tooltip="Scroll down one line"),
        Binding("k", "scroll_up", "Up", show=False, id="devices.up", tooltip="Scroll up one line"),
        Binding("g", "scroll_home", "First", show=False, id="devices.first", tooltip="Go to the first device"),
        Binding("G", "scroll_end", "Last", show=False, id="devices.last", tooltip="Go to the end"),
        *DECK_KEYS,
    ]

    def __init__(self, feed: MemoryFeed) -> None:
        super().__init__()
        self._feed = feed
        self._lines: list[Content] = []
        self._width = 0
        self._unsubscribe: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        """One text of lines."""
        yield Static(markup=False)

    def on_mount(self) -> None:
        """Listen to the feed."""
        self._unsubscribe = self._feed.subscribe(self._show_if_seen)

    def on_unmount(self) -> None:
        """Stop listening."""
        if self._unsubscribe is not None:
            self._unsubscribe()

    def on_show(self) -> None:
        """What came while nobody looked."""
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """The lines follow the width."""
        self._show()

    def _show_if_seen(self) -> None:
        if self.is_on_screen:
            self._show()

    def _show(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return  # not laid out yet; the resize that comes with it shows everything
        lines = self._lines_now(width)
        if width == self._width and _same(lines, self._lines):
            return
        moved = width != self._width or _heights(lines, width) != _heights(self._lines, width)
        self._width, self._lines = width, lines
        self.query_one(Static).update(Content("\n").join(lines), layout=moved)

    def _lines_now(self, width: int) -> list[Content]:
        if self._feed.reading is not None:
            return device_lines(self._feed.reading, self._feed.history, width)
        if seconds := self._feed.stalled_seconds:
            said = f"The driver has not answered for {seconds} s, so nothing is known of the memory now."
            return [Content.styled(said, "$text-error")]
        return [Content("The devices are being read.")]


def _same(lines: list[Content], others: list[Content]) -> bool:
    """Whether they are drawn alike, colours included."""
    return len(lines) == len(others) and all(map(Content.is_same, lines, others))


def _heights(lines: list[Content], width: int) -> list[str]:
    """What decides how many rows there are: their number, and the sentences that are wrapped."""
    return [line.plain if line.cell_length > width else "" for line in lines]
