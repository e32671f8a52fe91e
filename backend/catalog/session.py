"""A conversation with the scanner that outlives the scanner: what hangs or dies is replaced, its culprit left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

from msgspec import Struct

from modeldeck.backend.catalog.messages import (
    FindModel,
    ModelMissing,
    ModelRead,
    ModelsFound,
    Reading,
    ReadModel,
    Scan,
    ScanFinished,
)
from modeldeck.backend.catalog.places import Spot
from modeldeck.backend.catalog.suspects import RETRY_SECONDS, Suspects
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.event_stream import EventStream
from modeldeck.backend.protocol import EngineEvent
from modeldeck.backend.spare_engine import EngineStarter
from modeldeck.backend.stall import Stalled, StallWatch

STALL_SECONDS = 5.0
"""How long one spot may take; reading a header takes a millisecond on a local disk."""
END_SECONDS = 2.0
"""How long the end of a child is waited for; one that a dead disk holds in the kernel ends when that lets it go."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

Answer = ModelsFound | ScanFinished | ModelRead | ModelMissing
R = TypeVar("R", Scan, FindModel, ReadModel)


class Restarted(Struct, frozen=True):
    """A child is gone and another one comes, which starts from nothing."""

    why: str
    deaths: int
    """In a row, without a whole scan in between."""


class ScannerSession:
    """One request to a scanner, and every answer to it, whatever becomes of the process."""

    def __init__(
        self, start: EngineStarter, *, stall_seconds: float = STALL_SECONDS, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._start = start
        self._stall_seconds = stall_seconds
        self._suspects = Suspects(retry_seconds)
        self._at = Spot()
        self._pending = False
        self._child: EngineClient | None = None
        self._stream: EventStream | None = None
        self._hurry = asyncio.Event()
        self._closed = asyncio.Event()
        self._ends: set[asyncio.Task[None]] = set()
        """Of children that are being ended; who began it may be cancelled meanwhile."""
        self._childless = asyncio.Event()
        """Set while no child is starting, alive or ending."""
        self._childless.set()

    @property
    def pid(self) -> int | None:
        """Of the child, while there is one."""
        return self._child.pid if self._child is not None else None

    async def answers(
        self, request: Callable[[int, Suspects], Scan | FindModel | ReadModel]
    ) -> AsyncGenerator[Answer | Restarted, None]:
        """Every answer, until it is closed. ``request`` is asked anew for every child."""
        deaths = 0  # that nobody is to blame for; else the next child leaves the culprit alone
        while not self._closed.is_set():
            try:
                async with aclosing(self._of_one_child(request)) as answers:
                    async for answer in answers:
                        deaths = 0 if isinstance(answer, ScanFinished) else deaths
                        yield answer
            except Stalled:
                why = self._suspects.hung(self._at, self._stall_seconds)
            except EngineDied as death:
                why = self._suspects.died(self._at, death)
            if self._closed.is_set():
                return
            deaths += why.culprit is None
            yield Restarted(why.sentence, deaths)
            if deaths > 1 and why.culprit is None:
                await self._pause(deaths)

    async def close(self) -> None:
        """End the child; the answers end, too."""
        self._closed.set()
        self._hurry.set()
        if self._child is not None:
            await self._end(self._child)
        with suppress(TimeoutError):  # whoever reads the answers may be ending it, or starting one, at this moment
            async with asyncio.timeout(END_SECONDS):
                await self._childless.wait()
        if self._ends:
            await asyncio.wait(self._ends, timeout=END_SECONDS)

    async def again(self, request: Callable[[int, Suspects], Scan]) -> None:
        """Have everything looked at now, also what was given up."""
        self._suspects.clear()
        self._hurry.set()
        if self._child is not None and self._stream is not None:
            self._pending = True
            with suppress(EngineDied):
                await self._child.send(request(self._stream.request_id, self._suspects))

    async def _of_one_child(
        self, request: Callable[[int, Suspects], Scan | FindModel | ReadModel]
    ) -> AsyncGenerator[Answer, None]:
        """Raises Stalled or EngineDied; leaves no child behind."""
        self._childless.clear()
        try:
            async with aclosing(self._with_a_child(request)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._childless.set()

    async def _with_a_child(
        self, request: Callable[[int, Suspects], Scan | FindModel | ReadModel]
    ) -> AsyncGenerator[Answer, None]:
        self._at = Spot()
        child = await self._start()
        try:
            if self._closed.is_set():  # meanwhile
                return
            with child.open_stream() as stream:
                self._child, self._stream = child, stream
                self._pending = True
                await child.send(request(stream.request_id, self._suspects))
                watch = StallWatch(self._stall_seconds)
                while True:
                    busy = self._pending or bool(self._at.path)
                    event = await (watch.wait(stream.next) if busy else self._until_due(stream))
                    match event:
                        case None:
                            self._suspects.forgive()
                            self._pending = True
                            await child.send(request(stream.request_id, self._suspects))
                        case Reading(spot=spot):
                            self._at = spot
                        case ScanFinished():
                            self._pending, self._at = False, Spot()
                            self._suspects.settle()
                            yield event
                        case ModelsFound() | ModelRead() | ModelMissing():
                            yield event
                        case _:
                            raise EngineDied("The search for models answered with something else.", repr(event))
        finally:
            self._child = self._stream = None
            await self._end(child)

    async def _until_due(self, stream: EventStream) -> EngineEvent | None:
        """What the child says next, or None as soon as a spot shall have another chance."""
        try:
            async with asyncio.timeout(self._suspects.due_in):
                return await stream.next()
        except TimeoutError:
            return None

    async def _end(self, child: EngineClient) -> None:
        """Ask, then insist; a child that cannot be ended now is left to the system, which ends it as soon as it can."""
        ending = asyncio.create_task(child.stop(grace=END_SECONDS / 8), name=f"end of scanner {child.pid}")
        self._ends.add(ending)
        ending.add_done_callback(self._ends.discard)
        await asyncio.wait({ending}, timeout=END_SECONDS)

    async def _pause(self, deaths: int) -> None:
        """Before another try, longer each time; a rescan cuts it short."""
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (deaths - 2))):
                await self._hurry.wait()
