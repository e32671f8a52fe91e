"""From "the user wants other settings" to what holds: the form, the presets, and edits made elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldeck.backend.text import clean_name
from modeldeck.config.store import SaveError

if TYPE_CHECKING:
    from textual.screen import Screen

    from modeldeck.backend.models import LoadedModel, ModelInfo
    from modeldeck.tui.services import Services

_LOOK_SECONDS = 1.0
"""Between two looks at the settings file, which an editor may write."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whose settings are meant; nobody's are those of all models."""

    model_id: str | None = None
    name: str | None = None
    info: ModelInfo | None = None
    loaded: LoadedModel | None = None

    @property
    def context_length(self) -> int | None:
        """Tokens, where that is known."""
        if self.loaded is not None:
            return self.loaded.context_length
        return self.info.context_length if self.info is not None else None


class GenerationFlow:
    """``target`` is the model that is talked to, else the highlighted one; ``changed`` is told that others may hold."""

    def __init__(
        self, screen: Screen[Any], services: Services, target: Callable[[], Target], changed: Callable[[], None]
    ) -> None:
        self._screen = screen
        self._store = services.generation
        self._desk = services.desk
        self._log = services.log
        self._target = target
        self._changed = changed
        self._looking = False

    def start(self) -> None:
        """Look at the file from now on."""
        self._screen.set_interval(_LOOK_SECONDS, self._look)

    def learn(self, target: Target) -> None:
        """Read what this model's own file says; what holds is told when that is known."""
        if target.model_id is not None and target.info is not None:
            device = target.loaded.device if target.loaded is not None else None
            task = self._desk.learn(target.model_id, target.info.path, target.info.shape, device)
            task.add_done_callback(lambda _: self._changed())

    def edit(self) -> None:
        """Open the form."""
        self._screen.run_worker(self._open(self._show_form), group="generation", exclusive=True)

    def presets(self) -> None:
        """Open the presets."""
        self._screen.run_worker(self._open(self._show_presets), group="generation", exclusive=True)

    def take(self, preset: str | None) -> None:
        """Take a preset for the model that is meant; says what then holds."""
        self._screen.run_worker(self._take(preset), group="generation", exclusive=True)

    async def _open(self, show: Callable[[Target], None]) -> None:
        target = self._target()
        self.learn(target)
        if target.model_id is not None:
            await self._desk.ready(target.model_id)
        show(target)

    def _show_form(self, target: Target) -> None:
        from modeldeck.tui.screens.generation_editor import GenerationEditor  # after the first frame

        form = GenerationEditor(self._desk, target.model_id, target.name, target.context_length)
        self._screen.app.push_screen(form, lambda _: self._changed())

    def _show_presets(self, target: Target) -> None:
        from modeldeck.tui.generation_draft import GenerationDraft
        from modeldeck.tui.screens.preset_dialog import PresetDialog

        chosen = GenerationDraft(self._desk, target.model_id).chosen()
        dialog = PresetDialog(self._store, target.model_id, target.name, chosen)
        self._screen.app.push_screen(dialog, lambda _: self._changed())

    async def _take(self, preset: str | None) -> None:
        target = self._target()
        try:
            await asyncio.to_thread(self._store.choose_preset, preset, target.model_id)
        except SaveError as error:
            self._screen.notify(clean_name(str(error), 300), severity="error", markup=False)
            return
        whom = clean_name(target.name or target.model_id or "all models", 60)
        left = len(self._desk.covered(target.model_id))
        but = f"; {left} of its values are set otherwise here" if left else ""
        self._screen.notify(f"{clean_name(preset or 'No preset')} for {whom}{but}.", markup=False)
        self._changed()

    async def _look(self) -> None:
        """A disk that hangs is asked only once."""
        if self._looking:
            return
        self._looking = True
        try:
            if not await asyncio.to_thread(self._store.reload):
                return
        finally:
            self._looking = False
        for problem in self._store.problems:
            self._log.append(str(problem))
            self._screen.notify(str(problem), title="Configuration", severity="warning", timeout=12, markup=False)
        self._changed()
        from modeldeck.tui.screens.generation_editor import GenerationEditor

        for screen in self._screen.app.screen_stack:
            if isinstance(screen, GenerationEditor):
                screen.refresh_from_file()
