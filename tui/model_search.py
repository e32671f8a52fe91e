"""Looks for models in a thread and hands them on in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from textual.worker import get_current_worker

from modeldeck.backend.models import ModelInfo

if TYPE_CHECKING:
    from textual.widget import Widget

    from modeldeck.backend.catalog.catalog import Catalog

_BATCH_SECONDS = 0.1
"""How long found models are gathered before they are shown together."""


class Finds(Protocol):
    """Who is told what was found."""

    def put(self, models: Iterable[ModelInfo]) -> None:
        """These are new, or have changed."""
        ...

    def drop(self, ids: Iterable[str]) -> None:
        """These are gone."""
        ...


class ModelSearch:
    """One search at a time; a newer one ends the one before.

    ``finished`` is called when everything was seen, with the places that were looked in where nothing was found.
    """

    def __init__(
        self, owner: Widget, catalog: Catalog, finds: Finds, finished: Callable[[tuple[str, ...]], None]
    ) -> None:
        self._owner = owner
        self._catalog = catalog
        self._finds = finds
        self._finished = finished
        self._number = 0
        self._known: set[str] = set()
        """What this search or the one before has found."""
        self._found: set[str] = set()

    def start(self) -> None:
        """Look for models again; what is shown stays until everything was seen."""
        self._number += 1
        self._found = set()
        number = self._number
        self._owner.run_worker(lambda: self._search(number), thread=True, exclusive=True, group="search")

    def _search(self, number: int) -> None:
        worker = get_current_worker()
        found = False
        for batch in _batches(self._catalog.scan(lambda: worker.is_cancelled)):
            if worker.is_cancelled:
                return
            found = True
            self._owner.call_later(self._take, batch, number)
        looked_in = () if found else self._catalog.looked_in()
        if not worker.is_cancelled:
            self._owner.call_later(self._finish, looked_in, number)

    def _take(self, models: list[ModelInfo], number: int) -> None:
        if number == self._number:
            self._found.update(model.id for model in models)
            self._finds.put(models)

    def _finish(self, looked_in: tuple[str, ...], number: int) -> None:
        if number == self._number:
            gone, self._known = self._known - self._found, self._found
            self._finds.drop(gone)
            self._finished(looked_in)


def _batches(models: Iterable[ModelInfo]) -> Iterator[list[ModelInfo]]:
    """Gather models, so that the list is drawn a few times a second and not once for each."""
    batch: list[ModelInfo] = []
    due = monotonic() + _BATCH_SECONDS / 5  # the first ones soon
    for model in models:
        batch.append(model)
        if monotonic() >= due:
            yield batch
            batch = []
            due = monotonic() + _BATCH_SECONDS
    if batch:
        yield batch
