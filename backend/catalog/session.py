"""A conversation with the scanner that outlives the scanner: what hangs or dies is replaced, its culprit left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

from msgspec import Struct

from modeldeck.backend.catalog.places import Skip, Spot
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.event_stream import EventStream
from modeldeck.backend.protocol import (
    FindModel,
    ModelMissing,
    ModelRead,
    ModelsFound,
    Reading,
    ReadModel,
    Scan,
    ScanFinished,
)
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


class Cause(Struct, frozen=True):
    """Why a child is gone."""

    sentence: str
    culprit: Skip | None = None
    """The spot that the next child leaves alone, where it is known."""


class Suspects:
    """The spots that children hung or died at, and whether the next child shall name each before it touches it."""

    def __init__(self) -> None:
        self.skipped: tuple[Skip, ...] = ()
        self.cautious = False

    def clear(self) -> None:
        """Give all of them another chance."""
        self.skipped, self.cautious = (), False

    def hung(self, at: Spot, seconds: float) -> Cause:
        """Nothing moved for so long."""
        if not at.path:
            self.cautious = True
            return Cause(f"The search for models hung for {seconds:.0f} s and was started again.")
        what = "its header took longer than {} s to read" if at.is_model else "listing it took longer than {} s"
        return self._skip(at, what.format(f"{seconds:.0f}"))

    def died(self, at: Spot, death: EngineDied) -> Cause:
        """Of what is only known if it was cautious: else the spot it told last is long past."""
        if not (self.cautious and at.path):
            self.cautious = True
            return Cause(f"The search for models ended and was started again: {death}")
        self.cautious = False
        return self._skip(at, "reading it crashed the reader")

    def _skip(self, at: Spot, what: str) -> Cause:
        culprit = Skip(at, f"{what}, so it was given up")
        self.skipped = (*self.skipped, culprit)
        return Cause(f"{at.path.decode(errors='replace')}: {culprit.problem}.", culprit)


class ScannerSession:
    """One request to a scanner, and every answer to it, whatever becomes of the process."""

    def __init__(self, start: EngineStarter, *, stall_seconds: float = STALL_SECONDS) -> None:
        self._start = start
        self._stall_seconds = stall_seconds
        self._suspects = Suspects()
        self._at = Spot()
        self._pending = False
        self._child: EngineClient | None = None
        self._stream: EventStream | None = None
        self._hurry = asyncio.Event()
        self._closed = asyncio.Event()

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
            await end(self._child)

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
                    event = await (watch.wait(stream.next) if busy else stream.next())
                    match event:
                        case Reading(spot=spot):
                            self._at = spot
                        case ScanFinished():
                            self._pending, self._at = False, Spot()
                            yield event
                        case ModelsFound() | ModelRead() | ModelMissing():
                            yield event
                        case _:
                            raise EngineDied("The search for models answered with something else.", repr(event))
        finally:
            self._child = self._stream = None
            await end(child)

    async def _pause(self, deaths: int) -> None:
        """Before another try, longer each time; a rescan cuts it short."""
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (deaths - 2))):
                await self._hurry.wait()


async def end(child: EngineClient) -> None:
    """Ask, then insist; a child that cannot be ended now is left to the system, which ends it as soon as it can."""
    ending = asyncio.create_task(child.stop(grace=END_SECONDS / 4), name=f"end of scanner {child.pid}")
    await asyncio.wait({ending}, timeout=END_SECONDS)
