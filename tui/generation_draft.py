"""The generation form without a screen: what was typed, what it would mean, and what a save writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from msgspec import UNSET, structs

from modeldeck.config.declaration import InvalidValue, Setting, parse, settings_of, show
from modeldeck.config.generation import BUILT_IN, GenerationSettings, merge

SETTINGS: tuple[Setting, ...] = settings_of(GenerationSettings)

_OURS = frozenset({"seed", "system_prompt", "stop"})
"""Settings that no model brings along."""


class OverridesStore(Protocol):
    """What the form needs of ``GenerationStore``."""

    def overrides(self, model_id: str | None, /) -> GenerationSettings:
        """What the user set for a model, or for all with None."""
        ...

    def save(self, model_id: str | None, overrides: GenerationSettings, /) -> None:
        """Replace that; raises SaveError."""
        ...


@dataclass(frozen=True, slots=True)
class Inherited:
    """What holds where this scope says nothing."""

    value: object
    origin: Literal["all models", "built-in", "model's own", "not set"]
    """``model's own``: no layer says anything, so the default that the model itself brings holds."""


class GenerationDraft:
    """One text for each setting; an empty one means that the layer below decides."""

    def __init__(self, store: OverridesStore, model_id: str | None) -> None:
        self._store = store
        self.model_id = model_id
        """None edits what holds for all models."""
        self._texts: dict[str, str] = {}
        self._touched: set[str] = set()
        self.errors: dict[str, str] = {}
        """By setting, the words that follow its name: ``must be 0 to 2, not 3``."""
        self._values: dict[str, object] = {}
        self._read()

    @property
    def changed(self) -> bool:
        """Whether anything would be lost without a save."""
        return bool(self._touched)

    def text(self, name: str) -> str:
        """What stands in the field."""
        return self._texts[name]

    def value(self, name: str) -> object:
        """What the field means: UNSET where it is empty; the last valid value where it is not valid."""
        return self._values[name]

    def inherited(self, name: str) -> Inherited:
        """What the setting goes back to when its field is emptied."""
        if self.model_id is not None:
            value = getattr(self._store.overrides(None), name)
            if value is not UNSET:
                return Inherited(value, "all models")
        value = getattr(BUILT_IN, name)
        if value is not UNSET:
            return Inherited(value, "built-in")
        return Inherited(value, "not set" if name in _OURS else "model's own")

    def origin(self, name: str) -> str:
        """Where the value comes from, in the words of the form."""
        if name in self._touched and self._texts[name]:
            return "edited"
        if self._texts[name]:
            return "this model" if self.model_id is not None else "all models"
        return self.inherited(name).origin

    def enter(self, name: str, text: str) -> None:
        """Take what was typed into a field; ``errors`` says whether it is allowed."""
        setting = next(setting for setting in SETTINGS if setting.name == name)
        if text != self._texts[name]:
            self._touched.add(name)
        self._texts[name] = text
        try:
            self._values[name] = parse(setting, text)
        except InvalidValue as error:
            self.errors[name] = str(error)
        else:
            self.errors.pop(name, None)
            if text == self._saved_text(setting):
                self._touched.discard(name)

    def reset_all(self) -> None:
        """Empty every field; a save for all models then takes back what was set for all."""
        for setting in SETTINGS:
            self.enter(setting.name, "")
            self._touched.add(setting.name)

    def preview(self) -> GenerationSettings:
        """What would hold for the next reply with what is typed now."""
        below = BUILT_IN if self.model_id is None else merge(BUILT_IN, self._store.overrides(None))
        return merge(below, _settings(self._values))

    def save(self, scope: Literal["this model", "all models"]) -> bool:
        """Write what was changed and is valid; what is not valid stays typed. Blocks; raises SaveError.

        Returns whether there was anything to write.

        What is saved for all models while one model is edited is taken back from that model's own settings, so that
        it holds there too.
        """
        changed = {name: self._values[name] for name in self._touched if name not in self.errors}
        if scope == "this model":
            self._write(self.model_id, changed)
        else:
            self._write(None, changed)
            if self.model_id is not None:
                self._write(self.model_id, dict.fromkeys(changed, UNSET))
        self._read(keep=frozenset(self.errors))
        return bool(changed)

    def _write(self, model_id: str | None, changed: dict[str, Any]) -> None:
        before = self._store.overrides(model_id)
        after = _settings(structs.asdict(before) | changed)
        if after != before:
            self._store.save(model_id, after)

    def _read(self, keep: frozenset[str] = frozenset()) -> None:
        """Take the saved values, except for fields that are still being worked on."""
        saved = self._store.overrides(self.model_id)
        self._touched &= keep
        for setting in SETTINGS:
            if setting.name not in keep:
                self._texts[setting.name] = self._saved_text(setting)
                self._values[setting.name] = getattr(saved, setting.name)

    def _saved_text(self, setting: Setting) -> str:
        return show(setting, getattr(self._store.overrides(self.model_id), setting.name))


def _settings(values: dict[str, Any]) -> GenerationSettings:
    """A struct of values that ``parse`` or the store has checked."""
    return GenerationSettings(**{name: value for name, value in values.items() if value is not UNSET})
