"""Who says what about each generation setting, the weakest first; the strongest that says anything holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import UNSET

from modeldeck.config.generation import GenerationSettings, merge


class Layer(StrEnum):
    """Where a value comes from, in the words of the form; in order of strength."""

    BUILT_IN = "built-in"
    MODEL_FILE = "model file"
    """The model's own ``generation_config.json``."""
    ALL_MODELS = "all models"
    PRESET = "preset"
    THIS_MODEL = "this model"
    SESSION = "this session"
    """Until the program ends; never saved."""

    @property
    def strength(self) -> int:
        """Its place in the order."""
        return list(Layer).index(self)

    @property
    def by_user(self) -> bool:
        """Whether somebody chose it here."""
        return self.strength >= Layer.ALL_MODELS.strength


@dataclass(frozen=True, slots=True)
class Held:
    """A value, and who says so."""

    value: object
    layer: Layer
    """``BUILT_IN`` also where nobody says anything and the value is ``UNSET``."""


@dataclass(frozen=True)
class Layers:
    """What each layer says; one that is missing says nothing."""

    said: dict[Layer, GenerationSettings]

    @property
    def effective(self) -> GenerationSettings:
        """What holds."""
        return merge(*(self.said[layer] for layer in Layer if layer in self.said))

    def held(self, name: str, below: Layer | None = None) -> Held:
        """What holds for one setting; with ``below``, what would hold if that layer and those above said nothing."""
        for layer in reversed(Layer):
            if below is not None and layer.strength >= below.strength:
                continue
            if layer in self.said and (value := getattr(self.said[layer], name)) is not UNSET:
                return Held(value, layer)
        return Held(UNSET, Layer.BUILT_IN)

    def without(self, layer: Layer) -> Layers:
        """The same without what one layer says."""
        return Layers({each: its for each, its in self.said.items() if each is not layer})

    def with_layer(self, layer: Layer, settings: GenerationSettings) -> Layers:
        """The same with one layer in another's place."""
        return Layers({**self.said, layer: settings})
