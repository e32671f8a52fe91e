"""What ``generation.toml`` looks like, and how a save changes it without losing what it does not understand.

::

    schema_version = 1

    [all_models]
    temperature = 0.5

    [models."org/name@revision"]
    system_prompt = "Answer in one line."
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, structs

from modeldeck.config.declaration import InvalidValue, Setting, convert, settings_of
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.toml_file import ConfigProblem, Damaged, Unreadable, read_toml
from modeldeck.config.wording import did_you_mean, plain, shown_value

SCHEMA_VERSION = 1
_HEADER = "# Kept by modeldeck: it writes this file again at every save, and comments are not kept.\n"
_TABLES = ("schema_version", "all_models", "models")


class NewerSchema(Unreadable):
    """A newer modeldeck wrote the file, so this one neither uses nor changes it."""


class Scopes(Struct):
    """What the file says, by scope; only what is valid."""

    all_models: GenerationSettings = GenerationSettings()
    models: dict[str, GenerationSettings] = {}  # msgspec copies an empty default


def read_document(path: Path) -> dict[str, Any] | None:
    """Read the whole file, whatever keys it holds; None when there is none.

    Raises ``NewerSchema``, ``Damaged`` (an empty file counts: a crash of the system leaves those) or ``Unreadable``.
    """
    document = read_toml(path)
    if document == {}:
        raise Damaged("is empty")
    version = document.get("schema_version") if document else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerSchema(
            f"was written by a newer modeldeck (schema_version {shown_value(version)}, known here is {SCHEMA_VERSION}),"
            " so it is neither used nor changed"
        )
    return document


def understand(path: Path, document: dict[str, Any]) -> tuple[Scopes, tuple[ConfigProblem, ...]]:
    """Sort a document into scopes; everything wrong becomes a problem and everything else still counts."""
    scopes = Scopes()
    problems: list[ConfigProblem] = []

    def complain(key: str, message: str) -> None:
        problems.append(ConfigProblem(path, plain(key), message))

    def scope(key: str, table: object) -> GenerationSettings:
        if not isinstance(table, dict):
            complain(key, f"must be a table, not {shown_value(table)}")
            return GenerationSettings()
        valid: dict[str, Any] = {}
        for name, value in table.items():
            try:
                valid[name] = _checked(name, value)
            except InvalidValue as problem:
                complain(f"{key}.{name}", str(problem))
        return msgspec.convert(valid, GenerationSettings)

    version = document.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        complain("schema_version", f"must be {SCHEMA_VERSION}, not {shown_value(version)}")
    for key in (key for key in document if key not in _TABLES):
        belongs = "; it belongs under [all_models]" if key in _settings() else did_you_mean(key, _TABLES)
        complain(key, f"is not known here{belongs}")
    if "all_models" in document:
        scopes.all_models = scope("all_models", document["all_models"])
    models = document.get("models", {})
    if isinstance(models, dict):
        scopes.models = {model: scope(f"models.{model}", table) for model, table in models.items()}
    else:
        complain("models", f"must be a table, not {shown_value(models)}")
    return scopes, tuple(problems)


def with_scope(document: dict[str, Any], model_id: str | None, overrides: GenerationSettings) -> dict[str, Any]:
    """The document with one scope replaced (None is all models); the rest of it, understood or not, stays.

    Within the scope, unknown keys stay too, and so does a bad value until that very setting is saved.
    """
    changed = dict(document)
    if model_id is None:
        _put(changed, "all_models", overrides)
    else:
        models = changed.get("models")
        changed["models"] = dict(models) if isinstance(models, dict) else {}
        _put(changed["models"], model_id, overrides)
        if not changed["models"]:
            del changed["models"]
    return changed | {"schema_version": SCHEMA_VERSION}


def would_lose(document: dict[str, Any], model_id: str | None) -> bool:
    """Whether something that is no table stands where this scope has to go."""
    if model_id is None:
        place = document.get("all_models", {})
    else:
        place = document.get("models", {})
        place = place.get(model_id, {}) if isinstance(place, dict) else place
    return not isinstance(place, dict)


def to_text(document: dict[str, Any]) -> str:
    """Write a document as TOML. Raises ValueError or RecursionError for what only a parser can bear."""
    import tomli_w  # only a save needs it

    first = {name: document[name] for name in _TABLES if name in document}
    return _HEADER + tomli_w.dumps(first | document)


def checked(overrides: GenerationSettings) -> GenerationSettings:
    """The same settings, every value checked; constructors check nothing. Raises ``InvalidValue`` with the label."""
    valid: dict[str, Any] = {}
    for name, value in _set_values(overrides).items():
        try:
            valid[name] = _checked(name, value)
        except InvalidValue as problem:
            raise InvalidValue(f"{_settings()[name].label} {problem}") from None
    return msgspec.convert(valid, GenerationSettings)


@cache
def _settings() -> dict[str, Setting]:
    """The generation settings by name; not at import, where describing them would hold up the first frame."""
    return {setting.name: setting for setting in settings_of(GenerationSettings)}


def _checked(name: str, value: object) -> Any:
    """One value of a scope; raises ``InvalidValue``, for an unknown name too."""
    if name not in _settings():
        raise InvalidValue(f"is not a generation setting{did_you_mean(name, _settings())}")
    return convert(_settings()[name], value)


def _put(tables: dict[str, Any], key: str, overrides: GenerationSettings) -> None:
    """Set one scope's table, or leave it out when nothing is in it."""
    old = tables.pop(key, None)
    kept = {name: value for name, value in old.items() if _is_bad(name, value)} if isinstance(old, dict) else {}
    if table := kept | _set_values(overrides):
        tables[key] = table


def _is_bad(name: str, value: object) -> bool:
    """Whether a save has to keep this value because it could not be read."""
    try:
        _checked(name, value)
    except InvalidValue:
        return True
    return False


def _set_values(settings: GenerationSettings) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in structs.asdict(settings).items() if value is not UNSET}
