"""From the catalog to the list: what is found, what has changed and what is gone, as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from modeldeck.backend.catalog.live_catalog import CatalogChanged, CatalogSettled
from modeldeck.backend.models import ModelInfo

if TYPE_CHECKING:
    from textual.widget import Widget
    from textual.worker import Worker

    from modeldeck.backend.catalog.live_catalog import LiveCatalog


class Finds(Protocol):
    """Who is told what was found."""

    def put(self, models: Iterable[ModelInfo]) -> None:
        """These are new, or have changed."""
        ...

    def drop(self, ids: Iterable[str]) -> None:
        """These are gone."""
        ...


class CatalogFeed:
    """Follows the catalog in a worker of its owner, from the first ``look`` on.

    ``settled`` is called whenever everything was looked at.
    """

    def __init__(
        self, owner: Widget, catalog: LiveCatalog, finds: Finds, settled: Callable[[CatalogSettled], None]
    ) -> None:
        self._owner = owner
        self._catalog = catalog
        self._finds = finds
        self._settled = settled
        self._worker: Worker[None] | None = None

    def look(self) -> None:
        """Look at everything now; what is shown stays until it is known to be gone."""
        if self._worker is None or self._worker.is_finished:
            self._worker = self._owner.run_worker(self._follow(), group="catalog", exit_on_error=False)
        else:
            self._owner.run_worker(self._catalog.rescan(), group="catalog", exit_on_error=False)

    async def _follow(self) -> None:
        async with aclosing(self._catalog.follow()) as events:
            async for event in events:
                match event:
                    case CatalogChanged():
                        self._take(event)
                    case CatalogSettled():
                        self._settled(event)

    def _take(self, change: CatalogChanged) -> None:
        if change.removed:
            self._finds.drop(change.removed)
        if change.added or change.changed:
            self._finds.put((*change.added, *change.changed))
