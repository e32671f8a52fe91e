"""config.json becomes a ``ModelShape``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modeldeck.backend.catalog.config_keys import ACTIVE_EXPERTS, EXPERTS
from modeldeck.backend.catalog.config_part import MAX_LAYERS, ConfigPart, text_part
from modeldeck.backend.catalog.layer_kinds import counted, layer_kinds
from modeldeck.backend.catalog.layer_rules import window
from modeldeck.backend.catalog.state_size import conv_kernel, state_elements, state_size
from modeldeck.backend.catalog.uneven_layers import key_value_elements
from modeldeck.backend.model_shape import ModelShape

_TIMES_HIDDEN = {"mamba": 2, "falcon_mamba": 2, "zamba2": 4, "rwkv": 4}
"""Types whose class makes the feed-forward width out of the hidden size where the file does not tell it."""
_HEAD_IS_ROPE = frozenset({"axk2", "bailing_hybrid", "hy_v4"})
"""Types whose class sets ``head_dim`` to the rotary part of a head, whatever the file tells."""


def model_shape(config: Mapping[str, Any]) -> ModelShape | None:
    """The sizes of the language part; None where the file tells none of them."""
    part = text_part(config)
    layers = layer_count(part)
    hidden = part.count("hidden_size", "n_embed")
    heads = part.count("num_attention_heads")
    experts = part.count(*EXPERTS)
    kinds = layer_kinds(part, layers)
    kv_heads, head_dim = _kv_heads(part, heads), _head_dim(part, hidden, heads)
    shape = ModelShape(
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate_size(part),
        attention_heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocabulary=part.count("vocab_size"),
        tied_embeddings=_tied(config, part),
        layer_types=counted(kinds),
        key_value_elements=key_value_elements(part, kinds, kv_heads, head_dim),
        sliding_window=window(part) if any("sliding" in kind for kind in kinds) else _chunk(part, kinds),
        kv_lora_rank=part.count("kv_lora_rank"),
        q_lora_rank=part.count("q_lora_rank"),
        qk_rope_head_dim=part.count("qk_rope_head_dim"),
        qk_nope_head_dim=part.count("qk_nope_head_dim"),
        v_head_dim=part.count("v_head_dim"),
        experts=experts if experts is not None and experts > 1 else None,
        active_experts=part.count(*ACTIVE_EXPERTS) if experts is not None and experts > 1 else None,
        state_size=state_size(part),
        conv_kernel=conv_kernel(part),
        state_elements=state_elements(part, kinds),
    )
    return None if shape == ModelShape() else shape


def layer_count(part: ConfigPart) -> int | None:
    """How many layers there are."""
    if part.model_type in ("nemotron_h", "zamba2"):
        told = part.words("layer_types") or part.words("layers_block_type") or part.raw("hybrid_override_pattern")
        if isinstance(told, list | str) and told:
            return len(told) if len(told) <= MAX_LAYERS else None
        if part.model_type == "nemotron_h":
            return 4
    told = part.count("num_hidden_layers", "n_layers")
    return told if told is not None and told <= MAX_LAYERS else None


def intermediate_size(part: ConfigPart) -> int | None:
    """The width of a dense feed-forward layer; of several that of the first."""
    several = part.integers("intermediate_size")
    if several:
        return several[0] if several[0] > 0 else None
    told = part.count("intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size")
    hidden = part.count("hidden_size")
    if told is None and hidden is not None and part.model_type in _TIMES_HIDDEN:
        return hidden * (part.count("expand") or _TIMES_HIDDEN[part.model_type])
    return told


def _tied(config: Mapping[str, Any], part: ConfigPart) -> bool:
    """As the whole model's own class has it, which is what ties the weights; else as the language part has it."""
    thinker = config.get("thinker_config")  # of a model that speaks its replies: the part that is loaded
    loaded = thinker if isinstance(thinker, dict) else config
    model_type = loaded.get("model_type")
    whole = ConfigPart(loaded, model_type if isinstance(model_type, str) else None)
    value = whole.raw("tie_word_embeddings")
    if value is None:
        value = config.get("tie_embedding") if part.model_type.startswith("lfm2") else part.raw("tie_word_embeddings")
    return value is True


def _kv_heads(part: ConfigPart, heads: int | None) -> int | None:
    if part.model_type == "falcon":
        if part.flag("new_decoder_architecture"):
            return part.count("num_kv_heads") or heads
        return 1 if part.flag("multi_query") else heads
    if part.model_type == "gpt_bigcode":
        return 1 if part.flag("multi_query") else heads
    if part.model_type in ("dbrx", "mpt"):
        return part.part("attn_config").count("kv_n_heads") or (1 if part.model_type == "dbrx" else heads)
    return part.count("num_key_value_heads") or heads


def _head_dim(part: ConfigPart, hidden: int | None, heads: int | None) -> int | None:
    if part.model_type in ("zamba", "zamba2"):  # the shared attention sees the embeddings beside the hidden states
        return part.count("attention_head_dim") or _share(2 * hidden if hidden else None, heads)
    told = part.count("head_dim", "d_kv")
    if told is not None and part.model_type not in _HEAD_IS_ROPE:
        return told
    if part.count("kv_lora_rank") is not None:
        return part.count("qk_rope_head_dim")
    return _share(hidden, heads)


def _share(width: int | None, heads: int | None) -> int | None:
    return width // heads or None if width and heads else None


def _chunk(part: ConfigPart, kinds: list[str]) -> int | None:
    return part.count("attention_chunk_size") if "chunked_attention" in kinds else None
