"""From "delete this model" to a disk without it: what is refused, the question, the deletion in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo, ModelSource, ModelStatus
from modeldeck.backend.text import clean_name
from modeldeck.tui import format as fmt

if TYPE_CHECKING:
    from textual.screen import Screen

    from modeldeck.backend.catalog.deletion import DeletionPlan
    from modeldeck.tui.screens.delete_dialog import Shown
    from modeldeck.tui.services import Services


class Deleter(Protocol):
    """Looks at the disk and changes it; blocking. Both raise CatalogError, in one sentence."""

    def plan(self, model: ModelInfo, /) -> Any:
        """A ``DeletionPlan`` of what would go; nothing outside the places that are searched for models ever does."""
        ...

    def delete(self, plan: Any, /) -> object:
        """Delete what the plan says."""
        ...


class DiskDeleter:
    """Deletes below ``folders`` and in ``hub_cache``; ``loaded`` gives the paths that an engine holds now."""

    def __init__(self, folders: Sequence[Path], hub_cache: Path, loaded: Callable[[], Iterable[str]]) -> None:
        self._folders, self._hub_cache, self._loaded = folders, hub_cache, loaded

    def plan(self, model: ModelInfo) -> DeletionPlan:
        """What would go. Blocking; raises CatalogError."""
        from modeldeck.backend.catalog.deletion import plan_deletion

        return plan_deletion(model, self._folders, self._hub_cache, self._loaded())

    def delete(self, plan: DeletionPlan) -> None:
        """Delete it. Blocking; raises CatalogError."""
        from modeldeck.backend.catalog.deletion import delete

        delete(plan, self._loaded())


class DeleteFlow:
    """``deleted`` is told the id of a model whose files are gone; ``changed`` that a deletion was broken off."""

    def __init__(
        self,
        screen: Screen[Any],
        services: Services,
        deleter: Deleter,
        deleted: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._screen = screen
        self._manager = services.manager
        self._log = services.log
        self._deleter = deleter
        self._deleted = deleted
        self._changed = changed
        self._running: set[str] = set()

    def ask(self, model: ModelInfo) -> None:
        """Show what would go and ask; refuses at once what is never deleted."""
        if refusal := self._refusal(model):
            self._say(refusal, "warning")
            return
        from modeldeck.tui.screens.delete_dialog import DeleteDialog

        def answered(plan: Shown | None) -> None:
            if plan is None:
                return
            if refusal := self._refusal(model):  # it was asked for while the dialog was open
                self._say(refusal, "warning")
                return
            self._screen.run_worker(self._delete(model, plan), group="deletion", exit_on_error=False)

        self._screen.app.push_screen(DeleteDialog(model.name, lambda: self._deleter.plan(model)), answered)

    def _refusal(self, model: ModelInfo) -> str:
        name = clean_name(model.name)
        if model.source is ModelSource.STARTER:
            return f"{name} is the starter, which is part of an installed package; it is not deleted here."
        if model.id in self._running:
            return f"{name} is being deleted."
        if self._manager.residents.find(model.id) is not None:
            return f"{name} is loaded. Unload it with u, then delete it."
        request = self._manager.request
        if self._manager.status is ModelStatus.LOADING and request is not None and request.model_id == model.id:
            return f"{name} is being loaded. Stop that with escape, then delete it."
        return ""

    async def _delete(self, model: ModelInfo, plan: Shown) -> None:
        name = clean_name(model.name)
        self._running.add(model.id)
        try:
            await asyncio.to_thread(self._deleter.delete, plan)
        except CatalogError as error:
            self._say(clean_name(str(error), 1000), "error")
            self._changed()
        else:
            self._deleted(model.id)
            freed = f"; {fmt.size(plan.freed_bytes)} are free again" if plan.freed_bytes else ""
            self._say(f"{name} was deleted{freed}.")
        finally:
            self._running.discard(model.id)

    def _say(self, sentence: str, severity: str = "information") -> None:
        self._log.append(sentence)
        self._screen.notify(sentence, severity=severity, markup=False)  # type: ignore[arg-type]  # a literal above
