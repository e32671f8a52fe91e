"""The engine's last lines, for the log view and the program's log file."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from modeldeck.backend.redaction import redact
from modeldeck.backend.text import clean_name

_logger = logging.getLogger("modeldeck.engine")

MAX_LINES = 2000
MAX_LINE_LENGTH = 2000
"""Characters; a longer line is cut."""


class EngineLogBuffer:
    """Keeps the last lines, harmless and without credentials, and tells whoever looks.

    Everything happens on the thread of the loop.
    """

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self.lines: deque[str] = deque(maxlen=max_lines)
        self.total = 0
        """How many lines there have ever been; tells a view what it has not shown yet."""
        self._subscribers: list[Callable[[], None]] = []

    def append(self, line: str) -> None:
        """Keep a line of the engine's stderr, or several."""
        for part in redact(line).rstrip("\n").split("\n"):
            text = clean_name(part.rstrip("\r").expandtabs(4), MAX_LINE_LENGTH)
            self.lines.append(text)
            self.total += 1
            _logger.info("%s", text)
        for callback in tuple(self._subscribers):
            callback()

    def newest(self, since: int) -> list[str]:
        """The kept lines that came after the first ``since`` ones."""
        count = min(len(self.lines), max(0, self.total - since))
        return list(self.lines)[len(self.lines) - count :]

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after every append; returns what ends that."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe
