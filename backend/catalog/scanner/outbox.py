"""Found models on their way to the other side, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic

from modeldeck.backend.models import ModelInfo

BATCH_SECONDS = 0.05
MAX_ROW = 2**20
"""Bytes of one row; one that a hostile header makes longer tells only what is wrong."""
_MAX_BATCH = 4 * 2**20
"""Bytes of a batch, so that one more row still leaves it within a line of the protocol."""


class Outbox:
    """Gathers rows for a moment, so that the other side is not woken for each; ``send`` gets them in their order.

    Rows do not wait for a model that takes long: another thread may ``flush`` meanwhile.
    """

    def __init__(self, send: Callable[[tuple[ModelInfo, ...]], None]) -> None:
        self._send = send
        self._lock = Lock()
        self._rows: list[ModelInfo] = []
        self._bytes = 0
        self._due = 0.0

    def begin(self) -> None:
        """A scan starts; its first rows go soon."""
        self._due = monotonic() + BATCH_SECONDS / 5

    def add(self, row: ModelInfo, size: int) -> None:
        """Take a row of so many bytes."""
        with self._lock:
            self._rows.append(row)
            self._bytes += size
            full = monotonic() >= self._due or self._bytes > _MAX_BATCH
        if full:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        with self._lock:
            rows, self._rows, self._bytes = tuple(self._rows), [], 0
            self._due = monotonic() + BATCH_SECONDS
            if rows:
                self._send(rows)
