"""Has the files of a model read while its load dialog is open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldeck.backend.models import ModelFormat, ModelInfo

if TYPE_CHECKING:
    from textual.screen import Screen

    from modeldeck.backend.prefetch import Prefetch
    from modeldeck.tui.services import Services


class ReadAhead:
    """At most one model at a time; nothing where the settings say so, or while the memory is unknown."""

    def __init__(self, screen: Screen[Any], services: Services) -> None:
        self._screen = screen
        self._wanted = services.settings.prefetch
        self._memory = services.memory
        self._copies = services.gguf_copies
        self._model: ModelInfo | None = None
        self._running: Prefetch | None = None

    def begin(self, model: ModelInfo) -> None:
        """The dialog of this model is open."""
        self.end()
        if self._wanted and self._memory.reading is not None:
            self._model = model
            self._screen.run_worker(self._start(model), group="prefetch", exclusive=True, exit_on_error=False)

    def end(self) -> None:
        """It is closed; what was asked of the disk comes all the same."""
        self._model = None
        if self._running is not None:
            self._running.stop()
            self._running = None

    async def _start(self, model: ModelInfo) -> None:
        from modeldeck.backend.prefetch import Prefetch, weight_files  # no first frame needs it

        def look() -> list[Path]:
            copy = self._copies.find(Path(model.path)) if model.format is ModelFormat.GGUF else None
            return weight_files(model, copy)

        files = await asyncio.to_thread(look)
        reading = self._memory.reading
        if model is self._model and reading is not None:
            self._running = Prefetch(files, reading.ram.free_bytes)
