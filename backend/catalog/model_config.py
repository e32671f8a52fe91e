"""What config.json says about a model, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

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
"""Where models of several modalities keep the configuration of their language part."""
_MAX_CONTEXT = 2**40


class ConfigFacts(Struct, frozen=True, kw_only=True):
    """The few values of config.json that the catalog shows; each is None where the file says nothing usable."""

    architecture: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    needs_remote_code: bool = False


def config_facts(config: Mapping[str, Any]) -> ConfigFacts:
    """Pick them out; a value of the wrong kind counts as absent."""
    return ConfigFacts(
        architecture=_architecture(config),
        dtype=_first_word(config, "dtype", "torch_dtype"),
        quantization=_quantization(config),
        context_length=_context_length(config),
        needs_remote_code=bool(config.get("auto_map")),
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


def _architecture(config: Mapping[str, Any]) -> str | None:
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else None
    return _word(config.get("model_type")) or _word(first)


def _context_length(config: Mapping[str, Any]) -> int | None:
    for part in _parts(config):
        for name in _CONTEXT_KEYS:
            value = part.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_CONTEXT:
                return value
    return None


def _quantization(config: Mapping[str, Any]) -> str | None:
    """The method in the library's own word; bitsandbytes with its bits."""
    for part in _parts(config):
        details = part.get("quantization_config") or part.get("compression_config")
        if not isinstance(details, dict):
            continue
        method = _word(details.get("quant_method"))
        if method in (None, "bitsandbytes"):
            if details.get("load_in_4bit") or details.get("_load_in_4bit"):
                return "bnb-4bit"
            if details.get("load_in_8bit") or details.get("_load_in_8bit"):
                return "bnb-8bit"
        return method or "quantized"
    return None
