"""The log file: rotated, readable by its owner only, and without the user's tokens."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue

from modeldeck.backend.redaction import redact
from modeldeck.backend.text import clean_text
from modeldeck.config.atomic import make_private_folder

MAX_BYTES = 2 * 2**20
"""A log file of this size is put aside; two old ones are kept."""
MOST_WAITING = 20_000
"""Lines that may wait to be written; while there are more, those of less than a warning are only counted."""


def start_logging(path: Path) -> None:
    """Send the program's log to ``path``. A log that cannot be written never keeps the program from running."""
    with suppress(OSError):
        make_private_folder(path.parent)
        handler = _PrivateFile(path, maxBytes=MAX_BYTES, backupCount=2, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(_HarmlessFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(_Background(handler))
        logging.getLogger("modeldeck").setLevel(logging.INFO)


def crash_sentence(path: Path) -> str:
    """What the terminal says when the program ends of an error that nobody expected."""
    return clean_text(f"modeldeck had to end because of an error in itself; {path} says more.")


class _Background(QueueHandler):
    """Writes in a thread: a model that floods its error output must not hold up the keys.

    ``logging.shutdown``, which Python calls at the end, flushes and closes it like every handler.
    """

    def __init__(self, target: logging.Handler) -> None:
        lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
        super().__init__(lines)
        self._waiting = lines.qsize
        self._target = target
        self._left_out = 0
        self._listener: QueueListener | None = QueueListener(lines, target)
        self._listener.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Have a line written, or count it where a flood is ahead of the disk."""
        if self._waiting() >= MOST_WAITING and record.levelno < logging.WARNING:
            self._left_out += 1
            return
        if self._left_out:
            said = f"{self._left_out} lines came too fast to be kept."
            self._left_out = 0
            super().enqueue(logging.LogRecord(record.name, logging.WARNING, "", 0, said, None, None))
        super().enqueue(record)

    def flush(self) -> None:
        """Return once everything is in the file."""
        if self._listener is not None:
            self._listener.stop()
            self._listener.start()

    def close(self) -> None:
        """Write what is left and let go of the file."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
            self._target.close()
        super().close()


class _PrivateFile(RotatingFileHandler):
    """A rotated file of mode 0600 that is silent about a full disk: the screen belongs to the app."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)  # noqa: PTH123  # a descriptor

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the record."""


class _HarmlessFormatter(logging.Formatter):
    """Works on the finished text, so that tracebacks are covered too."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text without tokens and without control characters."""
        return clean_text(redact(super().format(record)))
