"""What a model itself says about generation, in ``generation_config.json``, in the words of the user's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from modeldeck.backend.catalog.files import ModelFolder, Unreadable
from modeldeck.backend.catalog.json_file import read_json_object
from modeldeck.config.declaration import InvalidValue, convert, settings_of
from modeldeck.config.generation import GenerationSettings

FILE = "generation_config.json"
MAX_BYTES = 2**20
_OURS_ALONE = frozenset({"seed", "system_prompt"})
"""Settings that transformers' ``GenerationConfig`` does not have."""
_OTHER_NAMES = {"stop": "stop_strings"}


def names() -> dict[str, str]:
    """The settings that a ``GenerationConfig`` has, and what they are called there."""
    ours = (setting.name for setting in settings_of(GenerationSettings))
    return {name: _OTHER_NAMES.get(name, name) for name in ours if name not in _OURS_ALONE}


def settings_from(values: Mapping[str, Any]) -> GenerationSettings:
    """The settings among the values of a ``GenerationConfig``; what is not allowed says nothing."""
    valid: dict[str, Any] = {}
    theirs = names()
    for setting in settings_of(GenerationSettings):
        value = values.get(theirs.get(setting.name, ""))
        if setting.name == "stop" and isinstance(value, str):
            value = [value]
        if value is None:
            continue
        try:
            valid[setting.name] = convert(setting, value)
        except InvalidValue:
            continue
    return msgspec.convert(valid, GenerationSettings)


def read_model_defaults(path: str) -> GenerationSettings:
    """What the model at this path says; nothing where it has no such file or that cannot be used. Blocking.

    ``path`` is a folder, or a GGUF file, which has none.
    """
    try:
        if not Path(path).is_dir():
            return GenerationSettings()
        real = os.path.realpath(path)
        roots = () if "/snapshots/" not in path else (os.path.realpath(path.partition("/snapshots/")[0]),)
        return settings_from(read_json_object(ModelFolder(real, roots), FILE, MAX_BYTES))
    except (OSError, ValueError, Unreadable):
        return GenerationSettings()
