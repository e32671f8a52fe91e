"""What ``generation.toml`` looks like, and how a save changes it without losing what it does not understand.

::

    schema_version = 1
    preset = "precise"

    [all_models]
    temperature = 0.5

    [presets.poems]
    temperature = 1.3

    [model_presets]
    "org/name@revision" = "poems"

    [models."org/name@revision"]
    system_prompt = "Answer in one line."
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, structs

from modeldeck.config.declaration import InvalidValue, Setting, convert, settings_of
from modeldeck.config.document_store import SCHEMA_VERSION, Document, table_of, with_table
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.names import LONGEST_NAME, is_kept_name
from modeldeck.config.presets import BUILT_IN_PRESETS
from modeldeck.config.toml_file import ConfigProblem
from modeldeck.config.wording import did_you_mean, plain, shown_value

TABLES = ("schema_version", "preset", "all_models", "presets", "model_presets", "models")


class Scopes(Struct):
    """What the file says, by scope; only what is valid."""

    all_models: GenerationSettings = GenerationSettings()
    presets: dict[str, GenerationSettings] = {}  # msgspec copies an empty default
    """The user's own."""
    preset: str | None = None
    """Of every model that has none of its own."""
    model_presets: dict[str, str] = {}
    models: dict[str, GenerationSettings] = {}


def understand(path: Path, document: Document) -> tuple[Scopes, tuple[ConfigProblem, ...]]:
    """Sort a document into scopes; everything wrong becomes a problem and everything else still counts."""
    reading = _Reading(path)
    version = document.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        reading.complain("schema_version", f"must be {SCHEMA_VERSION}, not {shown_value(version)}")
    for key in (key for key in document if key not in TABLES):
        belongs = "; it belongs under [all_models]" if key in _settings() else did_you_mean(key, TABLES)
        reading.complain(key, f"is not known here{belongs}")
    scopes = Scopes()
    if "all_models" in document:
        scopes.all_models = reading.scope("all_models", document["all_models"])
    for name, table in reading.table("presets", document.get("presets", {})).items():
        if reading.may_be_named_so(name):
            scopes.presets[name] = reading.scope(f"presets.{name}", table)
    if "preset" in document:
        scopes.preset = reading.preset("preset", document["preset"], scopes)
    for model, name in reading.table("model_presets", document.get("model_presets", {})).items():
        if (preset := reading.preset(f"model_presets.{model}", name, scopes)) is not None:
            scopes.model_presets[model] = preset
    models = reading.table("models", document.get("models", {}))
    scopes.models = {model: reading.scope(f"models.{model}", table) for model, table in models.items()}
    return scopes, tuple(reading.problems)


