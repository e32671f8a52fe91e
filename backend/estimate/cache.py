"""What the cache of one sequence takes, by the kind of each layer (``transformers.cache_utils``, 5.23).

The figures are those of ``DynamicCache`` after ``tokens`` tokens, one sequence and no beams.
"""

from __future__ import annotations

from modeldeck.backend.model_shape import ModelShape

WINDOWED = frozenset({"sliding_attention", "chunked_attention", "hybrid_sliding", "reference_sliding_attention"})
"""Kinds of layers that look back no farther than ``sliding_window``."""
_STATES = frozenset(
    {"linear_attention", "mamba", "mamba2", "conv", "recurrent", "rwkv", "hybrid", "hybrid_sliding", "hybrid_mamba"}
)
"""Kinds of layers with a constant state; the hybrid ones have keys and values as well."""
_WITHOUT_KEYS = _STATES - {"hybrid", "hybrid_sliding", "hybrid_mamba"} | {"moe", "mlp", "dummy"}


def cache_bytes(shape: ModelShape, tokens: int, element_bytes: int) -> int | None:
    """Bytes of the whole cache, or None where the shape does not tell.

    Llama-3.1-8B: 32 layers x 2 x 8 heads x 128 x 2 bytes = 128 KiB for each token.
    """
    kinds = layer_kinds(shape)
    if kinds is None:
        return None
    total = 0
    for kind, count in kinds.items():
        layer = layer_cache_bytes(shape, kind, tokens, element_bytes)
        if layer is None:
            return None
        total += count * layer
    return total


def layer_kinds(shape: ModelShape) -> dict[str, int] | None:
    """How many layers of each kind; all of them full attention (or states) where nothing else is said."""
    if shape.layer_types:
        return shape.layer_types
    if shape.layers is None:
        return None
    if shape.state_elements is not None and shape.attention_heads is None:
        return {"mamba": shape.layers}
    return {"full_attention": shape.layers}


def layer_cache_bytes(shape: ModelShape, kind: str, tokens: int, element_bytes: int) -> int | None:
    """Bytes that one layer of a kind keeps after so many tokens, or None where that is not known."""
    total = 0
    if kind in _STATES:
        if shape.state_elements is None:
            return None
        total += _state_bytes(shape, kind, element_bytes)
    if kind in _WITHOUT_KEYS:
        return total
    row = shape.key_value_elements.get(kind) or key_value_elements(shape)
    if row is None:
        return None
    return total + row * kept_tokens(shape, kind, tokens) * element_bytes


def _state_bytes(shape: ModelShape, kind: str, element_bytes: int) -> int:
    """The convolution's state has the dtype of the model; a recurrent state is kept in float32."""
    elements = shape.state_elements or 0
    if kind == "conv":
        return elements * element_bytes
    kernel, size = shape.conv_kernel or 0, shape.state_size or 0
    convolved = elements * kernel // (kernel + size) if size else 0
    return convolved * element_bytes + (elements - convolved) * 4


def key_value_elements(shape: ModelShape) -> int | None:
    """Elements that one token adds to a layer of attention; MLA caches the latent and the rotary key alone."""
    if shape.kv_lora_rank:
        return shape.kv_lora_rank + (shape.qk_rope_head_dim or 0)
    if not shape.kv_heads or not shape.head_dim:
        return None
    return 2 * shape.kv_heads * shape.head_dim


def kept_tokens(shape: ModelShape, kind: str, tokens: int) -> int:
    """How many tokens a layer keeps: a sliding one drops all but the last ``sliding_window - 1``."""
    if kind in WINDOWED and shape.sliding_window:
        return min(tokens, shape.sliding_window - 1)
    return tokens
