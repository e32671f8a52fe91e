"""A chat template decides what a model is sent of what people write: another one than last time is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modeldeck.backend.models import LoadedModel, ModelInfo, ModelSource
from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from modeldeck.tui.services import Services


class TemplateWatch:
    """Compares the template of each load with that of the model's last one, whatever revision that was."""

    def __init__(self, services: Services) -> None:
        self._templates = services.templates
        self._log = services.log

    async def news(self, loaded: LoadedModel, info: ModelInfo | None, name: str) -> str:
        """What the user should know of it; empty where nothing has changed. The new one is remembered."""
        if not loaded.template_digest:
            return ""
        of_hub = info is not None and info.source is ModelSource.HUB_CACHE
        model = info.name if info is not None and of_hub else loaded.model_id
        before = await asyncio.to_thread(self._templates.allowed, model)
        if before == loaded.template_digest:
            return ""
        try:
            await asyncio.to_thread(self._templates.put, model, loaded.template_digest)
        except (OSError, ValueError) as error:
            self._log.append(f"The chat template of {clean_name(name)} is not remembered: {clean_name(str(error))}")
        if not before:
            return ""
        return (
            f"{clean_name(name)} has another chat template than at its last load: what it is sent of your messages may "
            "differ. Its files say what changed."
        )
