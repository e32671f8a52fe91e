"""Configurations that transformers builds and saves, and what its own objects say of them: one JSON list on stdout.

Runs in a process of its own: ``python -m tests.real.library_shapes``.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from collections import Counter
from dataclasses import fields
from typing import Any

from modeldeck.backend.catalog.config_keys import EXPERTS
from tests.real.library_configs import text_key, text_types

VARIATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"num_hidden_layers": 7},
    {"tie_word_embeddings": True},
    {"tie_word_embeddings": False},
    {"num_key_value_heads": None},
    {"sliding_window": None},
    {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 256, "head_dim": None},
    {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 3},
)
_NAMES = {
    "layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "attention_heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocabulary": "vocab_size",
    "sliding_window": "sliding_window",
    "kv_lora_rank": "kv_lora_rank",
    "q_lora_rank": "q_lora_rank",
}


def expected(config: Any) -> dict[str, Any]:
    """What the library's own object says, under the names of ``ModelShape``; None where it has no such thing."""
    from transformers.cache_utils import get_layer_types_and_kwargs

    text = config.get_text_config(decoder=True)
    text.allow_global_per_layer_attribute_access = True
    told: dict[str, Any] = {ours: getattr(text, theirs, None) for ours, theirs in _NAMES.items()}
    if isinstance(told["intermediate_size"], list):
        told["intermediate_size"] = told["intermediate_size"][0]
    loaded = getattr(config, "thinker_config", config)
    owner = loaded if hasattr(loaded, "tie_word_embeddings") else text
    told["tied_embeddings"] = getattr(owner, "tie_word_embeddings", False) is True
    told["context_length"] = getattr(text, "max_position_embeddings", None)
    told["experts"] = next((n for key in EXPERTS if isinstance(n := getattr(text, key, None), int)), None)
    told["key_value_elements"] = uneven(text)
    told["layer_types"] = dict(Counter(get_layer_types_and_kwargs(text)[0]))
    return told


def uneven(text: Any) -> dict[str, int] | None:
    """For each kind of layer whose keys and values are not those of the configuration as a whole: their elements.

    None for latent attention, whose modules alone know what they cache.
    """
    from transformers.cache_utils import get_layer_types_and_kwargs

    if getattr(text, "kv_lora_rank", None) is not None:
        return None
    if not text.is_heterogeneous:
        return {}
    kinds = get_layer_types_and_kwargs(text)[0]
    found: dict[str, int] = {}
    for kind, layer in zip(kinds, text.per_layer_config, strict=True):
        found[kind] = max(found.get(kind, 0), 2 * layer.num_key_value_heads * layer.head_dim)
    usual = 2 * text.num_key_value_heads * text.head_dim
    return {kind: elements for kind, elements in found.items() if elements != usual}


def varied(cls: Any) -> list[tuple[str, Any]]:
    """The configuration with its defaults and with each variation that the class has the keys for."""
    default = cls()
    key = text_key(default)
    text = getattr(default, key) if key else default
    own = {field.name for field in fields(text)} | set(text.attribute_map)
    made: list[tuple[str, Any]] = []
    for variation in VARIATIONS:
        values = {name: value for name, value in variation.items() if name in own}
        if len(values) < len(variation) and "hidden_size" not in variation:
            continue
        whole = not values or "tie_word_embeddings" in values or key is None
        try:
            made.append((json.dumps(values), cls(**copy.deepcopy(values if whole else {str(key): values}))))
        except Exception:  # noqa: BLE001  # whatever a class refuses is no configuration
            continue
    return made


def main() -> None:
    """Print the list."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    logging.disable(logging.CRITICAL)
    rows: list[list[Any]] = []
    for name in text_types():
        try:
            configs = varied(CONFIG_MAPPING[name])
        except (StrictDataclassError, ValueError, TypeError, AttributeError):
            continue
        for variation, config in configs:
            try:
                told = expected(config)
            except (AttributeError, ValueError, TypeError):
                continue  # not a language model of layers: the library cannot make a cache for it either
            rows.append([name, variation, json.loads(config.to_json_string()), told])
            if variation == "{}":
                rows.append([name, "nothing in the file", {"model_type": name}, told])
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main()
