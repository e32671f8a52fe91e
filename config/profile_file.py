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

from pathlib import Path
from typing import Any

from msgspec import Struct

from modeldeck.config.declaration import InvalidValue
from modeldeck.config.document_store import SCHEMA_VERSION, Document, table_of, with_table
from modeldeck.config.names import LONGEST_NAME, is_kept_name
from modeldeck.config.profile_values import Values, checked_option, is_bad, options
from modeldeck.config.toml_file import ConfigProblem
from modeldeck.config.wording import did_you_mean, plain, shown_value

TABLES = ("schema_version", "default", "profiles", "model_defaults")


class SavedProfiles(Struct):
    """What the file says; only what is valid."""

    profiles: dict[str, Values] = {}  # msgspec copies an empty default
    default: str | None = None
    model_defaults: dict[str, str] = {}


def understand(path: Path, document: Document) -> tuple[SavedProfiles, tuple[ConfigProblem, ...]]:
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
    for key in (key for key in document if key not in TABLES):
        belongs = "; it belongs under [profiles.<name>]" if key in options() else did_you_mean(key, TABLES)
        complain(key, f"is not known here{belongs}")
    saved = SavedProfiles()
    for name, value in table("profiles", document.get("profiles", {})).items():
        if not is_kept_name(name):
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


def with_profile(document: Document, name: str, values: Values) -> Document:
    """The document with one profile added or replaced; the rest of it, understood or not, stays.

    Within the profile, unknown keys stay too, and so does a bad value until that very option is saved.
    """
    profiles = table_of(document, "profiles")
    kept = {option: value for option, value in table_of(profiles, name).items() if is_bad(option, value)}
    return {**document, "profiles": {**profiles, name: kept | values}}


def without_profile(document: Document, name: str) -> Document:
    """The document without one profile, and without the defaults that it is."""
    changed = {key: value for key, value in document.items() if key != "default" or value != name}
    if name in (profiles := table_of(document, "profiles")):
        changed = with_table(changed, "profiles", {each: its for each, its in profiles.items() if each != name})
    if name in (defaults := table_of(document, "model_defaults")).values():
        changed = with_table(changed, "model_defaults", {each: its for each, its in defaults.items() if its != name})
    return changed


def with_default(document: Document, name: str | None, model_id: str | None) -> Document:
    """The document with another default for one model, or for all with None; no name leaves it without."""
    key, table = ("default", document) if model_id is None else (model_id, table_of(document, "model_defaults"))
    changed = {each: value for each, value in table.items() if each != key or name is not None}
    changed |= {} if name is None else {key: name}
    return changed if model_id is None else with_table(document, "model_defaults", changed)
