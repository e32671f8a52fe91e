"""One model folder becomes one ``ModelInfo``; what is wrong with it becomes its problems."""

from __future__ import annotations

import msgspec
from msgspec import Struct, structs

from modeldeck.backend.catalog.adapters import is_adapter, read_adapter
from modeldeck.backend.catalog.disk import DiskUse, folder_use
from modeldeck.backend.catalog.experts import active_parameters
from modeldeck.backend.catalog.files import ModelFolder, Unreadable
from modeldeck.backend.catalog.gguf_reading import is_later_part, read_gguf
from modeldeck.backend.catalog.json_file import read_json_object
from modeldeck.backend.catalog.model_card import CardHead, read_card_head
from modeldeck.backend.catalog.model_config import ConfigFacts, config_facts
from modeldeck.backend.catalog.rows import Identity, finished, unreadable_row
from modeldeck.backend.catalog.weights import Network, Weights, is_weights_name, read_weights
from modeldeck.backend.models import ModelInfo, ModelSource

__all__ = ["Identity", "is_later_part", "read_folder", "read_gguf", "unreadable_row"]

MAX_CONFIG = 4 * 2**20
"""Bytes of config.json."""
MAX_TOKENIZER_CONFIG = 16 * 2**20
"""Bytes of tokenizer_config.json, and of what a processor reads."""


def read_folder(folder: ModelFolder, identity: Identity, *, whole: bool = True) -> ModelInfo:
    """A folder of config.json and weights, or of an adapter. Never raises for what is in it.

    Not the whole of it takes a tenth of the time: config.json, and which weights there are, without their headers.
    """
    if is_adapter(folder, any(is_weights_name(name) for name in folder.names)):
        return read_adapter(folder, identity)
    problems: list[str] = []
    config: dict[str, object] = {}
    try:
        config = read_json_object(folder, "config.json", MAX_CONFIG)
    except Unreadable as error:
        problems.append(str(error))
    facts = config_facts(config)
    weights = read_weights(folder, Network(facts.architecture, facts.shape, facts.quantization), headers=whole)
    problems.extend(_problems(facts, weights, identity))
    tokenizer = _tokenizer_facts(folder) if whole else _TokenizerFacts()
    snapshot = identity.source is ModelSource.HUB_CACHE  # of which everything is part
    use = folder_use(folder, own_models=snapshot) if whole else DiskUse()
    card = read_card_head(folder) if whole else CardHead()
    row = structs.replace(
        identity.row(folder.path),
        format=weights.format,
        architecture=facts.architecture,
        architecture_class=facts.architecture_class,
        parameters=weights.parameters,
        active_parameters=active_parameters(config, weights.parameters),
        dtype=weights.dtype or facts.dtype,
        load_dtype=facts.dtype,
        quantization=facts.quantization,
        quantization_details=facts.quantization_details,
        context_length=facts.context_length,
        size_bytes=weights.size_bytes,
        has_chat_template=tokenizer.has_chat_template,
        needs_remote_code=facts.needs_remote_code or tokenizer.needs_remote_code,
        shape=facts.shape,
        weights=weights.blocks,
        modality=facts.modality,
        licence=card.licence,
        tags=card.tags,
        base_model=None,
        file_count=use.file_count,
        disk_bytes=use.disk_bytes,
        last_used=use.last_used,
        problems=tuple(problems),
    )
    return finished(row)


def _problems(facts: ConfigFacts, weights: Weights, identity: Identity) -> list[str]:
    problems = list(weights.problems)
    if weights.incomplete:
        hub = identity.source is ModelSource.HUB_CACHE
        problems.insert(0, f"download incomplete: {weights.incomplete}" if hub else weights.incomplete)
    if facts.cannot_chat is not None:
        problems.append(facts.cannot_chat)
    return problems


class _TokenizerConfig(Struct):
    chat_template: msgspec.Raw = msgspec.Raw(b"")
    auto_map: msgspec.Raw = msgspec.Raw(b"")


_tokenizer_config = msgspec.json.Decoder(_TokenizerConfig)
_NOTHING = (b"", b"null", b'""', b"[]", b"{}")
_PROCESSOR_FILES = ("processor_config.json", "chat_template.json")
"""Where a template may be that only a processor reads; the engine gives it to the tokenizer, too."""


class _TokenizerFacts(Struct, frozen=True):
    has_chat_template: bool = False
    needs_remote_code: bool = False


def _tokenizer_facts(folder: ModelFolder) -> _TokenizerFacts:
    """Where the engine looks for a template: a file of its own, the tokenizer's entry, and what processors read."""
    config = _entries(folder, "tokenizer_config.json")
    has_template = "chat_template.jinja" in folder or bytes(config.chat_template) not in _NOTHING
    if not has_template:
        has_template = any(_is_text(_entries(folder, name).chat_template) for name in _PROCESSOR_FILES)
    return _TokenizerFacts(has_template, bytes(config.auto_map) not in _NOTHING)


def _entries(folder: ModelFolder, name: str) -> _TokenizerConfig:
    """Empty where the file cannot be used."""
    if name not in folder:
        return _TokenizerConfig()
    try:
        return _tokenizer_config.decode(folder.read(name, MAX_TOKENIZER_CONFIG))
    except (Unreadable, ValueError, RecursionError):
        return _TokenizerConfig()


def _is_text(value: msgspec.Raw) -> bool:
    return bytes(value).startswith(b'"') and bytes(value) not in _NOTHING
