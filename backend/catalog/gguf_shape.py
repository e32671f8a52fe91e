"""The keys of a GGUF header become a ``ModelShape``, by the names of a config.json and the same rules."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from modeldeck.backend.catalog.config_keys import EXPERTS
from modeldeck.backend.catalog.config_part import MAX_LAYERS, ConfigPart
from modeldeck.backend.catalog.gguf_header import GgufHeader
from modeldeck.backend.catalog.gguf_types import TENSOR_TYPES
from modeldeck.backend.catalog.shape import model_shape
from modeldeck.backend.model_shape import ModelShape

_MODEL_TYPES = {
    "bailingmoe2": "bailing_moe",
    "command-r": "cohere",
    "deepseek2": "deepseek_v3",
    "falcon-h1": "falcon_h1",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "gpt-oss": "gpt_oss",
    "granitehybrid": "granitemoehybrid",
    "lfm2moe": "lfm2_moe",
    "llama4": "llama4_text",
    "minimax-m2": "minimax_m2",
    "qwen2moe": "qwen2_moe",
    "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
}
"""``general.architecture`` where it is not the library's ``model_type``."""
_KEYS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "vocab_size": "vocab_size",
    "sliding_window": "attention.sliding_window",
    "sliding_window_pattern": "attention.sliding_window_pattern",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "num_experts_per_tok": "expert_used_count",
    "num_kv_shared_layers": "attention.shared_kv_layers",
    "full_attention_interval": "full_attention_interval",
    "conv_L_cache": "shortconv.l_cache",
    "conv_kernel": "ssm.conv_kernel",
    "mamba_d_conv": "ssm.conv_kernel",
    "linear_conv_kernel_dim": "ssm.conv_kernel",
    "state_size": "ssm.state_size",
    "ssm_state_size": "ssm.state_size",
    "mamba_d_state": "ssm.state_size",
    "linear_key_head_dim": "ssm.state_size",
    "mamba_d_ssm": "ssm.inner_size",
    "n_groups": "ssm.group_count",
    "linear_num_key_heads": "ssm.group_count",
    "linear_num_value_heads": "ssm.time_step_rank",
}
"""A key of config.json to one below the architecture's name."""
_STATE_KINDS = {"lfm2": "conv", "lfm2moe": "conv"}
_LIKE_QWEN3_NEXT = frozenset({"qwen3next", "qwen35", "qwen35moe"})


def gguf_shape(header: GgufHeader) -> ModelShape | None:
    """The sizes of the network, or None where the header tells none of them."""
    name = header.architecture or ""
    # Every key is there, if with nothing in it, so that no default of the library's class stands in for it.
    config: dict[str, Any] = {key: header.values.get(f"{name}.{below}") for key, below in _KEYS.items()}
    config |= dict.fromkeys(EXPERTS, header.values.get(f"{name}.expert_count"))
    config |= {"model_type": _MODEL_TYPES.get(name, name), "max_position_embeddings": header.context_length}
    config["vocab_size"] = config["vocab_size"] or header.vocabulary
    config["tie_word_embeddings"] = bool(header.parameters) and not header.has_output
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    if isinstance(kv_heads, list):
        config["layer_types"] = _kinds(name, kv_heads)
        config["num_key_value_heads"] = _largest(kv_heads)
    if isinstance(heads, list):
        config["num_attention_heads"] = _largest(heads)
    _split_heads(config, header, name)
    shape = model_shape(config)
    return shape and _with_mla(_as_told(shape, config), header, name)


def quantization_mix(header: GgufHeader) -> str | None:
    """How much of the weights each type holds: ``Q4_K 86%, Q6_K 13%``; None where nothing is quantized."""
    if header.quantization is None:
        return None
    most = sorted(header.elements_by_type.items(), key=lambda item: -item[1])
    total = header.parameters or 1
    shares = [(TENSOR_TYPES[kind][0], 100 * elements / total) for kind, elements in most]
    return ", ".join(f"{kind} {share:.0f}%" for kind, share in shares if share >= 0.5)


def active_parameters(header: GgufHeader) -> int | None:
    """Those that one token goes through, from the tensors of the experts; None for a dense model."""
    name = header.architecture or ""
    experts, active = header.values.get(f"{name}.expert_count"), header.values.get(f"{name}.expert_used_count")
    if type(experts) is not int or type(active) is not int or not 0 < active < experts or not header.expert_elements:
        return None
    return header.parameters - header.expert_elements * (experts - active) // experts


def _as_told(shape: ModelShape, config: dict[str, Any]) -> ModelShape:
    """A GGUF header tells the keys and values of every type; a config.json of some types has flags for them."""
    part = ConfigPart(config, None)
    told = part.count("num_hidden_layers")
    layers = told if told is not None and told <= MAX_LAYERS else None
    return structs.replace(
        shape,
        layers=layers,
        layer_types=shape.layer_types if sum(shape.layer_types.values()) == layers else {},
        kv_heads=part.count("num_key_value_heads") or shape.attention_heads,
    )


def _kinds(name: str, kv_heads: list[Any]) -> list[str]:
    """A layer without keys and values keeps a constant state."""
    if 0 not in kv_heads:
        return []
    state = _STATE_KINDS.get(name, "linear_attention")
    return ["full_attention" if heads else state for heads in kv_heads]


def _largest(values: list[Any]) -> int | None:
    return max((value for value in values if type(value) is int), default=None)


def _split_heads(config: dict[str, Any], header: GgufHeader, name: str) -> None:
    """Put what the header says of states where a config.json of that type has it."""
    inner = header.values.get(f"{name}.ssm.inner_size")
    if type(inner) is not int:
        return
    heads = config["linear_num_value_heads"]
    if name in _LIKE_QWEN3_NEXT and type(heads) is int and heads > 0:
        config["linear_value_head_dim"] = inner // heads
    if name in ("mamba", "mamba2"):
        config["intermediate_size"] = inner


def _with_mla(shape: ModelShape, header: GgufHeader, name: str) -> ModelShape:
    """The parts of a head, which the header tells under other names than config.json."""
    if shape.kv_lora_rank is None:
        return shape
    rope, value = (header.values.get(f"{name}.{key}") for key in ("rope.dimension_count", "attention.value_length_mla"))
    key = header.values.get(f"{name}.attention.key_length_mla")
    both = type(rope) is int and type(key) is int and 0 < rope < key
    return structs.replace(
        shape,
        qk_rope_head_dim=rope if type(rope) is int and 0 < rope < 2**20 else None,
        qk_nope_head_dim=key - rope if both and type(key) is int and type(rope) is int else None,
        v_head_dim=value if type(value) is int and 0 < value < 2**20 else None,
    )
