"""Settings for one reply, typed in one line: ``temperature 0, seed 7``."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from modeldeck.config.declaration import InvalidValue, parse, settings_of
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.wording import did_you_mean, plain

_SETTINGS = {setting.name: setting for setting in settings_of(GenerationSettings)}


def with_overrides(settings: GenerationSettings, typed: str) -> GenerationSettings:
    """The settings with those that were typed instead, ``name value`` or ``name=value``, with commas between them.

    Raises InvalidValue, whose message is a whole sentence.
    """
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in typed.split(","))):
        name, _, text = part.replace("=", " ", 1).partition(" ")
        name = name.strip().replace("-", "_")
        if name not in _SETTINGS:
            raise InvalidValue(f"{plain(name)} is no setting{did_you_mean(name, _SETTINGS)}")
        try:
            values[name] = parse(_SETTINGS[name], text)
        except InvalidValue as error:
            raise InvalidValue(f"{name} {error}") from None
    return structs.replace(settings, **values)
