"""The engine's end of the pipe: one thread writes events, one reads requests, neither waits for the model."""

from __future__ import annotations

import os
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
    GenerationFailed,
    LookInto,
    ProtocolError,
    Request,
    Shutdown,
    Stop,
    TokensGenerated,
    decode_request,
    encode,
)

TOKEN_INTERVAL = 0.1
"""Seconds between two pieces of a reply, unless somebody says otherwise; the first piece goes at once."""
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
        self._reasoning = False
        """Whether the pieces are reasoning."""
        self._new_tokens = 0
        self._due = 0.0
        self.token_interval = TOKEN_INTERVAL
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

    def tokens(self, request_id: int, text: str, new_tokens: int, reasoning: bool = False) -> None:
        """Add to the reply of this request, which has ``new_tokens`` tokens by now."""
        with self._changed:
            if (request_id, reasoning) != (self._request_id, self._reasoning):
                self._flush_tokens()
                self._due = self._due if request_id == self._request_id else 0.0
                self._request_id, self._reasoning = request_id, reasoning
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
            said = TokensGenerated(self._request_id, "".join(self._pieces), self._new_tokens, self._reasoning)
            self._events.append(said)
            self._pieces.clear()
            self._due = monotonic() + self.token_interval

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
                line = memoryview(_encoded(self._next()))
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError:  # nobody reads any more
            os._exit(0)


def _encoded(event: EngineEvent) -> bytes:
    """The line, or that it would have been too long for one: whoever waits for it is answered all the same."""
    try:
        return encode(event)
    except ProtocolError as error:
        request_id = getattr(event, "request_id", None)
        if request_id is None:
            return encode(EngineLog("error", f"Something that the engine had to say was too long: {error}"))
        return encode(GenerationFailed(request_id, "The engine's answer is too long to be sent.", str(error)))


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
        self._arrivals: deque[Arrival] = deque()
        self._arrived = threading.Condition()
        self._stops: dict[int, threading.Event] = {}
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Arrival:
        """Wait for the next request; stops are never among them."""
        self.waits(None)
        return self._arrivals.popleft()

    def waits(self, seconds: float | None) -> bool:
        """Whether a request is there, now or within so many seconds; None waits until there is one."""
        with self._arrived:
            return self._arrived.wait_for(lambda: bool(self._arrivals), seconds)

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
        if isinstance(request, Generate | LookInto):
            self._stops[request.request_id] = arrival.stop
        with self._arrived:
            self._arrivals.append(arrival)
            self._arrived.notify()
