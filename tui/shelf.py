"""The models that are known, and the words that the user filters them with."""

from __future__ import annotations

from collections.abc import Iterable

from modeldeck.backend.models import ModelInfo


class ModelShelf:
    """Keeps the order in which models were found, so that rows which are shown never move while others arrive."""

    def __init__(self) -> None:
        self._models: dict[str, ModelInfo] = {}
        self._found: dict[str, ModelInfo] = {}
        self._added: dict[str, ModelInfo] = {}
        self._words: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._models)

    @property
    def filtered(self) -> bool:
        """Whether some words hide models."""
        return bool(self._words)

    def get(self, model_id: str) -> ModelInfo | None:
        """A model by its id."""
        return self._models.get(model_id)

    def begin(self) -> None:
        """A search starts; what is known stays until it has seen everything."""
        self._found = {}

    def take(self, models: Iterable[ModelInfo]) -> list[ModelInfo]:
        """Take in what a search found; returns the new ones that the filter shows."""
        new = []
        for model in models:
            self._found[model.id] = model
            if model.id not in self._models:
                self._models[model.id] = model
                new.append(model)
        return [model for model in new if self.shows(model)]

    def finish(self) -> None:
        """The search has seen everything: what it did not meet is gone, except what was added by hand."""
        self._models = self._found | {key: model for key, model in self._added.items() if key not in self._found}

    def add(self, model: ModelInfo) -> None:
        """Take in a model that lies where no search looks."""
        self._added[model.id] = model
        self._models[model.id] = model

    def filter(self, text: str) -> None:
        """Show only models that have every word of the text somewhere in name, architecture or type."""
        self._words = tuple(text.casefold().split())

    def shows(self, model: ModelInfo) -> bool:
        """Whether the filter lets this model through."""
        if not self._words:
            return True
        parts = (model.name, model.architecture, model.quantization, model.dtype)
        described = "\n".join(part for part in parts if part).casefold()
        return all(word in described for word in self._words)

    def visible(self) -> list[ModelInfo]:
        """What the list shows."""
        return [model for model in self._models.values() if self.shows(model)]
