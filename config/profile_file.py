"""What ``profiles.toml`` looks like, and how a save changes it without losing what it does not understand.

::

    schema_version = 1
    default = "4-bit"

    [profiles."long context"]
    context_limit = 131072

    [profiles.4-bit]
    quantization = "4bit"

    [model_defaults]
    "org/name@revision" = "long context"
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

from msgspec import Struct

from modeldeck.config.declaration import InvalidValue
from modeldeck.config.generation_file import SCHEMA_VERSION
from modeldeck.config.profile_values import Values, checked_option, is_bad, options
from modeldeck.config.toml_file import ConfigProblem
from modeldeck.config.wording import did_you_mean, plain, shown_value

LONGEST_NAME = 40
"""Characters."""
_HEADER = "# Kept by modeldeck: it writes this file again at every save, and comments are not kept.\n"
_TABLES = ("schema_version", "default", "profiles", "model_defaults")


class SavedProfiles(Struct):
    """What the file says; only what is valid."""

    profiles: dict[str, Values] = {}  # msgspec copies an empty default
    default: str | None = None
    model_defaults: dict[str, str] = {}


def clean_profile_name(text: str) -> str:
    """A name as it is kept: one line, single spaces, nothing invisible, and one form for each letter.

    Raises ``InvalidValue`` where nothing is left, or too much.
    """
    visible = "".join(char for char in " ".join(text.split()) if char.isprintable())
    name = " ".join(normalize("NFC", visible).split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidValue(f"must be 1 to {LONGEST_NAME} characters, not {len(name)}")
    return name


def understand(path: Path, document: Mapping[str, Any]) -> tuple[SavedProfiles, tuple[ConfigProblem, ...]]:
    """Sort a document; everything wrong becomes a problem and everything else still counts."""
    problems: list[ConfigProblem] = []

    def complain(key: str, message: str) -> None:
        problems.append(ConfigProblem(path, plain(key), message))

    def table(key: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            complain(key, f"must be a table, not {shown_value(value)}")
            return {}
        return value

    def named(key: str, value: object) -> str | None:
        if isinstance(value, str) and value in saved.profiles:
            return value
        hint = did_you_mean(value, saved.profiles) if isinstance(value, str) else ""
        complain(key, f"must be the name of a profile, not {shown_value(value)}{hint}")
        return None

    version = document.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        complain("schema_version", f"must be {SCHEMA_VERSION}, not {shown_value(version)}")
    for key in (key for key in document if key not in _TABLES):
        belongs = "; it belongs under [profiles.<name>]" if key in options() else did_you_mean(key, _TABLES)
        complain(key, f"is not known here{belongs}")
    saved = SavedProfiles()
    for name, value in table("profiles", document.get("profiles", {})).items():
        if not _is_clean(name):
            complain(f"profiles.{name}", f"must be a name of 1 to {LONGEST_NAME} visible characters, in single spaces")
            continue
        saved.profiles[name] = {}
        for option, given in table(f"profiles.{name}", value).items():
            try:
                saved.profiles[name][option] = checked_option(option, given)
            except InvalidValue as problem:
                complain(f"profiles.{name}.{option}", str(problem))
    if "default" in document:
        saved.default = named("default", document["default"])
    for model_id, value in table("model_defaults", document.get("model_defaults", {})).items():
        if (default := named(f"model_defaults.{model_id}", value)) is not None:
            saved.model_defaults[model_id] = default
    return saved, tuple(problems)


def with_profile(document: Mapping[str, Any], name: str, values: Values) -> dict[str, Any]:
    """The document with one profile added or replaced; the rest of it, understood or not, stays.

    Within the profile, unknown keys stay too, and so does a bad value until that very option is saved.
    """
    profiles = _table(document, "profiles")
    kept = {option: value for option, value in _table(profiles, name).items() if is_bad(option, value)}
    return {**document, "profiles": {**profiles, name: kept | values}}


def without_profile(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The document without one profile, and without the defaults that it is."""
    changed = {key: value for key, value in document.items() if key != "default" or value != name}
    if name in (profiles := _table(document, "profiles")):
        changed = _with_table(changed, "profiles", {each: its for each, its in profiles.items() if each != name})
    if name in (defaults := _table(document, "model_defaults")).values():
        changed = _with_table(changed, "model_defaults", {each: its for each, its in defaults.items() if its != name})
    return changed


def with_default(document: Mapping[str, Any], name: str | None, model_id: str | None) -> dict[str, Any]:
    """The document with another default for one model, or for all with None; no name leaves it without."""
    key, table = ("default", document) if model_id is None else (model_id, _table(document, "model_defaults"))
    changed = {each: value for each, value in table.items() if each != key or name is not None}
    changed |= {} if name is None else {key: name}
    return changed if model_id is None else _with_table(document, "model_defaults", changed)


def in_the_way(document: Mapping[str, Any], *tables: str) -> bool:
    """Whether something that is no table stands where one of these has to be, each inside the one before."""
    place: Any = document
    for key in tables:
        place = place.get(key, {})
        if not isinstance(place, dict):
            return True
    return False


def to_text(document: Mapping[str, Any]) -> str:
    """Write a document as TOML. Raises ValueError or RecursionError for what only a parser can bear."""
    import tomli_w  # only a save needs it

    first = {name: document[name] for name in _TABLES if name in document}
    return _HEADER + tomli_w.dumps(first | dict(document))


def _is_clean(name: str) -> bool:
    try:
        return clean_profile_name(name) == name
    except InvalidValue:
        return False


def _with_table(document: Mapping[str, Any], key: str, table: dict[str, Any]) -> dict[str, Any]:
    """The document with one table replaced, or without it where nothing is in it."""
    others = {each: value for each, value in document.items() if each != key or table}
    return others | ({key: table} if table else {})


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What a table holds; nothing where it is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}
