"""A ``LiveCatalog`` over a tree of made-up models, and what it tells."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from modeldeck.backend.catalog.live_catalog import CatalogChanged, CatalogSettled, LiveCatalog
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.catalog.suspects import RETRY_SECONDS
from modeldeck.backend.embedded import scanner_environment
from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.models import ModelInfo

SCANNER = "from modeldeck.backend.catalog.scanner.__main__ import main; main()"


class Scanners:
    """Starts scanners; ``before`` is code that each of them runs first, to misbehave."""

    def __init__(self, before: str = "") -> None:
        self.before = before
        self.pids: list[int] = []

    async def __call__(self) -> EngineClient:
        command = (sys.executable, "-P", "-c", f"{self.before}\n{SCANNER}")
        child = await EngineClient.start(command, scanner_environment(os.environ))
        self.pids.append(child.pid)
        return child


class Follower:
    """Takes in what a catalog tells, as the list of the app does."""

    def __init__(self) -> None:
        self.rows: dict[str, ModelInfo] = {}
        self.settled: list[CatalogSettled] = []
        self.removed: list[str] = []
        self.added: list[str] = []
        self.changed: list[str] = []
        self._moved = asyncio.Event()

    def take(self, event: CatalogChanged | CatalogSettled) -> None:
        if isinstance(event, CatalogSettled):
            self.settled.append(event)
        else:
            told = [model.id for model in (*event.added, *event.changed)]
            assert len(told) == len(set(told)), "a model was told twice in one event"
            self.rows |= {model.id: model for model in (*event.added, *event.changed)}
            self.added += [model.name for model in event.added]
            self.changed += [model.name for model in event.changed]
            for model_id in event.removed:
                self.removed.append(self.rows.pop(model_id).name)
        self._moved.set()

    @property
    def names(self) -> list[str]:
        return [model.name for model in self.rows.values()]

    def problems(self) -> dict[str, tuple[str, ...]]:
        return {model.name: model.problems for model in self.rows.values()}

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait for what is told; fails with what was told so far."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise AssertionError(f"never happened: {self.problems()} {self.settled} {self.removed}") from None


def live(
    folder: Path,
    index: Path,
    *,
    scanners: Scanners | None = None,
    stall_seconds: float = 5.0,
    retry_seconds: float = RETRY_SECONDS,
) -> LiveCatalog:
    """A catalog of one model folder and a hub cache beside it."""
    places = Places.of([folder], folder.parent / "hub", starter=False)
    return LiveCatalog(places, index, scanners or Scanners(), stall_seconds=stall_seconds, retry_seconds=retry_seconds)


@asynccontextmanager
async def followed(catalog: LiveCatalog) -> AsyncIterator[Follower]:
    """Follow in the background; afterwards it is closed, and no process is left."""
    follower = Follower()

    async def run() -> None:
        async with aclosing(catalog.follow()) as events:
            async for event in events:
                follower.take(event)

    task = asyncio.create_task(run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.wait({task})
