"""The generation settings as the app knows them: our file, the models' own, this session, and what is possible."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, structs

from modeldeck.backend.generation_limits import Abilities, abilities_of
from modeldeck.backend.model_shape import ModelShape
from modeldeck.config.generation import GenerationSettings, merge
from modeldeck.config.generation_layers import Layer, Layers
from modeldeck.config.store import GenerationStore

_NOTHING = GenerationSettings()
_EVERYTHING = Abilities()
_READ_SECONDS = 2.0
"""A disk that takes longer for a small file is not waited for."""


class GenerationDesk:
    """Says what holds for the next reply, and who says so. What it keeps itself is gone with the program."""

    def __init__(self, store: GenerationStore) -> None:
        self.store = store
        self._own: dict[str, GenerationSettings] = {}
        self._abilities: dict[str, Abilities] = {}
        self._session: dict[str | None, GenerationSettings] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}

    def learn(self, model_id: str, path: str, shape: ModelShape | None, device: str | None) -> asyncio.Task[None]:
        """Read what the model's own file says, and judge what it can do; in a thread, since disks may hang.

        ``device`` is where it is loaded; None while it is not.
        """
        from modeldeck.backend.model_defaults import read_model_defaults  # after the first frame

        async def read() -> None:
            own, able = await asyncio.to_thread(lambda: (read_model_defaults(path), abilities_of(shape, device)))
            self._own[model_id], self._abilities[model_id] = own, able

        self._reading[model_id] = task = asyncio.get_running_loop().create_task(read())
        return task

    async def ready(self, model_id: str) -> GenerationSettings:
        """What the next reply of this model is asked for, once its own file was read."""
        if (task := self._reading.get(model_id)) is not None:
            await asyncio.wait({task}, timeout=_READ_SECONDS)
        return self.effective(model_id)

    def layers(self, model_id: str | None) -> Layers:
        """Who says what for this model, or for all with None."""
        layers = self.store.layers(model_id)
        if model_id in self._own:
            layers = layers.with_layer(Layer.MODEL_FILE, self._own[model_id])
        session = merge(self._session.get(None, _NOTHING), self._session.get(model_id, _NOTHING))
        return layers.with_layer(Layer.SESSION, session)

    def effective(self, model_id: str | None) -> GenerationSettings:
        """What holds, without what the model cannot do."""
        return self.abilities(model_id).leave_out(self.layers(model_id).effective)[0]

    def abilities(self, model_id: str | None) -> Abilities:
        """What can be asked of this model; everything, as far as nothing is known."""
        return self._abilities.get(model_id or "", _EVERYTHING)

    def keep_for_session(self, model_id: str | None, values: Mapping[str, Any]) -> None:
        """Let these values hold until the program ends, for one model or for all; ``UNSET`` lets go of one."""
        names = [name for name, value in values.items() if value is UNSET]
        for scope in {model_id, None}:
            held = self._session.get(scope, _NOTHING)
            self._session[scope] = structs.replace(held, **dict.fromkeys(names, UNSET))
        self._session[model_id] = structs.replace(self._session[model_id], **dict(values))

    def preset_title(self, model_id: str | None) -> str:
        """The preset that holds, with a star where something stronger says otherwise; empty without one."""
        name = self.store.preset(model_id)
        return "" if name is None else f"{name}*" if self.covered(model_id) else name

    def covered(self, model_id: str | None) -> tuple[str, ...]:
        """The settings of the preset that do not hold, because something stronger says otherwise."""
        layers = self.layers(model_id)
        said = structs.asdict(layers.said.get(Layer.PRESET, _NOTHING))
        return tuple(
            name for name, value in said.items() if value is not UNSET and layers.held(name).layer is not Layer.PRESET
        )
