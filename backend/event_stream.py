"""The events of one request, kept for a reader that may be slow, in bounded memory."""

from __future__ import annotations

import asyncio
from collections import deque
from io import StringIO

from modeldeck.backend.catalog.messages import ModelMissing, ModelRead, ModelsFound, Reading, ScanFinished
from modeldeck.backend.download_messages import DownloadFailed, DownloadFinished, DownloadProgress
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.protocol import (
    CopyWritten,
    EngineLog,
    EngineReady,
    EngineStarted,
    GenerationFailed,
    GenerationFinished,
    LoadFailed,
    LoadFinished,
    LoadProgress,
    LookedInto,
    Moved,
    MoveFailed,
    PrefillProgress,
    ProtocolError,
    TokensCounted,
    TokensGenerated,
)

RequestEvent = (
    LoadProgress
    | LoadFinished
    | LoadFailed
    | TokensGenerated
    | GenerationFinished
    | GenerationFailed
    | PrefillProgress
    | TokensCounted
    | LookedInto
    | Moved
    | MoveFailed
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

_TURN_COST = 256
"""Characters that a change between what is thought and what is said counts as."""
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
        self._progress: dict[str, LoadProgress | DownloadProgress | Reading | PrefillProgress] = {}
        self._models: deque[ModelsFound | ScanFinished] = deque()
        self._texts: deque[tuple[bool, StringIO]] = deque()
        """What is thought and what is said, in turns."""
        self._waiting_characters = 0
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
            case PrefillProgress():
                self._progress["prefill"] = event
            case ModelsFound() | ScanFinished():
                self._models.append(event)
            case TokensGenerated():
                self._put_text(event)
            case _:
                self._end = event
                self.finished.set()
        self._arrived.set()

    def _put_text(self, event: TokensGenerated) -> None:
        self._waiting_characters += len(event.text)
        if self._waiting_characters > MAX_PENDING_TEXT:
            raise ProtocolError("a reply grew beyond every limit")
        if not self._texts or (event.text and self._texts[-1][0] != event.reasoning):
            self._texts.append((event.reasoning, StringIO()))
            self._waiting_characters += _TURN_COST
        self._texts[-1][1].write(event.text)
        self._new_tokens = event.new_tokens

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
        elif self._texts:
            reasoning, text = self._texts.popleft()
            event = TokensGenerated(self.request_id, text.getvalue(), self._new_tokens, reasoning)
            self._waiting_characters -= len(event.text) + _TURN_COST
        else:
            assert self._end is not None  # nothing has arrived otherwise
            return self._end  # stays, so that whoever asks again is told again
        if not (self._progress or self._models or self._texts or self._end is not None):
            self._arrived.clear()
        return event
