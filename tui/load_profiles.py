"""Named ways to load, applied to models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import structs

from modeldeck.backend.load_defaults import default_request, options_of, with_options
from modeldeck.backend.models import LoadRequest, ModelInfo

if TYPE_CHECKING:
    from modeldeck.tui.services import Services

_OF_ONE_MODEL = frozenset({"adapter", "adapter_bytes"})
"""Options that a profile never says: they mean nothing to another model."""


class LoadProfiles:
    """What ``services.profiles`` keeps, as requests. What changes it waits for the disk and raises SaveError."""

    def __init__(self, services: Services) -> None:
        self._profiles = services.profiles
        self._remembered = services.remembered
        self._settings = services.settings

    @property
    def names(self) -> tuple[str, ...]:
        """Every profile, the oldest first."""
        return self._profiles.names

    def usual(self, model: ModelInfo) -> LoadRequest:
        """How enter loads a model; never with its code.

        By the profile that was set for it, else as it was loaded last, else by the profile for all models, else by the
        settings.
        """
        plain = default_request(self._settings, model)
        own, for_all = self._profiles.own_default(model.id), self._profiles.default(None)
        if own is not None:
            return self.request(own, model)
        if (last := self._remembered.get(model.id)) is not None:
            return with_options(plain, last)
        return self.request(for_all, model) if for_all is not None else plain

    def request(self, name: str, model: ModelInfo) -> LoadRequest:
        """The load of a model by a profile; by the settings where the profile is gone."""
        plain = default_request(self._settings, model)
        options = self._profiles.get(name, options_of(plain))
        if options is None:
            return plain
        if options.quantization != plain.quantization and model.quantization is not None:
            options = structs.replace(options, quantization=plain.quantization.value)  # it is stored quantized
        return with_options(plain, options)

    def is_default(self, name: str, model_id: str | None) -> bool:
        """Whether this profile was set for the model, or with None for all models."""
        found = self._profiles.default(None) if model_id is None else self._profiles.own_default(model_id)
        return found == name

    async def save(self, name: str, model: ModelInfo, request: LoadRequest) -> str:
        """Keep what this request says beside the settings; returns the name as it is kept."""
        plain, chosen = options_of(default_request(self._settings, model)), options_of(request)
        said = [
            field
            for field in chosen.__struct_fields__
            if getattr(chosen, field) != getattr(plain, field) and field not in _OF_ONE_MODEL
        ]
        return await asyncio.to_thread(self._profiles.save, name, chosen, said)

    async def set_default(self, name: str, model_id: str | None, *, default: bool) -> None:
        """Take this profile for the model, or for all, unless another is chosen; or no longer."""
        if default != self.is_default(name, model_id):
            await asyncio.to_thread(self._profiles.set_default, name if default else None, model_id)

    async def delete(self, name: str) -> None:
        """Forget it."""
        await asyncio.to_thread(self._profiles.delete, name)
