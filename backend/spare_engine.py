"""One engine kept ready in advance, so that a load starts with reading weights and not with imports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import BackendError, EngineDied

EngineStarter = Callable[[], Awaitable[EngineClient]]
"""Starts a child and returns once it said hello. Raises EngineDied; leaves no child behind when it is cancelled."""

QUICK_DEATH_SECONDS = 60.0
"""A spare that dies sooner died of its environment, not of what happened to it."""
QUICK_DEATHS = 2
"""After so many in a row no more spares are started until a load has shown that engines work."""


class SpareEngine:
    """At most one engine that nobody uses yet; ``on_death`` is called when it dies or cannot start."""

    def __init__(
        self, start_engine: EngineStarter, wanted: bool = True, on_death: Callable[[], None] = lambda: None
    ) -> None:
        self._start_engine = start_engine
        self._wanted = wanted
        self._on_death = on_death
        self._starting: asyncio.Task[None] | None = None
        self._engine: EngineClient | None = None
        self._quick_deaths = 0
        self.error: BackendError | None = None
        """Why the last spare died or could not start; None while all is well."""

    @property
    def pid(self) -> int | None:
        """Of the spare, if there is one."""
        return self._engine.pid if self._engine is not None and self._engine.alive else None

    def start(self) -> asyncio.Task[None] | None:
        """Start a spare in the background if it is wanted, missing, and not known to die at once."""
        if not self._wanted or self.pid is not None or self._quick_deaths >= QUICK_DEATHS:
            return None
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start(), name="start of the spare engine")
        return self._starting

    async def until_ready(self) -> None:
        """Returns when the spare has imported its libraries, is gone, or was taken; at once where there is none."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        if self._engine is not None:
            await self._engine.until_ready()

    async def take(self) -> EngineClient:
        """The spare, or else a fresh engine; the caller owns it. Raises EngineDied."""
        if self._starting is not None and not self._starting.done():
            await asyncio.shield(self._starting)
        engine, self._engine = self._engine, None
        return engine if engine is not None and engine.alive else await self._start_engine()

    def trust(self) -> None:
        """An engine has loaded a model: the environment is good, whatever became of earlier spares."""
        self._quick_deaths = 0
        self.error = None

    async def close(self) -> None:
        """End the spare; no other is started after that."""
        self._wanted = False
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.kill()

    async def _start(self) -> None:
        started = monotonic()
        try:
            engine = await self._start_engine()
        except EngineDied as error:
            self._died(error, started)
            return
        self._engine = engine
        engine.gone.add_done_callback(lambda gone: self._gone(engine, gone.result(), started))

    def _gone(self, engine: EngineClient, death: EngineDied, started: float) -> None:
        if self._engine is engine:  # else somebody took it, and its end is theirs
            self._engine = None
            self._died(death, started)

    def _died(self, death: EngineDied, started: float) -> None:
        self.error = death
        self._quick_deaths = self._quick_deaths + 1 if monotonic() - started < QUICK_DEATH_SECONDS else 1
        self._on_death()
