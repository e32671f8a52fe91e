"""What a download tells while it runs: bytes, at most ten times a second, and what it waits for."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

from huggingface_hub import constants
from huggingface_hub.utils.tqdm import tqdm

from modeldeck.backend.download_messages import DownloadProgress

INTERVAL = 0.1
"""Seconds between two events."""
_BYTES_BAR = "huggingface_hub.snapshot_download"
"""The bar that counts bytes that have reached the disk; others count files, or bytes of the network."""
_WAITING = re.compile(r"waiting to acquire lock on (?P<file>.+) \(elapsed: (?P<seconds>\d+)")
WAIT_SECONDS = 1
"""How often huggingface_hub tells that it waits for a lock; its own ten seconds look like a download that hangs."""


class Reporter:
    """Gathers the bytes of all files and sends ``DownloadProgress``; a context, for the log that it listens to."""

    def __init__(self, request_id: int, send: Callable[[DownloadProgress], None]) -> None:
        self._request_id = request_id
        self._send = send
        self._lock = threading.Lock()
        self._done = self._total = 0
        self._note = self._lock_file = ""
        self._sent = 0.0
        self._listener = _LockListener(self.wait_for_lock)

    def __enter__(self) -> Self:
        logger = logging.getLogger("huggingface_hub")
        logger.addHandler(self._listener)
        self._level = logger.level
        logger.setLevel(logging.INFO)  # waiting for a lock is told as info
        constants.FILELOCK_LOG_EVERY_SECONDS = WAIT_SECONDS
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logger = logging.getLogger("huggingface_hub")
        logger.removeHandler(self._listener)
        logger.setLevel(self._level)

    def begin(self, total_bytes: int) -> None:
        """Everything is known and allowed; the bytes are about to come."""
        with self._lock:
            self._total = total_bytes
            self._tell()

    def add(self, number: int) -> None:
        """So many more bytes are on the disk (fewer, where a file had to be begun again)."""
        with self._lock:
            self._done = max(0, self._done + number)
            self._note = self._lock_file = ""
            if monotonic() - self._sent >= INTERVAL:
                self._tell()

    def finish(self) -> None:
        """Everything is on the disk."""
        with self._lock:
            self._done, self._note, self._lock_file = self._total, "", ""
            self._tell()

    def wait_for_lock(self, lock_file: str, seconds: int) -> None:
        """Somebody else downloads the same file, or died while he did on a file system without real locks."""
        with self._lock:
            self._note = f"waiting {seconds} s for another download"
            self._lock_file = lock_file
            self._tell()

    def bar(self) -> type[tqdm]:
        """A tqdm class that shows nothing and feeds this reporter."""
        reporter = self

        class Bar(tqdm):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self._counts_bytes = kwargs.get("name") == _BYTES_BAR
                super().__init__(*args, **kwargs | {"disable": True})  # type: ignore[no-untyped-call]  # of tqdm

            def update(self, n: float | None = 1) -> bool | None:
                if self._counts_bytes and reporter._total:
                    reporter.add(int(n or 0))
                return None

        return Bar

    def _tell(self) -> None:
        self._sent = monotonic()
        done = min(self._done, self._total)
        self._send(DownloadProgress(self._request_id, done, self._total, self._note, self._lock_file))


class _LockListener(logging.Handler):
    """Hears in huggingface_hub's log that a lock is held by somebody else; nothing else tells."""

    def __init__(self, on_wait: Callable[[str, int], None]) -> None:
        super().__init__(logging.INFO)
        self._on_wait = on_wait

    def emit(self, record: logging.LogRecord) -> None:
        if found := _WAITING.search(record.getMessage()):
            self._on_wait(found["file"], int(found["seconds"]))
