"""The two settings files: ``config.toml`` is the user's and only read, ``generation.toml`` is ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from modeldeck.config import generation_file
from modeldeck.config.declaration import InvalidValue, Setting, convert, settings_of
from modeldeck.config.document_store import Document, DocumentStore, SaveError, table_of
from modeldeck.config.generation import BUILT_IN, GenerationSettings
from modeldeck.config.generation_file import Scopes, place_of
from modeldeck.config.generation_layers import Layer, Layers
from modeldeck.config.names import clean_kept_name
from modeldeck.config.presets import BUILT_IN_PRESETS
from modeldeck.config.settings import Settings
from modeldeck.config.shared_file import LOCK_SECONDS
from modeldeck.config.toml_file import ConfigProblem, Unreadable, read_toml
from modeldeck.config.wording import did_you_mean, plain

__all__ = ["ConfigProblem", "GenerationStore", "SaveError", "load_settings"]


def load_settings(path: Path) -> tuple[Settings, tuple[ConfigProblem, ...]]:
    """Read ``config.toml``; what is wrong in it keeps its default and is told, and all the rest counts.

    An absent file is no problem. Nothing is created or changed.
    """
    try:
        document = read_toml(path)
    except Unreadable as error:
        return Settings(), (ConfigProblem(path, "", str(error)),)
    if not document:
        return Settings(), ()
    known = {setting.name: setting for setting in settings_of(Settings)}
    generation = {setting.name for setting in settings_of(GenerationSettings)}
    values: dict[str, Any] = {}
    problems: list[ConfigProblem] = []
    for key, value in document.items():
        if key in known:
            values[key], wrong = _one_by_one(known[key], value)
            problems += [ConfigProblem(path, plain(place), message) for place, message in wrong]
        elif key in generation:
            problems.append(ConfigProblem(path, key, "is a generation setting, and those are kept in generation.toml"))
        else:
            problems.append(ConfigProblem(path, plain(key), f"is not a setting{did_you_mean(key, known)}"))
    return msgspec.convert(values, Settings), tuple(problems)


def _one_by_one(setting: Setting, value: object) -> tuple[Any, list[tuple[str, str]]]:
    """A value as the struct holds it, and what was wrong; one bad key of a table leaves its other keys."""
    try:
        return convert(setting, value), []
    except InvalidValue as error:
        if setting.kind != "mapping" or not isinstance(value, dict):
            return setting.default, [(setting.name, str(error))]
    good: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for key, entry in value.items():
        try:
            good |= convert(setting, {key: entry})
        except InvalidValue as error:
            wrong.append((setting.name, str(error)))
    return good, wrong


class GenerationStore:
    """The user's generation settings, for all models and for single ones, and presets, kept in ``generation.toml``.

    Several instances may write the same file: each change takes everything else from the disk. What changes the file
    blocks while another instance does (up to ``lock_seconds``) and until the disk has it, and raises ``SaveError``,
    after which the file is as it was.
    """

    def __init__(self, path: Path, lock_seconds: float = LOCK_SECONDS) -> None:
        self._scopes = Scopes()
        self._file = DocumentStore(path, self._adopt, generation_file.TABLES, lock_seconds)

    @property
    def problems(self) -> tuple[ConfigProblem, ...]:
        """What is wrong with the file, as it was last read or written."""
        return self._file.problems

    def load(self) -> tuple[ConfigProblem, ...]:
        """Read the file (again). One that cannot be used leaves what was read before, and says so."""
        return self._file.load()

    def reload(self) -> bool:
        """Read the file if somebody else has written it; returns whether it was read. Blocking."""
        return self._file.reload()

    def overrides(self, model_id: str | None) -> GenerationSettings:
        """What the user set for this model alone; for all models with None."""
        if model_id is None:
            return self._scopes.all_models
        return self._scopes.models.get(model_id, GenerationSettings())

    def layers(self, model_id: str | None) -> Layers:
        """Who says what for this model, as far as this file and the program know."""
        said = {Layer.BUILT_IN: BUILT_IN, Layer.ALL_MODELS: self.overrides(None)}
        if (preset := self.preset(model_id)) is not None:
            said[Layer.PRESET] = self.preset_values(preset)
        if model_id is not None:
            said[Layer.THIS_MODEL] = self.overrides(model_id)
        return Layers(said)

    def effective(self, model_id: str | None) -> GenerationSettings:
        """What holds for this model, where its own file says nothing."""
        return self.layers(model_id).effective

    def change(self, model_id: str | None, changes: Mapping[str, Any]) -> None:
        """Set some settings for one model, or for all with None; ``UNSET`` takes one back. The others stay."""
        try:
            valid = generation_file.checked_values(changes)
        except InvalidValue as error:
            raise SaveError(f"Nothing was saved: {error}") from None
        place = place_of(model_id)
        self._file.change(lambda before: generation_file.with_changes(before, place, valid), *place)

    def save(self, model_id: str | None, overrides: GenerationSettings) -> None:
        """Replace what is set for one model, or for all models with None."""
        self._replace(place_of(model_id), overrides)

    @property
    def preset_names(self) -> tuple[str, ...]:
        """The presets, the built-in ones first."""
        return (*BUILT_IN_PRESETS, *self._scopes.presets)

    def preset_values(self, name: str) -> GenerationSettings:
        """What a preset says; nothing where there is none of this name."""
        return BUILT_IN_PRESETS.get(name) or self._scopes.presets.get(name, GenerationSettings())

    def preset(self, model_id: str | None) -> str | None:
        """The preset that holds for this model: its own, else that of all models; None where there is neither."""
        own = None if model_id is None else self._scopes.model_presets.get(model_id)
        return own or self._scopes.preset

    def choose_preset(self, name: str | None, model_id: str | None) -> None:
        """Take a preset, or none, for one model, or for all with None."""

        def changed(before: Document) -> Document:
            if name is not None and name not in _preset_names(before):
                raise SaveError(f"Nothing was saved: there is no preset “{plain(name)}” any more")
            return generation_file.with_preset_chosen(before, name, model_id)

        self._file.change(changed, *(() if model_id is None else ("model_presets",)))

    def save_preset(self, name: str, values: GenerationSettings) -> str:
        """Add a preset or replace one of the user's own, and return its name as it is kept."""
        name = _own_name(name)
        if not generation_file.set_values(values):
            raise SaveError("Nothing was saved: nothing is set that a preset could keep")
        self._replace(("presets", name), values)
        return name

    def rename_preset(self, old: str, new: str) -> str:
        """Give one of the user's own another name, also where it is chosen, and return that as it is kept."""
        new = _own_name(new)

        def changed(before: Document) -> Document:
            names = _preset_names(before)
            if old not in names or old in BUILT_IN_PRESETS:
                raise SaveError(f"Nothing was saved: there is no preset “{plain(old)}” of yours")
            if new != old and new in names:
                raise SaveError(f"Nothing was saved: there is a preset “{new}” already")
            return generation_file.with_preset_renamed(before, old, new)

        self._file.change(changed, "presets")
        return new

    def delete_preset(self, name: str) -> None:
        """Delete one of the user's own, wherever it is chosen; one that is gone already is no failure."""
        self._file.change(lambda before: generation_file.without_preset(before, name))

    def _replace(self, place: tuple[str, ...], overrides: GenerationSettings) -> None:
        try:
            overrides = generation_file.checked(overrides)
        except InvalidValue as error:
            raise SaveError(f"Nothing was saved: {error}") from None
        self._file.change(lambda before: generation_file.with_scope(before, place, overrides), *place)

    def _adopt(self, path: Path, document: Document) -> tuple[ConfigProblem, ...]:
        """Take a document as what the file holds."""
        self._scopes, problems = generation_file.understand(path, document)
        return problems


def _own_name(name: str) -> str:
    """A name that a preset of the user's own may have; raises ``SaveError``."""
    try:
        name = clean_kept_name(name)
    except InvalidValue as error:
        raise SaveError(f"Nothing was saved: the name {error}") from None
    if name in BUILT_IN_PRESETS:
        raise SaveError(f"Nothing was saved: “{name}” is built in; take another name")
    return name


def _preset_names(document: Document) -> tuple[str, ...]:
    """The presets of a document, those that cannot be read too."""
    return (*BUILT_IN_PRESETS, *table_of(document, "presets"))
