"""What config.json says about a model, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from modeldeck.backend.catalog.config_part import text_part
from modeldeck.backend.catalog.modality import modality, why_it_cannot_chat
from modeldeck.backend.catalog.quantization import quantization_details, quantization_word
from modeldeck.backend.catalog.shape import model_shape
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.text import clean_name

_CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "seq_length",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
)
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
_MAX_CONTEXT = 2**40


class ConfigFacts(Struct, frozen=True, kw_only=True):
    """What the catalog shows of config.json; each is None where the file says nothing usable."""

    architecture: str | None = None
    architecture_class: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    quantization_details: str | None = None
    context_length: int | None = None
    needs_remote_code: bool = False
    shape: ModelShape | None = None
    modality: str = "text"
    cannot_chat: str | None = None
    """Why such a model cannot be loaded for a chat, a sentence without its full stop; None where it can."""


def config_facts(config: Mapping[str, Any]) -> ConfigFacts:
    """Pick them out; a value of the wrong kind counts as absent."""
    names = config.get("architectures")
    architecture_class = _word(names[0]) if isinstance(names, list) and names else None
    details = _quantization_config(config)
    return ConfigFacts(
        architecture=_word(config.get("model_type")) or architecture_class,
        architecture_class=architecture_class,
        dtype=_first_word(config, "dtype", "torch_dtype"),
        quantization=quantization_word(details) if details else None,
        quantization_details=quantization_details(details) if details else None,
        context_length=_context_length(config),
        needs_remote_code=bool(config.get("auto_map")),
        shape=model_shape(config),
        modality=modality(config, architecture_class),
        cannot_chat=why_it_cannot_chat(config, architecture_class),
    )


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration itself, then that of its language part, two levels deep at most."""
    yield config
    for name in _TEXT_PARTS:
        part = config.get(name)
        if isinstance(part, dict):
            yield part
            inner = part.get("text_config")
            if isinstance(inner, dict):
                yield inner


def _word(value: object) -> str | None:
    return clean_name(value, 80) if isinstance(value, str) and value.strip() else None


def _first_word(config: Mapping[str, Any], *names: str) -> str | None:
    for part in _parts(config):
        for name in names:
            if word := _word(part.get(name)):
                return word.removeprefix("torch.")
    return None


def _context_length(config: Mapping[str, Any]) -> int | None:
    """As the file tells it, else as the library's class has it."""
    for part in _parts(config):
        for name in _CONTEXT_KEYS:
            value = part.get(name)
            if type(value) is int and 0 < value < _MAX_CONTEXT:
                return value
    return text_part(config).count("max_position_embeddings")


def _quantization_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    for part in _parts(config):
        details = part.get("quantization_config") or part.get("compression_config")
        if isinstance(details, dict):
            return details
    return None
