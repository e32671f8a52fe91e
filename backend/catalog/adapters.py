"""LoRA adapters: rows of their own, which belong to a base model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from modeldeck.backend.catalog.disk import folder_use
from modeldeck.backend.catalog.files import Missing, ModelFolder, Unreadable
from modeldeck.backend.catalog.json_file import read_json_object
from modeldeck.backend.catalog.model_card import read_card_head
from modeldeck.backend.catalog.rows import Identity, finished
from modeldeck.backend.catalog.safetensors_header import read_safetensors_header
from modeldeck.backend.model_shape import AdapterShape
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name

CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_MAX_CONFIG = 2**20
_MAX_TARGETS = 64


def is_adapter(folder: ModelFolder, has_weights_of_its_own: bool) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    return CONFIG in folder and not has_weights_of_its_own


def read_adapter(folder: ModelFolder, identity: Identity) -> ModelInfo:
    """The row of an adapter. Never raises for what is in the folder."""
    problems: list[str] = []
    config: dict[str, Any] = {}
    try:
        config = read_json_object(folder, CONFIG, _MAX_CONFIG)
    except Unreadable as error:
        problems.append(str(error))
    parameters, dtype, size = None, None, 0
    try:
        parameters, dtype, size = _weights(folder)
    except Unreadable as error:
        problems.append(str(error))
    card, use = read_card_head(folder), folder_use(folder)
    base = config.get("base_model_name_or_path")
    row = structs.replace(
        identity.row(folder.path),
        format=ModelFormat.ADAPTER,
        base_model=clean_name(base, 400) if isinstance(base, str) and base.strip() else card.base_model,
        adapter=adapter_shape(config),
        needs_remote_code=bool(config.get("auto_map")),
        parameters=parameters,
        dtype=dtype,
        size_bytes=size,
        licence=card.licence,
        tags=card.tags,
        file_count=use.file_count,
        disk_bytes=use.disk_bytes,
        last_used=use.last_used,
        problems=tuple(problems),
    )
    return finished(row)


def adapter_shape(config: dict[str, Any]) -> AdapterShape:
    """What adapter_config.json says; a value of the wrong kind counts as absent."""
    kind, rank = config.get("peft_type"), config.get("r")
    targets = config.get("target_modules")
    names = [targets] if isinstance(targets, str) else targets if isinstance(targets, list) else []
    return AdapterShape(
        kind=clean_name(kind, 40) if isinstance(kind, str) and kind else "LORA",
        rank=rank if type(rank) is int and 0 < rank < 2**20 else None,
        alpha=_scale(config.get("lora_alpha")),
        targets=tuple(sorted(clean_name(name, 80) for name in names[:_MAX_TARGETS] if isinstance(name, str))),
    )


def _scale(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**20:
        return float(value)
    return None


def base_of(adapter: ModelInfo, rows: Sequence[ModelInfo]) -> ModelInfo | None:
    """The model of the list that an adapter belongs to, by path, repository or name; one that loads is preferred."""
    wanted = adapter.base_model
    if not wanted or adapter.format is not ModelFormat.ADAPTER:
        return None
    models = [row for row in rows if row.format not in (None, ModelFormat.ADAPTER)]
    for test in (_is_path, _is_name, _is_last_part):
        found = [row for row in models if test(row, wanted)]
        if found:
            return next((row for row in found if row.loadable), found[0])
    return None


def adapters_of(model: ModelInfo, rows: Sequence[ModelInfo]) -> list[ModelInfo]:
    """The adapters of the list that belong to a model."""
    adapters = [row for row in rows if row.format is ModelFormat.ADAPTER]
    return [row for row in adapters if (base := base_of(row, rows)) is not None and base.id == model.id]


def _is_path(row: ModelInfo, wanted: str) -> bool:
    return wanted.startswith(("/", "~")) and row.path == wanted.rstrip("/")


def _is_name(row: ModelInfo, wanted: str) -> bool:
    return row.name.casefold() == wanted.casefold() or row.id == wanted


def _is_last_part(row: ModelInfo, wanted: str) -> bool:
    return row.name.rsplit("/", 1)[-1].casefold() == wanted.rstrip("/").rsplit("/", 1)[-1].casefold()


def _weights(folder: ModelFolder) -> tuple[int | None, str | None, int]:
    """Parameters, dtype and bytes. Raises Unreadable."""
    name = next((name for name in _WEIGHTS if name in folder), None)
    if name is None:
        raise Missing(f"{_WEIGHTS[0]} is missing")
    if name.endswith(".bin"):
        return None, None, folder.size(name)
    header = read_safetensors_header(folder, name)
    dtypes = [tensor.dtype for tensor in header.tensors]
    dtype = max(set(dtypes), key=dtypes.count, default=None)
    return sum(tensor.elements for tensor in header.tensors), dtype, header.file_bytes
