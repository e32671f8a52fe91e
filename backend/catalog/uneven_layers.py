"""Layers whose heads differ from those of the rest: what a token adds to the cache of such a layer.

The library saves them as ``per_layer_config``, the layers' numbers to what is different there; older files of the Gemma
4 family tell ``global_head_dim`` and ``num_global_key_value_heads`` of their layers of full attention instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modeldeck.backend.catalog.config_part import ConfigPart

_GLOBAL_HEADS = frozenset({"gemma4_text", "gemma4_unified_text", "diffusion_gemma_text"})
_FULL = "full_attention"


def key_value_elements(
    part: ConfigPart, kinds: list[str], kv_heads: int | None, head_dim: int | None
) -> dict[str, int]:
    """Elements for each kind of layer that has others than ``2 x kv_heads x head_dim``; the largest of a kind."""
    found: dict[str, int] = {}
    for kind, layer in _different(part, kinds):
        rank = layer.count("kv_lora_rank")
        heads, width = layer.count("num_key_value_heads") or kv_heads, layer.count("head_dim") or head_dim
        if rank is not None:
            elements = rank + (layer.count("qk_rope_head_dim") or part.count("qk_rope_head_dim") or 0)
        elif heads is None or width is None or part.count("kv_lora_rank") is not None:
            continue
        else:
            elements = 2 * heads * width
        found[kind] = max(elements, found.get(kind, 0))
    usual = 2 * kv_heads * head_dim if kv_heads and head_dim else None
    return {kind: elements for kind, elements in found.items() if elements != usual}


def _different(part: ConfigPart, kinds: list[str]) -> Iterator[tuple[str, ConfigPart]]:
    """The kind of each layer that is different, and what is different there."""
    told = part.raw("per_layer_config")
    if isinstance(told, dict):
        for number, layer in told.items():
            index = int(number) if isinstance(number, str) and number.isdecimal() and len(number) < 6 else len(kinds)
            if index < len(kinds) and isinstance(layer, dict):
                yield kinds[index], ConfigPart(layer, None)
    elif part.model_type in _GLOBAL_HEADS and _FULL in kinds:
        heads: dict[str, Any] = {"head_dim": part.count("global_head_dim") or 512}
        if part.raw("attention_k_eq_v") is not False:
            heads["num_key_value_heads"] = part.count("num_global_key_value_heads")
        yield _FULL, ConfigPart(heads, None)
