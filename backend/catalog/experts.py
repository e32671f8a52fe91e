"""How many parameters of a mixture of experts one token goes through.

    active = total - (experts - active experts) x layers with experts x (3 x hidden x width of an expert)

An expert is a gated feed-forward layer of three matrices (gpt-oss adds their biases).
Shared experts, the router and the dense layers count in full. It is told only for the types for which a test has
compared it with the modules that the library builds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modeldeck.backend.catalog.config_keys import ACTIVE_EXPERTS, EXPERTS
from modeldeck.backend.catalog.config_part import MAX_LAYERS, ConfigPart, text_part

_WIDTHS = ("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size")
COMPARED = frozenset({
    "afmoe", "aria_text", "axk1", "axk2", "bailing_hybrid", "beam", "cohere2_moe", "deepseek_v2", "deepseek_v3",
    "deepseek_v32", "dots3_note_text", "ernie4_5_moe", "exaone_moe", "flex_olmo", "flint", "glm4_moe",
    "glm4_moe_lite", "glm4v_moe_text", "glm5_next_text", "glm_moe_dsa", "gpt_oss", "granitemoe", "granitemoe_swa",
    "granitemoehybrid", "granitemoeshared", "hy_v3", "hy_v4", "inkling2_text", "inkling_text", "jamba",
    "kimi_linear", "kolibri1", "laguna", "lfm2_moe", "llama4_text", "mellum", "mimo_v2_flash", "minimax",
    "minimax_m2", "minimax_m3_vl_text", "mistral4", "mistral_large4_text", "mixtral", "olmoe", "phimoe",
    "qwen2_moe", "qwen3_5_moe_text", "qwen3_moe", "qwen3_next", "qwen3_vl_moe_text", "solar_open", "zaya",
})  # fmt: skip
"""Types for which a test has compared the formula with the library's modules."""


def active_parameters(config: Mapping[str, Any], total: int | None) -> int | None:
    """None for a dense model, where the total is not known, and for types whose experts are built otherwise."""
    part = text_part(config)
    idle = idle_parameters(part) if part.model_type in COMPARED else None
    return total - idle if total is not None and idle is not None and 0 < idle < total else None


def idle_parameters(part: ConfigPart) -> int | None:
    """The parameters that a token does not go through, by the formula above."""
    experts, active = part.count(*EXPERTS), part.count(*ACTIVE_EXPERTS)
    hidden, width = part.count("hidden_size"), part.count(*_WIDTHS)
    layers = expert_layers(part)
    if not (experts and active and hidden and width and layers) or active >= experts:
        return None
    size = 3 * hidden * width
    if part.model_type == "gpt_oss":
        size += 2 * width + hidden
    return (experts - active) * layers * size


def expert_layers(part: ConfigPart) -> int | None:
    """How many layers have experts."""
    layers = part.count("num_hidden_layers")
    if layers is None or layers > MAX_LAYERS:
        return None
    kinds = part.words("mlp_layer_types")
    if kinds:
        return sum(kind in ("sparse", "moe") for kind in kinds)
    return sum(_has_experts(part, layer, layers) for layer in range(layers))


def _has_experts(part: ConfigPart, layer: int, layers: int) -> bool:
    if part.model_type == "jamba":
        period, offset = part.count("expert_layer_period") or 2, part.number("expert_layer_offset") or 0
        return layer % period == offset
    if part.model_type == "llama4_text":
        told = part.integers("moe_layers")
        return layer in told if told is not None else not (layer + 1) % (part.count("interleave_moe_layer_step") or 1)
    if part.model_type.startswith("ernie4_5"):
        first, last = part.number("moe_layer_start_index") or 0, part.raw("moe_layer_end_index")
        end = last if type(last) is int and last >= 0 else layers - 1
        return first <= layer <= end and not (layer + 1) % (part.count("moe_layer_interval") or 1)
    if layer < (part.number("first_k_dense_replace") or part.number("num_dense_layers") or 0):
        return False
    if layer in (part.integers("mlp_only_layers") or ()):
        return False
    if part.model_type == "deepseek_v2":
        return not layer % (part.count("moe_layer_freq") or 1)
    return not (layer + 1) % (part.count("decoder_sparse_step") or 1)
