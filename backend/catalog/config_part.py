"""One part of a config.json as transformers would read it: other names of a key, and the class's own defaults.

config.json leaves out what is the class's default, and every family has names of its own (``n_embd`` for
``hidden_size``), so both are needed to tell the sizes of a model. ``known_configs.json`` beside this file holds them
for every text configuration of transformers; ``python -m tests.real.library_configs`` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

ENCODER_DECODER = "encoder-decoder"
"""The modality of a model that turns one text into another."""
MAX_COUNT = 2**26
"""Any size above this is absurd; the largest in use are vocabularies, of less than a million."""
MAX_LAYERS = 4096
"""As many layers are absurd; the deepest models in use have less than 200."""


class KnownConfig(Struct, frozen=True):
    """What the library's class for one ``model_type`` says."""

    names: dict[str, str] = {}
    """``attribute_map``: the usual name to the class's own."""
    defaults: dict[str, Any] = {}
    """Values of absent keys, under the class's own names."""
    text: str | None = None
    """The key of the language part, where the configuration has several parts."""
    text_type: str | None = None
    """Its ``model_type``, where the file does not say it."""
    text_defaults: dict[str, Any] = {}
    """What the language part holds where the file leaves all of it out."""
    modality: str = "text"
    """As ``ModelInfo.modality``, or ``ENCODER_DECODER``."""
    loaded_by: str = "AutoModelForCausalLM"
    """The class of transformers that loads such a model."""
    language_class: str | None = None
    """Of a type that takes images, the class of its language part, which ``AutoModelForCausalLM`` loads alone."""
    cannot_chat: str | None = None
    """Why a chat of text alone is not possible, a key of ``modality.REASONS``; None where it is, or not known."""


_UNKNOWN = KnownConfig()


@cache
def _known_configs() -> dict[str, KnownConfig]:
    return msgspec.json.decode(Path(__file__).with_name("known_configs.json").read_bytes(), type=dict[str, KnownConfig])


def known_config(model_type: object) -> KnownConfig:
    """What the library's class says, or nothing for a type that it does not have."""
    return _known_configs().get(model_type, _UNKNOWN) if isinstance(model_type, str) else _UNKNOWN


def is_known(model_type: str) -> bool:
    """Whether transformers has a text configuration of this name."""
    return model_type in _known_configs()


class ConfigPart:
    """The language part of a configuration. A value of the wrong kind, or an absurd one, counts as absent (None)."""

    def __init__(self, values: Mapping[str, Any], model_type: str | None) -> None:
        self.model_type = model_type or ""
        self._known = known_config(model_type)
        self._values = values

    def raw(self, name: str) -> Any:  # whatever the file holds
        """The value as it stands in the file, or the class's default; None where there is neither."""
        own = self._known.names.get(name, name)
        for key in (own, name):
            if key in self._values:
                return self._values[key]
        defaults = self._known.defaults
        return defaults[own] if own in defaults else defaults.get(name)

    def count(self, *names: str) -> int | None:
        """The first of these that is a whole number above 0."""
        for name in names:
            value = self.raw(name)
            if type(value) is int and 0 < value < MAX_COUNT:
                return value
        return None

    def number(self, name: str) -> int | None:
        """As ``count``, but 0 is a value too."""
        value = self.raw(name)
        return value if type(value) is int and 0 <= value < MAX_COUNT else None

    def flag(self, name: str) -> bool:
        """Whether the value is true."""
        return self.raw(name) is True

    def integers(self, name: str) -> list[int] | None:
        """A list of whole numbers, one for a layer at most."""
        value = self.raw(name)
        if isinstance(value, list) and len(value) <= MAX_LAYERS and all(type(item) is int for item in value):
            return value
        return None

    def words(self, name: str) -> list[str] | None:
        """A list of words, one for a layer at most."""
        value = self.raw(name)
        if isinstance(value, list) and len(value) <= MAX_LAYERS and all(isinstance(item, str) for item in value):
            return value
        return None

    def part(self, name: str) -> ConfigPart:
        """A dictionary inside this one (``attn_config``); an empty one where there is none."""
        value = self.raw(name)
        return ConfigPart(value if isinstance(value, dict) else {}, None)


_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
"""Where models of several modalities keep the configuration of their language part."""


def text_part(config: Mapping[str, Any]) -> ConfigPart:
    """The language part of a whole configuration, two levels deep at most; all of it where it has no such part."""
    part, known = config, known_config(config.get("model_type"))
    model_type = config.get("model_type")
    for _ in range(2):
        key = next((name for name in (known.text, *_TEXT_PARTS) if name and isinstance(part.get(name), dict)), None)
        if key is None:
            break
        part = part[key]
        model_type = part.get("model_type")
        if known.text == key and (not is_known(str(model_type)) or not model_type):
            model_type = known.text_type
        known = known_config(model_type)
    if part is config and known.text_type:
        part, model_type = {**known.text_defaults, **config}, known.text_type
    return ConfigPart(part, model_type if isinstance(model_type, str) else None)
