"""One GGUF file, or all parts of a split one, become one ``ModelInfo``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import structs

from modeldeck.backend.catalog.disk import DiskUse, files_use
from modeldeck.backend.catalog.files import ModelFolder, Unreadable
from modeldeck.backend.catalog.gguf_header import GgufHeader, joined, read_gguf_header
from modeldeck.backend.catalog.gguf_shape import active_parameters, gguf_shape, quantization_mix
from modeldeck.backend.catalog.model_card import read_card_head
from modeldeck.backend.catalog.rows import Identity, finished
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.backend.text import clean_name

MAX_PARTS = 1000
"""Parts of a split model whose headers are read."""
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)


def read_gguf(folder: ModelFolder, name: str, identity: Identity) -> ModelInfo:
    """One GGUF file, or the first part of a split one. Never raises for what is in it."""
    row = structs.replace(identity.row(f"{folder.path.rstrip('/')}/{name}"), format=ModelFormat.GGUF)
    split = _PART.fullmatch(name)
    parts = [other for other in folder.names if _is_same_split(name, other)] if split else [name]
    use = files_use(folder, parts)
    try:
        header, is_whole = _whole_header(folder, name, parts, split)
    except Unreadable as error:
        return finished(structs.replace(_with_use(row, use), problems=(str(error),)))
    card = read_card_head(folder)
    row = structs.replace(
        _with_use(row, use),
        architecture=clean_name(header.architecture, 80) if header.architecture else None,
        parameters=header.parameters or None if is_whole else None,
        active_parameters=active_parameters(header) if is_whole else None,
        dtype=header.dtype,
        quantization=header.quantization,
        quantization_details=quantization_mix(header),
        context_length=header.context_length,
        has_chat_template=header.has_chat_template,
        shape=gguf_shape(header),
        licence=_text(header, "general.license") or card.licence,
        tags=_tags(header) or card.tags,
        problems=_problems(header, parts, split),
    )
    return finished(row)


def is_later_part(folder: ModelFolder, name: str) -> bool:
    """Whether a file belongs to the row of another file, the first part of the same split."""
    split = _PART.fullmatch(name)
    first = split and next((other for other in folder.names if _is_same_split(name, other)), None)
    return first is not None and first != name


def split_parts(name: str, names: Iterable[str]) -> list[str]:
    """The files of the model that this one belongs to: itself, or all parts of its split that are among the names."""
    return [other for other in names if other == name or _is_same_split(name, other)]


def _whole_header(
    folder: ModelFolder, name: str, parts: list[str], split: re.Match[str] | None
) -> tuple[GgufHeader, bool]:
    """The header, of all parts where they are all here; and whether it is that of the whole. Raises Unreadable."""
    header = read_gguf_header(folder, name)
    if split is None:
        return header, header.parts == 1
    total = int(split[3])
    if len(parts) != total or total > MAX_PARTS:
        return header, False
    return joined(header, [read_gguf_header(folder, part) for part in parts if part != name]), True


def _with_use(row: ModelInfo, use: DiskUse) -> ModelInfo:
    return structs.replace(
        row,
        size_bytes=use.disk_bytes,
        file_count=use.file_count,
        disk_bytes=use.disk_bytes,
        last_used=use.last_used,
    )


def _text(header: GgufHeader, key: str) -> str | None:
    value = header.values.get(key)
    return clean_name(value, 80) if isinstance(value, str) and value.strip() else None


def _tags(header: GgufHeader) -> tuple[str, ...]:
    tags = header.values.get("general.tags")
    return tuple(clean_name(tag, 80) for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def _is_same_split(name: str, other: str) -> bool:
    mine, theirs = _PART.fullmatch(name), _PART.fullmatch(other)
    return mine is not None and theirs is not None and (mine[1], mine[3]) == (theirs[1], theirs[3])


def _problems(header: GgufHeader, parts: list[str], split: re.Match[str] | None) -> tuple[str, ...]:
    if header.parts == 1 and split is None:
        return () if header.parameters else ("it holds no weights",)
    total = int(split[3]) if split else header.parts
    if len(parts) < total:
        return (f"{total - len(parts)} of the {total} parts of this model are missing",)
    return (f"this model is split into {total} files: join them with llama-gguf-split --merge to load it",)
