"""The child's end of the pipe, for children that answer one thing at a time."""

from __future__ import annotations

import os
import sys
import threading

from modeldeck.backend.protocol import EngineEvent, encode


class Wire:
    """Writes events, whole lines only, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb")
        self._lock = threading.Lock()

    def send(self, event: EngineEvent) -> None:
        """Write one event at once. Raises ProtocolError when it is too long."""
        line = encode(event)
        with self._lock:
            self._file.write(line)
            self._file.flush()


def take_stdout() -> Wire:
    """Make stdout the wire; whatever prints from now on prints to stderr."""
    wire = Wire(os.dup(1))
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return wire