class _Reading:
    """Sorts values, and collects what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problems: list[ConfigProblem] = []

    def complain(self, key: str, message: str) -> None:
        self.problems.append(ConfigProblem(self._path, plain(key), message))

    def table(self, key: str, value: object) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.complain(key, f"must be a table, not {shown_value(value)}")
        return {}

    def scope(self, key: str, table: object) -> GenerationSettings:
        """What a table sets; a value that is none is complained of and left out."""
        valid: dict[str, Any] = {}
        for name, value in self.table(key, table).items():
            try:
                valid[name] = _checked(name, value)
            except InvalidValue as problem:
                self.complain(f"{key}.{name}", str(problem))
        return msgspec.convert(valid, GenerationSettings)

    def may_be_named_so(self, name: str) -> bool:
        """Whether a preset of the file may have this name; else it is said why not."""
        if name in BUILT_IN_PRESETS:
            self.complain(f"presets.{name}", "is built in, so this one is not used; give it another name")
            return False
        if not is_kept_name(name):
            allowed = f"must be a name of 1 to {LONGEST_NAME} visible characters, in single spaces"
            self.complain(f"presets.{name}", allowed)
            return False
        return True

    def preset(self, key: str, value: object, scopes: Scopes) -> str | None:
        """The preset that a key names; None, with a complaint, where there is none of that name."""
        known = (*BUILT_IN_PRESETS, *scopes.presets)
        if isinstance(value, str) and value in known:
            return value
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        self.complain(key, f"must be the name of a preset, not {shown_value(value)}{hint}")
        return None


def place_of(model_id: str | None) -> tuple[str, ...]:
    """The tables that hold what is set for one model, or for all with None."""
    return ("all_models",) if model_id is None else ("models", model_id)


def with_changes(document: Document, place: tuple[str, ...], changes: Mapping[str, Any]) -> Document:
    """The document with some settings of one scope set, or left out where they are ``UNSET``; all else stays."""
    table = dict(_scope_table(document, place))
    for name, value in changes.items():
        table.pop(name, None)
        if value is not UNSET:
            table[name] = value
    return _with_scope_table(document, place, table)


def with_scope(document: Document, place: tuple[str, ...], overrides: GenerationSettings) -> Document:
    """The document with one scope replaced; the rest of it, understood or not, stays.

    Within the scope, unknown keys stay too, and so does a bad value until that very setting is saved.
    """
    old = _scope_table(document, place)
    kept = {name: value for name, value in old.items() if _is_bad(name, value)}
    return _with_scope_table(document, place, kept | set_values(overrides))


def with_preset_chosen(document: Document, name: str | None, model_id: str | None) -> Document:
    """The document with another preset for one model, or for all with None; no name leaves it without."""
    key, table = ("preset", document) if model_id is None else (model_id, table_of(document, "model_presets"))
    changed = {each: value for each, value in table.items() if each != key or name is not None}
    changed |= {} if name is None else {key: name}
    return changed if model_id is None else with_table(document, "model_presets", changed)


def with_preset_renamed(document: Document, old: str, new: str) -> Document:
    """The document with a preset under another name, also where it is chosen."""
    presets = {new if name == old else name: table for name, table in table_of(document, "presets").items()}
    chosen = {model: new if its == old else its for model, its in table_of(document, "model_presets").items()}
    changed = document | ({"preset": new} if document.get("preset") == old else {})
    return with_table(with_table(changed, "presets", presets), "model_presets", chosen)


def without_preset(document: Document, name: str) -> Document:
    """The document without one preset, and without the choices of it."""
    presets = {each: table for each, table in table_of(document, "presets").items() if each != name}
    chosen = {model: its for model, its in table_of(document, "model_presets").items() if its != name}
    changed = {key: value for key, value in document.items() if key != "preset" or value != name}
    return with_table(with_table(changed, "presets", presets), "model_presets", chosen)


def checked(overrides: GenerationSettings) -> GenerationSettings:
    """The same settings, every value checked; constructors check nothing. Raises ``InvalidValue`` with the label."""
    return msgspec.convert(checked_values(set_values(overrides)), GenerationSettings)


def checked_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, every one checked; ``UNSET`` stays. Raises ``InvalidValue`` with the label."""
    valid: dict[str, Any] = {}
    for name, value in values.items():
        try:
            valid[name] = _checked(name, value)
        except InvalidValue as problem:
            raise InvalidValue(f"{_settings()[name].label} {problem}") from None
    return valid


def set_values(settings: GenerationSettings) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in structs.asdict(settings).items() if value is not UNSET}


@cache
def _settings() -> dict[str, Setting]:
    """The generation settings by name; not at import, where describing them would hold up the first frame."""
    return {setting.name: setting for setting in settings_of(GenerationSettings)}


def _checked(name: str, value: object) -> Any:
    """One value of a scope; raises ``InvalidValue``, for an unknown name too."""
    if name not in _settings():
        raise InvalidValue(f"is not a generation setting{did_you_mean(name, _settings())}")
    return convert(_settings()[name], value)


def _is_bad(name: str, value: object) -> bool:
    """Whether a save has to keep this value because it could not be read."""
    try:
        _checked(name, value)
    except InvalidValue:
        return True
    return False


def _scope_table(document: Document, place: tuple[str, ...]) -> Document:
    for key in place:
        document = table_of(document, key)
    return document


def _with_scope_table(document: Document, place: tuple[str, ...], table: Document) -> Document:
    """The document with the table at a place, which is left out when nothing is in it."""
    key, *rest = place
    return with_table(document, key, _with_scope_table(table_of(document, key), tuple(rest), table) if rest else table)
