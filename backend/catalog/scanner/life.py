"""What the scan is at, told to the other side while it works: after a hang or a crash the culprit is known."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from modeldeck.backend.catalog.places import Spot

TELL_SECONDS = 0.5
"""A model is read in a millisecond, so hardly any spot is ever told; naming each would cost more than reading it."""

_IDLE = ("", False)


class SignOfLife:
    """Tells the spot from a thread of its own, which runs while the scan waits for the disk."""

    def __init__(self, tell: Callable[[Spot], None], seconds: float = TELL_SECONDS) -> None:
        self._tell = tell
        self._seconds = seconds
        self._at = self._told = _IDLE
        self.cautious = False
        """Whether every spot is told before it is touched."""

    def start(self) -> None:
        """Begin; the thread ends with the process."""
        threading.Thread(target=self._run, name="sign of life", daemon=True).start()

    def at(self, path: str, is_model: bool = False) -> None:
        """The scan turns to this spot."""
        self._at = (path, is_model)
        if self.cautious:
            self._tell_now()

    def idle(self) -> None:
        """The scan waits for changes."""
        self._at = _IDLE

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._seconds):
            if self._at is not self._told:
                self._tell_now()

    def _tell_now(self) -> None:
        self._told = self._at
        path, is_model = self._told
        self._tell(Spot(os.fsencode(path), is_model))
