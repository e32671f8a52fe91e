"""Whether the pickled weights of a model may be read: asked once for these very files, and remembered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import structs

from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from modeldeck.tui.services import Services


class PickleConsent:
    """Remembers the answers. ``is_allowed`` touches the disk."""

    def __init__(self, services: Services) -> None:
        self._consents = services.pickle_consents
        self._log = services.log
        self._refused: set[str] = set()

    def refused(self, model_id: str) -> None:
        """An engine found pickles where the list shows none, as in an adapter; from now on it is asked for them."""
        self._refused.add(model_id)

    def concerns(self, model: ModelInfo) -> bool:
        """Whether there is anything to be allowed."""
        return model.format is ModelFormat.PICKLE or model.id in self._refused

    def is_allowed(self, model: ModelInfo, request: LoadRequest) -> bool:
        """Whether the files that this load would read were allowed before. Blocking."""
        return self._consents.allows(model.id, _digest(request))

    async def applied(self, model: ModelInfo, request: LoadRequest, *, answered: bool) -> LoadRequest:
        """The request as it may be carried out; what a dialog answered is remembered."""
        if not self.concerns(model):
            return structs.replace(request, allow_pickles=False)
        if answered:
            await self._remember(model, request)
            return request
        return structs.replace(request, allow_pickles=await asyncio.to_thread(self.is_allowed, model, request))

    async def _remember(self, model: ModelInfo, request: LoadRequest) -> None:
        try:
            digest = await asyncio.to_thread(_digest, request) if request.allow_pickles else ""
            if digest:
                await asyncio.to_thread(self._consents.put, model.id, digest)
            else:
                await asyncio.to_thread(self._consents.withdraw, model.id)
        except (OSError, UnicodeEncodeError) as error:
            self._log.append(f"What was allowed of {clean_name(model.name)} is not kept: {clean_name(str(error))}")


def _digest(request: LoadRequest) -> str:
    from modeldeck.backend.pickled_weights import pickles_digest  # no first frame needs it

    return pickles_digest(request)
