"""Made-up models for the tests of the list."""

from __future__ import annotations

from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from modeldeck.tui.shelf import ModelShelf
from modeldeck.tui.shelf_row import ShelfRow


def info(name: str, **fields: object) -> ModelInfo:
    """A model whose id is its name."""
    known: dict[str, object] = {"id": name, "path": f"/m/{name}", "source": ModelSource.FOLDER}
    known["format"] = ModelFormat.SAFETENSORS
    return ModelInfo(name=name, **{**known, **fields})  # type: ignore[arg-type]  # the fields of ModelInfo


def adapter(name: str, base: str) -> ModelInfo:
    return info(name, format=ModelFormat.ADAPTER, base_model=base)


def row(name: str, **fields: object) -> ShelfRow:
    return ShelfRow(info(name, **fields))


def names(shelf: ModelShelf) -> list[str]:
    return [each.model.name for each in shelf.visible()]
