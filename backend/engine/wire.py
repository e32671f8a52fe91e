"""The engine's end of the pipe: one thread writes events, one reads requests, neither waits for the model."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from typing import BinaryIO

from modeldeck.backend.protocol import (
    MAX_LINE,
    EngineEvent,
    EngineLog,
    Generate,
    ProtocolError,
    Request,
    Shutdown,
    Stop,
    TokensGenerated,
    decode_request,
    encode,
)

TOKEN_INTERVAL = 0.1
"""Seconds between two pieces of a reply; the first piece goes at once."""
_MOST_LOGS_WAITING = 256
EXIT_BAD_REQUEST = 65
"""The exit status after a line that is not a request (EX_DATAERR of sysexits)."""


class Wire:
    """The only writer of the pipe to the UI process.

    ``send`` and ``tokens`` return at once, however slow the other side reads: what waits is at most one reply, which
    grows as one piece, and a few events. Events keep their order.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._events: deque[EngineEvent] = deque()
        self._request_id: int | None = None
        self._pieces: list[str] = []
        self._new_tokens = 0
        self._due = 0.0
        self._writing = False
        threading.Thread(target=self._run, name="wire", daemon=True).start()

    def send(self, event: EngineEvent) -> None:
        """Queue an event behind the tokens that are waiting; log lines are dropped while too many wait."""
        with self._changed:
            if isinstance(event, EngineLog) and len(self._events) >= _MOST_LOGS_WAITING:
                return
            self._flush_tokens()
            self._events.append(event)
            self._changed.notify_all()

    def tokens(self, request_id: int, text: str, new_tokens: int) -> None:
        """Add to the reply of this request, which has ``new_tokens`` tokens by now."""
        with self._changed:
            if request_id != self._request_id:
                self._flush_tokens()
                self._request_id, self._due = request_id, 0.0
            self._new_tokens = new_tokens
            self._pieces.append(text)
            if len(self._pieces) == 1:  # otherwise the writer already knows when to wake
                self._changed.notify_all()

    def drain(self, seconds: float) -> None:
        """Wait until everything is written, or give up after so many seconds."""
        with self._changed:
            self._flush_tokens()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._events and not self._writing, seconds)

    def _flush_tokens(self) -> None:
        if self._pieces and self._request_id is not None:
            self._events.append(TokensGenerated(self._request_id, "".join(self._pieces), self._new_tokens))
            self._pieces.clear()
            self._due = monotonic() + TOKEN_INTERVAL

    def _next(self) -> EngineEvent:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._events:
                wait = self._due - monotonic() if self._pieces else None
                if wait is not None and wait <= 0:
                    self._flush_tokens()
                else:
                    self._changed.wait(wait)
            self._writing = True
            return self._events.popleft()

    def _run(self) -> None:
        try:
            while True:
                line = memoryview(encode(self._next()))
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError:  # nobody reads any more
            os._exit(0)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request, when it came (``time.monotonic``), and the flag that a later ``Stop`` for it raises."""

    request: Request
    seconds: float
    stop: threading.Event = field(default_factory=threading.Event)


class Inbox:
    """Reads requests in a thread of its own, so that an end or a stop is heard in the middle of anything.

    The end of the stream and ``Shutdown`` end the process at once; a line that is not a request ends it with
    ``EXIT_BAD_REQUEST``.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        self._stops: dict[int, threading.Event] = {}
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Arrival:
        """Wait for the next request; stops are never among them."""
        return self._arrivals.get()

    def forget(self, request_id: int) -> None:
        """A request is finished; a stop that still comes for it is ignored."""
        self._stops.pop(request_id, None)

    def _read(self) -> None:
        try:
            while line := self._stream.readline(MAX_LINE + 1):
                self._take(decode_request(line))
        except ProtocolError as error:
            sys.stderr.write(f"The engine got a line that it cannot read, and ends: {error}\n")
            sys.stderr.flush()
            os._exit(EXIT_BAD_REQUEST)
        os._exit(0)

    def _take(self, request: Request) -> None:
        if isinstance(request, Shutdown):
            os._exit(0)
        if isinstance(request, Stop):
            if stop := self._stops.get(request.request_id):
                stop.set()
            return
        arrival = Arrival(request, monotonic())
        if isinstance(request, Generate):
            self._stops[request.request_id] = arrival.stop
        self._arrivals.put(arrival)
