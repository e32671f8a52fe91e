"""The generation form without a screen: what was typed, what it would mean, and what a save writes."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, structs

from modeldeck.config.declaration import InvalidValue, Setting, parse, settings_of, show
from modeldeck.config.generation import GenerationSettings, merge
from modeldeck.config.generation_layers import Held, Layer, Layers
from modeldeck.tui.generation_desk import GenerationDesk

SETTINGS: tuple[Setting, ...] = settings_of(GenerationSettings)
BY_NAME = {setting.name: setting for setting in SETTINGS}
Scope = Literal["this model", "all models", "this session"]
_NOTHING = GenerationSettings()


class GenerationDraft:
    """One text for each setting; an empty one means that the layer below decides.

    The form edits one scope, a model or all models; what holds for this session lies over it.
    """

    def __init__(self, desk: GenerationDesk, model_id: str | None) -> None:
        self.desk = desk
        self.model_id = model_id
        """None edits what holds for all models."""
        self._edited: dict[str, str] = {}
        self._values: dict[str, object] = {}
        """What the edited texts mean, by ``parse``; not kept up where one is not valid."""
        self.errors: dict[str, str] = {}
        """By setting, the words that follow its name: ``must be 0 to 2, not 3``."""

    @property
    def changed(self) -> bool:
        """Whether anything would be lost without a save."""
        return bool(self._edited)

    @property
    def scope_layer(self) -> Layer:
        """The layer that the form edits."""
        return Layer.ALL_MODELS if self.model_id is None else Layer.THIS_MODEL

    def text(self, name: str) -> str:
        """What stands in the field."""
        return self._edited[name] if name in self._edited else self._kept_texts(name)[0]

    def below(self, name: str) -> Held:
        """What holds where this scope and the session say nothing."""
        return self._layers.held(name, below=self.scope_layer)

    def origin(self, name: str) -> str:
        """Where the value comes from, in the words of the form."""
        if self._edited.get(name):
            return "edited"
        if name not in self._edited:
            for layer in (Layer.SESSION, self.scope_layer):
                if getattr(self._layers.said[layer], name) is not UNSET:
                    return layer.value
        return self.below(name).layer.value

    def is_set(self, name: str) -> bool:
        """Whether somebody has chosen a value, or is about to."""
        return name in self._edited or self._layers.held(name).layer.by_user

    def enter(self, name: str, text: str) -> None:
        """Take what was typed into a field; ``errors`` says whether it is allowed."""
        setting = BY_NAME[name]
        self._edited[name] = text
        try:
            self._values[name] = parse(setting, text)
        except InvalidValue as error:
            self.errors[name] = str(error)
            return
        self.errors.pop(name, None)
        if text == self._kept_texts(name)[0]:
            self._forget(name)

    def reset(self, name: str) -> None:
        """Go to the layer below: from what was typed to what is kept, from the session to the scope, then below it."""
        chain = list(dict.fromkeys(self._kept_texts(name)))
        at = chain.index(self.text(name)) if self.text(name) in chain else -1
        self.enter(name, chain[min(at + 1, len(chain) - 1)])

    def reset_all(self) -> None:
        """Empty every field; a save for all models then takes back what was set for all."""
        for setting in SETTINGS:
            self.errors.pop(setting.name, None)
            self._edited[setting.name] = ""
            self._values[setting.name] = UNSET

    def preview(self) -> Layers:
        """Who would say what with what is typed now and is valid; that is on top."""
        layers = self._layers
        values = {name: value for name, value in self._values.items() if name not in self.errors}
        untouched: dict[str, Any] = dict.fromkeys(values, UNSET)
        for layer in (self.scope_layer, Layer.SESSION):
            layers = layers.with_layer(layer, structs.replace(layers.said[layer], **untouched))
        return layers.with_layer(Layer.SESSION, merge(layers.said[Layer.SESSION], _settings(values)))

    def chosen(self) -> GenerationSettings:
        """What was chosen here, by whatever layer; what a preset of it would say."""
        layers = self.preview()
        return merge(*(layers.said[layer] for layer in Layer if layer.by_user and layer in layers.said))

    def hidden_by_preset(self) -> tuple[str, ...]:
        """The settings that all models have, and about which a preset decides here."""
        said = [_set_values(self._layers.said.get(layer, _NOTHING)) for layer in (Layer.ALL_MODELS, Layer.PRESET)]
        return tuple(name for name in said[0] if name in said[1])

    def save(self, scope: Scope) -> bool:
        """Keep what was changed and is valid; what is not valid stays typed. Blocks; raises SaveError.

        Returns whether there was anything to keep. What holds for this session is saved with it. What is saved for
        all models while one model is edited is taken back from that model's own settings, so that it holds there too.
        """
        changed = {name: value for name, value in self._values.items() if name not in self.errors}
        if scope == "this session":
            kept = {name: self.below(name).value if value is UNSET else value for name, value in changed.items()}
            self.desk.keep_for_session(self.model_id, kept)
        else:
            changed = _set_values(self._layers.said[Layer.SESSION]) | changed
            if changed:
                self._write(scope, changed)
        for name in changed:
            self._forget(name)
        return bool(changed)

    def _write(self, scope: Scope, changed: dict[str, Any]) -> None:
        store = self.desk.store
        store.change(self.model_id if scope == "this model" else None, changed)
        if scope == "all models" and self.model_id is not None:
            own = _set_values(store.overrides(self.model_id))
            if back := {name: UNSET for name in changed if name in own}:
                store.change(self.model_id, back)
        self.desk.keep_for_session(self.model_id, dict.fromkeys(changed, UNSET))

    def _forget(self, name: str) -> None:
        for kept in (self._edited, self._values, self.errors):
            kept.pop(name, None)

    @property
    def _layers(self) -> Layers:
        return self.desk.layers(self.model_id)

    def _kept_texts(self, name: str) -> list[str]:
        """What is kept, the strongest first: for the session, for the scope, and the empty text below both."""
        said = (self._layers.said[layer] for layer in (Layer.SESSION, self.scope_layer))
        values = [value for settings in said if (value := getattr(settings, name)) is not UNSET]
        return [*(show(BY_NAME[name], value) for value in values), ""]


def _settings(values: dict[str, Any]) -> GenerationSettings:
    """A struct of values that ``parse`` or the store has checked."""
    return GenerationSettings(**{name: value for name, value in values.items() if value is not UNSET})


def _set_values(settings: GenerationSettings) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(settings).items() if value is not UNSET}
