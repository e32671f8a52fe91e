"""The events of one request, kept for a reader that may be slow, in bounded memory."""

from __future__ import annotations

import asyncio
from collections import deque
from io import StringIO

from modeldeck.backend.errors import EngineDied
from modeldeck.backend.protocol import (
    CopyWritten,
    DownloadFailed,
    DownloadFinished,
    DownloadProgress,
    EngineLog,
    EngineReady,
    EngineStarted,
    GenerationFailed,
    GenerationFinished,
    LoadFailed,
    LoadFinished,
    LoadProgress,
    ModelMissing,
    ModelRead,
    ModelsFound,
    ProtocolError,
    Reading,
    ScanFinished,
    TokensGenerated,
)

RequestEvent = (
    LoadProgress
    | LoadFinished
    | LoadFailed
    | TokensGenerated
    | GenerationFinished
    | GenerationFailed
    | DownloadProgress
    | DownloadFinished
    | DownloadFailed
    | Reading
    | ModelsFound
    | ScanFinished
    | ModelRead
    | ModelMissing
)
"""The events that belong to a request."""
ProcessEvent = EngineStarted | EngineReady | EngineLog | CopyWritten
"""The events that belong to the process."""

MAX_PENDING_TEXT = 64 * 2**20
"""Characters of one reply that may wait for their reader; no honest reply is as long."""


class EventStream:
    """What a child answers to one request, in order: progress, then models or text, then the one event that ends it.

    While nobody takes them, progress of the same stage is replaced by newer progress and pieces of text are joined,
    so that a stalled terminal costs no more memory than the reply itself.
    """

    def __init__(self, request_id: int) -> None:
        self.request_id = request_id
        self.finished = asyncio.Event()
        """Set as soon as the end has arrived, whether or not anybody has taken it."""
        self._progress: dict[str, LoadProgress | DownloadProgress | Reading] = {}
        self._models: deque[ModelsFound | ScanFinished] = deque()
        self._text = StringIO()
        self._new_tokens = 0
        self._end: RequestEvent | EngineDied | None = None
        self._arrived = asyncio.Event()

    def put(self, event: RequestEvent | EngineDied) -> None:
        """Keep an event; what comes after the end is dropped. Raises ProtocolError when too much is waiting."""
        if self._end is not None:
            return
        match event:
            case LoadProgress():
                self._progress[event.stage] = event
            case DownloadProgress():
                self._progress["download"] = event
            case Reading():
                self._progress["reading"] = event
            case ModelsFound() | ScanFinished():
                self._models.append(event)
            case TokensGenerated():
                if self._text.tell() + len(event.text) > MAX_PENDING_TEXT:
                    raise ProtocolError("a reply grew beyond every limit")
                self._text.write(event.text)
                self._new_tokens = event.new_tokens
            case _:
                self._end = event
                self.finished.set()
        self._arrived.set()

    async def next(self) -> RequestEvent:
        """Wait for the next event and take it. Safe to cancel. Raises EngineDied once nothing else is left."""
        await self._arrived.wait()
        event = self._take()
        if isinstance(event, EngineDied):
            raise event
        return event

    def _take(self) -> RequestEvent | EngineDied:
        if self._progress:
            event: RequestEvent | EngineDied = self._progress.pop(next(iter(self._progress)))
        elif self._models:
            event = self._models.popleft()
        elif self._text.tell() or self._end is None:
            event = TokensGenerated(self.request_id, self._text.getvalue(), self._new_tokens)
            self._text = StringIO()
        else:
            return self._end  # stays, so that whoever asks again is told again
        if not (self._progress or self._models or self._text.tell() or self._end is not None):
            self._arrived.clear()
        return event
