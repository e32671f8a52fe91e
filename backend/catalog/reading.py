"""One model folder or one GGUF file becomes one ``ModelInfo``; what is wrong with it becomes its problems."""

from __future__ import annotations

import os
import re

import msgspec
from msgspec import Struct

from modeldeck.backend.catalog.files import ModelFolder, Unreadable
from modeldeck.backend.catalog.gguf_header import GgufHeader, read_gguf_header
from modeldeck.backend.catalog.json_file import read_json_object
from modeldeck.backend.catalog.model_config import ConfigFacts, config_facts
from modeldeck.backend.catalog.weights import read_weights
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from modeldeck.backend.text import clean_name, clean_text

MAX_CONFIG = 4 * 2**20
"""Bytes of config.json."""
MAX_TOKENIZER_CONFIG = 16 * 2**20
"""Bytes of tokenizer_config.json."""

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)


class Identity(Struct, frozen=True):
    """What a row is called, before anything of it was read."""

    id: str
    name: str
    source: ModelSource


def read_folder(folder: ModelFolder, identity: Identity) -> ModelInfo:
    """A folder of config.json and weights. Never raises for what is in it."""
    problems: list[str] = []
    facts = ConfigFacts()
    try:
        facts = config_facts(read_json_object(folder, "config.json", MAX_CONFIG))
    except Unreadable as error:
        problems.append(str(error))
    weights = read_weights(folder)
    if weights.incomplete:
        hub = identity.source is ModelSource.HUB_CACHE
        problems.append(f"download incomplete: {weights.incomplete}" if hub else weights.incomplete)
    problems.extend(weights.problems)
    return make_row(
        identity,
        folder.path,
        format=weights.format,
        architecture=facts.architecture,
        parameters=weights.parameters,
        dtype=weights.dtype or facts.dtype,
        quantization=facts.quantization,
        context_length=facts.context_length,
        size_bytes=weights.size_bytes,
        has_chat_template=_has_chat_template(folder),
        needs_remote_code=facts.needs_remote_code,
        problems=tuple(problems),
    )


def read_gguf(folder: ModelFolder, name: str, identity: Identity) -> ModelInfo:
    """One GGUF file, or the first part of a split one. Never raises for what is in it."""
    path = f"{folder.path.rstrip('/')}/{name}"
    try:
        header = read_gguf_header(folder, name)
    except Unreadable as error:
        size = _size(folder, name)
        return make_row(identity, path, format=ModelFormat.GGUF, size_bytes=size, problems=(str(error),))
    split = _PART.fullmatch(name)
    parts = [other for other in folder.names if _is_same_split(name, other)] if split else [name]
    alone = header.parts == 1 and split is None
    return make_row(
        identity,
        path,
        format=ModelFormat.GGUF,
        architecture=clean_name(header.architecture, 80) if header.architecture else None,
        parameters=header.parameters or None if alone else None,
        dtype=header.dtype,
        quantization=header.quantization,
        context_length=header.context_length,
        size_bytes=sum(_size(folder, part) for part in parts),
        has_chat_template=header.has_chat_template,
        problems=_gguf_problems(header, parts, split),
    )


def is_later_part(folder: ModelFolder, name: str) -> bool:
    """Whether a file belongs to the row of another file, the first part of the same split."""
    split = _PART.fullmatch(name)
    first = split and next((other for other in folder.names if _is_same_split(name, other)), None)
    return first is not None and first != name


def unreadable_row(identity: Identity, path: str, problem: str) -> ModelInfo:
    """A row for what could not even be listed; ``problem`` is a sentence without its full stop."""
    return make_row(identity, path, problems=(problem,))


def make_row(
    identity: Identity,
    path: str,
    *,
    format: ModelFormat | None = None,  # noqa: A002  # the field's name in ModelInfo
    architecture: str | None = None,
    parameters: int | None = None,
    dtype: str | None = None,
    quantization: str | None = None,
    context_length: int | None = None,
    size_bytes: int = 0,
    has_chat_template: bool = False,
    needs_remote_code: bool = False,
    problems: tuple[str, ...] = (),
) -> ModelInfo:
    """Put a row together; names are cleaned, and problems become sentences of one line."""
    if not _is_unicode(path):
        # Such a path cannot go over the wire to the engine, nor into TOML or JSON.
        path, identity = clean_text(path), Identity(clean_text(identity.id), identity.name, identity.source)
        problems = (*problems, "its path is not valid UTF-8: rename it")
    return ModelInfo(
        id=identity.id,
        name=clean_name(identity.name),
        path=path,
        source=identity.source,
        format=format,
        architecture=architecture,
        parameters=parameters,
        dtype=dtype,
        quantization=quantization,
        context_length=context_length,
        size_bytes=size_bytes,
        has_chat_template=has_chat_template,
        needs_remote_code=needs_remote_code,
        problems=tuple(_sentence(problem) for problem in problems),
    )


def _sentence(text: str) -> str:
    """The first letter is raised unless the sentence begins with the name of a file."""
    line = clean_name(text, 300)
    first = line.split(" ", 1)[0].rstrip(":")
    capital = line[:1].upper() if first.isalpha() else line[:1]
    return f"{capital}{line[1:]}."


def _is_unicode(path: str) -> bool:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _size(folder: ModelFolder, name: str) -> int:
    try:
        return folder.size(name)
    except Unreadable:
        return 0


def _is_same_split(name: str, other: str) -> bool:
    mine, theirs = _PART.fullmatch(name), _PART.fullmatch(other)
    return mine is not None and theirs is not None and (mine[1], mine[3]) == (theirs[1], theirs[3])


def _gguf_problems(header: GgufHeader, parts: list[str], split: re.Match[str] | None) -> tuple[str, ...]:
    if header.parts == 1 and split is None:
        return () if header.parameters else ("it holds no weights",)
    total = int(split[3]) if split else header.parts
    if len(parts) < total:
        return (f"{total - len(parts)} of the {total} parts of this model are missing",)
    return (f"this model is split into {total} files: join them with llama-gguf-split --merge to load it",)


class _TokenizerConfig(Struct):
    chat_template: msgspec.Raw = msgspec.Raw(b"")


_tokenizer_config = msgspec.json.Decoder(_TokenizerConfig)


def _has_chat_template(folder: ModelFolder) -> bool:
    """Where transformers looks: a file of its own, or an entry of tokenizer_config.json."""
    if "chat_template.jinja" in folder or "chat_template.json" in folder:
        return True
    if "tokenizer_config.json" not in folder:
        return False
    try:
        template = _tokenizer_config.decode(folder.read("tokenizer_config.json", MAX_TOKENIZER_CONFIG)).chat_template
    except (Unreadable, ValueError, RecursionError):
        return False
    return bytes(template) not in (b"", b"null", b'""', b"[]", b"{}")
