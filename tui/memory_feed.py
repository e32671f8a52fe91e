"""The one reader of the memory: it works in a thread of its own, and everything that shows memory listens to it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from modeldeck.tui.memory_history import MemoryHistory

if TYPE_CHECKING:
    from modeldeck.backend.memory import MemoryReading

_logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
_STALLED_ROUNDS = 5
"""Rounds without an answer after which the last one is no longer the truth."""


class MemoryReader(Protocol):
    """What the feed asks; blocking."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        """The memory now, and what these processes hold of it."""


def open_monitor() -> MemoryReader:
    """The real reader. Imports psutil and the drivers' libraries, which no first frame waits for."""
    from modeldeck.backend.memory import MemoryMonitor

    return MemoryMonitor()


class MemoryFeed:
    """Reads when it is asked, one reading at a time, and tells its subscribers in the event loop.

    The thread is a daemon and not one of the loop's executor, whose end asyncio waits for: a driver that hangs
    holds up neither the screen nor the way out.
    """

    def __init__(
        self, pids: Callable[[], tuple[int, ...]], open_reader: Callable[[], MemoryReader] | None = None
    ) -> None:
        self._pids = pids
        self._open_reader = open_reader
        self._wanted: SimpleQueue[tuple[int, ...] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._rounds_waited: int | None = None
        """None while nothing was asked that is not answered."""
        self._for_history = True
        self._subscribers: list[Callable[[], None]] = []
        self.reading: MemoryReading | None = None
        """The last one; None before the first and while the driver does not answer."""
        self.history = MemoryHistory()

    @property
    def stalled_seconds(self) -> int:
        """How long there has been no answer; 0 while answers come."""
        waited = self._rounds_waited or 0
        return round(waited * PERIOD_SECONDS) if waited >= _STALLED_ROUNDS else 0

    def start(self) -> None:
        """Start the thread; call it once, in the event loop that subscribers live in."""
        context, loop = copy_context(), asyncio.get_running_loop()

        def tell(reading: MemoryReading) -> None:
            loop.call_soon_threadsafe(self._take, reading, context=context)

        self._thread = threading.Thread(target=self._run, args=(tell,), name="memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more; returns at once, also while a driver hangs."""
        self._wanted.put(None)
        self._subscribers.clear()

    async def fresh(self, seconds: float = 2.0) -> MemoryReading | None:
        """A reading that began after this call; None where none comes in time. It is no part of the history."""
        if self._thread is None:
            return None
        told = asyncio.Event()
        leave = self.subscribe(told.set)
        try:
            async with asyncio.timeout(seconds):
                if self._rounds_waited is not None:  # the one under way began before
                    await told.wait()
                    told.clear()
                self.poll(for_history=False)
                await told.wait()
        except TimeoutError:
            return None
        finally:
            leave()
        return self.reading

    def poll(self, *, for_history: bool = True) -> None:
        """Ask for a reading; a round is left out while the last one still runs."""
        if self._rounds_waited is None:
            self._rounds_waited = 0
            self._for_history = for_history
            self._wanted.put(self._pids())
            return
        self._for_history = self._for_history or for_history
        self._rounds_waited += 1
        if self.stalled_seconds:
            self.reading = None
            self._tell()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after every reading; returns what ends that."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def _run(self, tell: Callable[[MemoryReading], None]) -> None:
        try:
            reader = (self._open_reader or open_monitor)()
            while (pids := self._wanted.get()) is not None and self._told(reader.read(pids), tell):
                pass
        except Exception:  # the last handler of this thread: without it nobody would know why no answer comes
            _logger.critical("The reader of the memory met an error that nobody expected.", exc_info=True)

    @staticmethod
    def _told(reading: MemoryReading, tell: Callable[[MemoryReading], None]) -> bool:
        try:
            tell(reading)
        except RuntimeError:
            return False  # the loop has ended meanwhile
        return True

    def _take(self, reading: MemoryReading) -> None:
        self._rounds_waited = None
        self.reading = reading
        if self._for_history:
            self.history.add(reading)
        self._tell()

    def _tell(self) -> None:
        for callback in tuple(self._subscribers):
            callback()
