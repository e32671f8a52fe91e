"""The truth in one line: state, model, progress, memory, speed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from textual import work
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from modeldeck.backend.models import ModelStatus
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.status_line import StatusFacts, status_line

if TYPE_CHECKING:
    from modeldeck.backend.memory import MemoryReading
    from modeldeck.backend.protocol import DownloadProgress, LoadProgress

_BUSY = frozenset({ModelStatus.LOADING, ModelStatus.UNLOADING})


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
    memory: reactive[MemoryReading | None] = reactive(None)
    elapsed: reactive[int] = reactive(0)
    """Whole seconds since the load or unload began."""
    download_elapsed: reactive[int] = reactive(0)
    """Whole seconds since the download began."""

    def __init__(self, pids: Callable[[], tuple[int, ...]], *, ascii_only: bool = False) -> None:
        super().__init__()
        self._pids = pids
        self._ascii = ascii_only
        self._since = self._download_since = monotonic()

    def on_mount(self) -> None:
        """Start the clock and look at the memory once a second."""
        self.set_interval(0.5, self._tick)
        self._poll_memory()

    def watch_engine(self, before: EngineView, now: EngineView) -> None:
        """The clock counts from the last change of state."""
        if (before.status, before.model_id) != (now.status, now.model_id):
            self._since = monotonic()
            self.elapsed = 0

    def watch_download_name(self) -> None:
        """A download has a clock of its own."""
        self._download_since = monotonic()
        self.download_elapsed = 0

    def render(self) -> Content:
        """The line for the width that there is."""
        facts = StatusFacts(
            engine=self.engine,
            progress=self.progress,
            download=self.download,
            download_name=self.download_name,
            elapsed=self.elapsed,
            download_elapsed=self.download_elapsed,
            memory=self.memory,
            speed=self.speed,
        )
        return status_line(facts, self.size.width, ascii_only=self._ascii)

    def _tick(self) -> None:
        if self.engine.status in _BUSY:
            self.elapsed = int(monotonic() - self._since)
        if self.download_name:
            self.download_elapsed = int(monotonic() - self._download_since)

    @work(group="memory")
    async def _poll_memory(self) -> None:
        """The libraries that read the memory are imported in the thread too, after the first frame."""
        monitor = await asyncio.to_thread(_open_monitor)
        while True:
            self.memory = await asyncio.to_thread(monitor.read, self._pids())
            await asyncio.sleep(1)


if TYPE_CHECKING:
    from modeldeck.backend.memory import MemoryMonitor


def _open_monitor() -> MemoryMonitor:
    from modeldeck.backend.memory import MemoryMonitor  # psutil and pynvml, which no first frame waits for

    return MemoryMonitor()
