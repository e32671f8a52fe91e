"""The models of this machine, as they are and as they change: found by a child, so that no file can hold up the user.

::

    async with aclosing(catalog.follow()) as events:
        async for event in events:        # first what the index knows, then what is on the disk, then its changes
            match event:
                case CatalogChanged(): ...
                case CatalogSettled(): ...
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from itertools import islice
from pathlib import Path

from msgspec import Struct

from modeldeck.backend.catalog.finding import ModelAmbiguous, ModelNotFound
from modeldeck.backend.catalog.index import Index, read_index
from modeldeck.backend.catalog.messages import (
    FindModel,
    ModelMissing,
    ModelRead,
    ModelsFound,
    ReadModel,
    Scan,
    ScanFinished,
)
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.catalog.session import STALL_SECONDS, Restarted, ScannerSession
from modeldeck.backend.catalog.suspects import RETRY_SECONDS, Suspects
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.spare_engine import EngineStarter

MOST_DEATHS = 3
"""Of children in a row; then the search counts as failed for now, and is tried again later."""
_ROWS_A_TURN = 250


class CatalogChanged(Struct, frozen=True):
    """Some models are new, others are not as they were, others are gone. A model keeps its place in the order."""

    added: tuple[ModelInfo, ...] = ()
    changed: tuple[ModelInfo, ...] = ()
    removed: tuple[str, ...] = ()
    """Ids."""


class CatalogSettled(Struct, frozen=True):
    """Everything was looked at; what comes now are changes on the disk."""

    looked_in: tuple[str, ...] = ()
    """Where it looked, in words; only when it found nothing."""
    problem: str = ""
    """Why there was no looking at everything, a sentence, or empty."""


CatalogEvent = CatalogChanged | CatalogSettled


def _silent(_line: str) -> None:
    """Nobody reads the log."""


class LiveCatalog:
    """Follows the models in the user's places. It starts no process until it is asked for something.

    ``index`` is the file that keeps what was found; without one, everything is read anew.
    """

    def __init__(
        self,
        places: Places,
        index: Path | None,
        start: EngineStarter,
        *,
        log: Callable[[str], None] = _silent,
        stall_seconds: float = STALL_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._places = places
        self._index = index
        self._index_path = b"" if index is None else os.fsencode(index)
        self._start = start
        self._log = log
        self._stall_seconds = stall_seconds
        self._retry_seconds = retry_seconds
        self._session: ScannerSession | None = None
        self._models: dict[str, ModelInfo] = {}
        self._told: set[str] = set()
        self._kept: set[str] = set()
        """Models of folders that were left alone the last time, so that nobody knows whether they are still there."""

    async def follow(self) -> AsyncGenerator[CatalogEvent, None]:
        """Every model and every change of one, until it is closed; at most one at a time.

        First come the rows of the index, at once, and then what is different on the disk. Never raises for what is
        there; no process is left once it is closed.
        """
        self._models, self._kept = {}, set()
        stamp = ""
        index = read_index(self._index) if self._index is not None else None
        if index is not None and index.places == self._places:
            stamp = index.stamp
            async with aclosing(self._of_index(index)) as changes:
                async for change in changes:
                    yield change
        session = self._session = ScannerSession(
            self._start, stall_seconds=self._stall_seconds, retry_seconds=self._retry_seconds
        )
        async with aclosing(session.answers(self._first_request(stamp))) as answers:
            async for answer in answers:
                for event in self._events(answer):
                    yield event

    async def rescan(self) -> None:
        """Look at everything now, also at what was given up; the next CatalogSettled says that it is done."""
        if self._session is not None:
            await self._session.again(lambda request_id, suspects: self._scan(request_id, suspects, ""))

    async def close(self) -> None:
        """End what follows, and its process."""
        if self._session is not None:
            await self._session.close()

    async def models(self) -> tuple[list[ModelInfo], CatalogSettled]:
        """Every model, once looked at. Raises CatalogError where that cannot be done."""
        async with aclosing(self.follow()) as events:
            async for event in events:
                if isinstance(event, CatalogSettled):
                    if event.problem:
                        raise CatalogError(event.problem)
                    return list(self._models.values()), event
        raise CatalogError("The search for models ended early.")

    async def find(self, text: str) -> ModelInfo:
        """The model with this id, name, unique part of a name, or path. Raises ModelNotFound or CatalogError."""
        index, named = self._index_path, os.fsencode(text)
        return await self._ask(
            lambda number, suspects: FindModel(number, self._places, index, named, suspects.skipped, suspects.cautious)
        )

    async def read(self, path: Path, source: ModelSource) -> ModelInfo:
        """One model folder or ``.gguf`` file, wherever it lies.

        Raises ModelNotFound where there is nothing, CatalogError when reading it hangs or crashes.
        """
        named = os.fsencode(path)
        return await self._ask(lambda number, _suspects: ReadModel(number, named, source))

    async def _ask(self, request: Callable[[int, Suspects], FindModel | ReadModel]) -> ModelInfo:
        session = ScannerSession(self._start, stall_seconds=self._stall_seconds)
        async with aclosing(session.answers(request)) as answers:
            async for answer in answers:
                match answer:
                    case ModelRead(model=model):
                        return model
                    case ModelMissing(message=message, ambiguous=ambiguous):
                        raise ModelAmbiguous(message) if ambiguous else ModelNotFound(message)
                    case Restarted(why=why, deaths=deaths):
                        self._log(why)
                        if deaths >= MOST_DEATHS or isinstance(request(0, Suspects()), ReadModel):
                            raise CatalogError(f"{why} Nothing was found.")
                    case _:
                        raise CatalogError("The search for models answered with something else.")
        raise CatalogError("The search for models ended early.")

    async def _of_index(self, index: Index) -> AsyncGenerator[CatalogChanged, None]:
        entries = index.entries()
        while batch := tuple(entry.model for entry in islice(entries, _ROWS_A_TURN)):
            yield self._merged(batch)
            await asyncio.sleep(0)

    def _first_request(self, stamp: str) -> Callable[[int, Suspects], Scan]:
        stamps = iter((stamp,))

        def request(request_id: int, suspects: Suspects) -> Scan:
            return self._scan(request_id, suspects, next(stamps, ""))

        return request

    def _scan(self, request_id: int, suspects: Suspects, stamp: str) -> Scan:
        return Scan(request_id, self._places, self._index_path, stamp, suspects.skipped, suspects.cautious)

    def _events(self, answer: object) -> Iterable[CatalogEvent]:
        match answer:
            case ModelsFound(models=models):
                self._told.update(model.id for model in models)
                change = self._merged(models)
                if change.added or change.changed:
                    yield change
            case ScanFinished():
                if removed := self._removed(answer):
                    yield CatalogChanged(removed=removed)
                yield CatalogSettled(answer.looked_in)
            case Restarted(why=why, deaths=deaths):
                self._told = set()
                self._log(why)
                if deaths >= MOST_DEATHS:
                    yield CatalogSettled(problem=f"The search for models fails again and again. {why}")

    def _merged(self, models: Iterable[ModelInfo]) -> CatalogChanged:
        """Of a model that was told twice the newer row counts."""
        newest = {model.id: model for model in models}
        added = tuple(model for model in newest.values() if model.id not in self._models)
        changed = tuple(model for model in newest.values() if self._models.get(model.id, model) != model)
        self._models |= newest
        return CatalogChanged(added, changed)

    def _removed(self, scan: ScanFinished) -> tuple[str, ...]:
        there = self._told if scan.complete else self._models.keys() - set(scan.gone) - (self._kept - self._told)
        missing = [model_id for model_id in self._models if model_id not in there]
        left_alone = self._places.left_alone(scan.left_alone)
        self._kept = {model_id for model_id in missing if left_alone(self._models[model_id].path)}
        removed = tuple(model_id for model_id in missing if model_id not in self._kept)
        for model_id in removed:
            del self._models[model_id]
        self._told = set()
        return removed
