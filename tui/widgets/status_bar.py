"""The truth in one line: state, model, progress, memory, speed."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING

from textual.content import Content
from textual.reactive import reactive, var
from textual.widget import Widget

from modeldeck.backend.load_follower import Outlook
from modeldeck.backend.models import ModelStatus
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.status_line import StatusFacts, status_line

if TYPE_CHECKING:
    from modeldeck.backend.download_messages import DownloadProgress
    from modeldeck.backend.memory import MemoryReading
    from modeldeck.backend.protocol import LoadProgress
    from modeldeck.tui.memory_feed import MemoryFeed

_BUSY = frozenset({ModelStatus.LOADING, ModelStatus.PARKING, ModelStatus.WAKING, ModelStatus.UNLOADING})


class StatusBar(Widget):
    """One line that is drawn again only when something it shows has changed."""

    ALLOW_SELECT = False

    engine: reactive[EngineView] = reactive(EngineView())
    progress: reactive[LoadProgress | None] = reactive(None)
    download: reactive[DownloadProgress | None] = reactive(None)
    download_name: reactive[str] = reactive("")
    """What is being downloaded; empty when nothing is."""
    speed: reactive[float | None] = reactive(None)
    """Tokens per second of the reply that runs, or of the last one."""
    memory: var[MemoryReading | None] = var(None, always_update=True)
    """The last reading; it comes every second, and the line is drawn again only where its words are others."""
    elapsed: reactive[int] = reactive(0)
    """Whole seconds since the load or unload began."""
    idle: reactive[int] = reactive(0)
    """Whole seconds in which the load that runs has made no progress."""
    rate: reactive[float | None] = reactive(None)
    """Bytes per second of the weights that are gone through."""
    seconds_left: reactive[int | None] = reactive(None)
    """Whole seconds that the load will still take, as far as that is known; never 0."""
    download_elapsed: reactive[int] = reactive(0)
    """Whole seconds since the download began."""

    def __init__(self, feed: MemoryFeed) -> None:
        super().__init__()
        self._feed = feed
        self.look_ahead: Callable[[], Outlook] = Outlook
        """How the load goes; asked twice a second, so that the figures can be read."""
        self.idle_seconds: Callable[[], float] = lambda: 0.0
        """For how long it has not moved."""
        self._drawn = Content()
        self._since = self._download_since = monotonic()
        self._unsubscribe: Callable[[], None] | None = None

    def on_mount(self) -> None:
        """Start the clock and listen to the memory."""
        self.set_interval(0.5, self._tick)
        self._unsubscribe = self._feed.subscribe(self._take_memory)

    def on_unmount(self) -> None:
        """Stop listening."""
        if self._unsubscribe is not None:
            self._unsubscribe()

    def watch_memory(self) -> None:
        """Draw the line again where it says something else."""
        if not self._line().is_same(self._drawn):
            self.refresh()

    def watch_engine(self, before: EngineView, now: EngineView) -> None:
        """The clock counts from the last change of state."""
        if (before.status, before.model_id) != (now.status, now.model_id):
            self._since = monotonic()
            self.elapsed = 0
            self.rate = self.seconds_left = None

    def watch_download_name(self) -> None:
        """A download has a clock of its own."""
        self._download_since = monotonic()
        self.download_elapsed = 0

    def render(self) -> Content:
        """The line for the width that there is."""
        self._drawn = self._line()
        return self._drawn

    def _line(self) -> Content:
        facts = StatusFacts(
            engine=self.engine,
            progress=self.progress,
            rate=self.rate,
            seconds_left=self.seconds_left,
            download=self.download,
            download_name=self.download_name,
            elapsed=self.elapsed,
            idle=self.idle,
            download_elapsed=self.download_elapsed,
            memory=self.memory,
            history=self._feed.history,
            speed=self.speed,
        )
        return status_line(facts, self.size.width)

    def _take_memory(self) -> None:
        self.memory = self._feed.reading

    def _tick(self) -> None:
        if self.engine.status in _BUSY:
            self.elapsed = int(monotonic() - self._since)
        self.idle = int(self.idle_seconds())
        outlook = self.look_ahead()
        self.rate = outlook.bytes_per_second
        self.seconds_left = ceil(outlook.seconds_left) if outlook.seconds_left is not None else None
        if self.download_name:
            self.download_elapsed = int(monotonic() - self._download_since)
