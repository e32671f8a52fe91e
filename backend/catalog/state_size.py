"""What a layer of constant state keeps for one sequence, from the library's own modeling files (transformers 5.23).

``cache_utils.LinearAttentionLayer`` holds for each layer a convolution state of channels x kernel and a
recurrent state:

- Mamba: channels = inner, recurrent = inner x state, with inner = expand x hidden.
- Mamba 2: channels = inner + 2 x groups x state, recurrent = heads x head_dim x state = inner x state.
- Gated delta net: channels = 2 x key heads x key dim + value heads x value dim,
  recurrent = value heads x key dim x value dim.
- Kimi delta attention: channels = 3 x heads x dim, recurrent = heads x dim x dim.
- Lightning attention: no convolution, recurrent = heads x head_dim x head_dim.
- Short convolution: channels = hidden, nothing else.
- RG-LRU: (width - 1) x hidden, and one value for each unit of the LRU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modeldeck.backend.catalog.config_part import ConfigPart


def state_size(part: ConfigPart) -> int | None:
    """The state of a state-space layer, under whichever name."""
    return part.count("ssm_state_size", "mamba_d_state") or (
        part.count("state_size") if part.model_type in _MAMBA_1 | {"mamba2"} else None
    )


def conv_kernel(part: ConfigPart) -> int | None:
    """The tokens that the convolution of a constant-state layer sees."""
    names = ("mamba_d_conv", "linear_conv_kernel_dim", "conv_L_cache", "short_conv_kernel_size", "conv1d_width")
    return part.count(*names) or (part.count("conv_kernel") if state_size(part) else None)


def state_elements(part: ConfigPart, kinds: list[str]) -> int | None:
    """Elements of the largest constant state of a layer; None where no layer has one or its kind is not known."""
    if not {"linear_attention", "conv", "hybrid"}.intersection(kinds):
        return None
    formula = _FORMULAS.get(part.model_type) or _by_keys(part)
    return formula(part) if formula is not None else None


def _inner(part: ConfigPart) -> int | None:
    hidden = part.count("hidden_size")
    if part.model_type in ("mamba", "falcon_mamba") and (told := part.count("intermediate_size")):
        return told
    heads, dim = part.count("mamba_num_heads"), part.count("mamba_head_dim")
    if part.model_type == "nemotron_h" and heads and dim:
        return heads * dim
    if told := part.count("mamba_d_ssm"):
        return told
    expand = part.count("mamba_expand", "expand") or 2
    return expand * hidden if hidden else None


def _mamba(part: ConfigPart) -> int | None:
    inner, state, kernel = _inner(part), state_size(part), conv_kernel(part)
    return inner * (kernel + state) if inner and state and kernel else None


def _mamba2(part: ConfigPart) -> int | None:
    inner, state, kernel = _inner(part), state_size(part), conv_kernel(part)
    groups = part.count("mamba_n_groups", "mamba_ngroups", "n_groups") or 1
    return (inner + 2 * groups * state) * kernel + inner * state if inner and state and kernel else None


def _gated_delta_net(part: ConfigPart) -> int | None:
    heads = part.count("num_attention_heads")
    key_heads, value_heads = part.count("linear_num_key_heads") or heads, part.count("linear_num_value_heads") or heads
    key, value, kernel = part.count("linear_key_head_dim"), part.count("linear_value_head_dim"), conv_kernel(part)
    if not (key_heads and value_heads and key and value and kernel):
        return None
    return (2 * key_heads * key + value_heads * value) * kernel + value_heads * key * value


def _delta_attention(part: ConfigPart) -> int | None:
    inner = part.part("linear_attn_config")
    heads = part.count("linear_num_heads") or inner.count("num_heads") or part.count("num_attention_heads")
    dim = part.count("linear_head_dim") or inner.count("head_dim")
    kernel = part.count("linear_conv_kernel_dim") or inner.count("short_conv_kernel_size")
    return 3 * heads * dim * kernel + heads * dim * dim if heads and dim and kernel else None


def _lightning(part: ConfigPart) -> int | None:
    hidden, heads = part.count("hidden_size"), part.count("num_attention_heads")
    dim = part.count("head_dim") or (hidden // heads if hidden and heads else None)
    return heads * dim * dim if heads and dim else None


def _short_convolution(part: ConfigPart) -> int | None:
    hidden, kernel = part.count("hidden_size"), part.count("conv_L_cache")
    return hidden * kernel if hidden and kernel else None


def _rg_lru(part: ConfigPart) -> int | None:
    hidden, width = part.count("hidden_size"), part.count("conv1d_width")
    units = part.count("lru_width") or hidden
    return hidden * (width - 1) + units if hidden and width and units else None


_Formula = Callable[[ConfigPart], int | None]

_MAMBA_1 = frozenset({"mamba", "falcon_mamba", "jamba", "zamba"})
_FORMULAS: Mapping[str, _Formula] = {
    **dict.fromkeys(_MAMBA_1, _mamba),
    **dict.fromkeys(("mamba2", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "zamba2"), _mamba2),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid"), _gated_delta_net),
    **dict.fromkeys(("kimi_linear", "bailing_hybrid"), _delta_attention),
    **dict.fromkeys(("lfm2", "lfm2_moe"), _short_convolution),
    "lfm3": _short_convolution,
    "minimax": _lightning,
    "recurrent_gemma": _rg_lru,
}


def _by_keys(part: ConfigPart) -> _Formula | None:
    """Of a type that is not listed: told by keys that only one kind has."""
    if part.count("linear_key_head_dim") and part.count("linear_value_head_dim"):
        return _gated_delta_net
    return None
