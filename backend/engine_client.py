"""The conversation with one child: one reader, a stream for each request, and its death told to all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Self

from modeldeck.backend.engine_process import START_SECONDS, EngineProcess
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.event_stream import EventStream
from modeldeck.backend.protocol import (
    CopyWritten,
    EngineEvent,
    EngineLog,
    EngineReady,
    EngineStarted,
    ProtocolError,
    Request,
)
from modeldeck.backend.text import clean_text


def _silent(_line: str) -> None:
    """Nobody reads the log."""


class EngineClient:
    """A started child that answers requests. Whoever started it must ``stop`` or ``kill`` it."""

    def __init__(self, process: EngineProcess, on_log: Callable[[str], None] = _silent) -> None:
        self._process = process
        self._on_log = on_log
        self._streams: dict[int, EventStream] = {}
        self._request_ids = count(1)
        self.on_copy_written: Callable[[], None] = lambda: None
        """Called on the loop when a prepared copy of a GGUF model is whole; must not raise."""
        self.ready = asyncio.Event()
        """Set when its libraries are imported; a request may be sent before that, and is done then."""
        self.gone: asyncio.Future[EngineDied] = asyncio.get_running_loop().create_future()
        """Done, with how it ended, once the process is gone and reaped; never cancel it, shield it."""
        self._reader = asyncio.create_task(self._read_events(), name=f"reader of engine {process.pid}")

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        on_log: Callable[[str], None] = _silent,
        start_seconds: float = START_SECONDS,
    ) -> Self:
        """Start a child; see ``EngineProcess.start``. ``on_log`` also gets what the engine itself has to say."""
        process = await EngineProcess.start(command, environment, on_log=on_log, start_seconds=start_seconds)
        return cls(process, on_log)

    @property
    def pid(self) -> int:
        """Of the process and of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether requests may still be answered."""
        return self._process.alive and not self.gone.done()

    async def until_ready(self) -> None:
        """Returns when ``ready`` is set, or the process is gone."""
        ready = asyncio.create_task(self.ready.wait())
        either: set[asyncio.Future[Any]] = {ready, self.gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()

    @contextmanager
    def open_stream(self) -> Iterator[EventStream]:
        """A fresh request id and its events; what comes for it after the block is dropped."""
        stream = EventStream(next(self._request_ids))
        if self.gone.done():
            stream.put(self.gone.result())
        self._streams[stream.request_id] = stream
        try:
            yield stream
        finally:
            del self._streams[stream.request_id]

    async def send(self, message: Request) -> None:
        """Write one request. Raises EngineDied, or ProtocolError when it is too long for one line."""
        await self._process.send(message)

    async def stop(self, grace: float = 1.0) -> None:
        """End the child by the ladder: ask, SIGTERM, SIGKILL. Returns when it is reaped and everyone was told."""
        try:
            await self._process.stop(grace)
        finally:
            await asyncio.shield(self._reader)

    async def kill(self, reason: str = "The engine was stopped.") -> None:
        """SIGKILL the child's group. Returns when it is reaped and everyone who waited was told the reason."""
        await self._process.kill(reason)
        await asyncio.shield(self._reader)

    async def _read_events(self) -> None:
        """The only reader of the pipe; its end is told to every stream that is still open."""
        try:
            while (event := await self._process.read()) is not None:
                self._dispatch(event)
            died = await self._process.ended()
        except ProtocolError as error:
            died = await self._process.break_off(error)
        self.gone.set_result(died)
        for stream in self._streams.values():
            stream.put(died)

    def _dispatch(self, event: EngineEvent) -> None:
        match event:
            case EngineReady():
                self.ready.set()
            case EngineLog():
                for line in clean_text(event.text).splitlines():
                    self._on_log(line if event.level == "info" else f"{event.level}: {line}")
            case CopyWritten():
                self.on_copy_written()
            case EngineStarted():
                raise ProtocolError("a second start")
            case _:
                stream = self._streams.get(event.request_id)
                if stream is not None:
                    stream.put(event)
