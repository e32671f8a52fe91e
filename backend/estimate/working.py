"""What a reply needs beside weights and cache: activations of the prefill, one layer at a time, and the logits.

The engine sends a whole prompt through the network at once, so that the longest prompt decides. The figures count what
is alive at the worst moment of ``modeling_llama.LlamaDecoderLayer`` and ``generate``; what grows with the square of the
prompt is in ``eager``.
"""

from __future__ import annotations

from modeldeck.backend.estimate.cache import kept_tokens, key_value_elements, layer_kinds
from modeldeck.backend.estimate.eager import matrix_bytes
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import Attention

_SAMPLING_BYTES = 28
"""For each token of the vocabulary: logits as they come, in float32, sorted, their indices (8), softmax, cumulated."""


def working_bytes(
    shape: ModelShape,
    tokens: int,
    element_bytes: int,
    architecture: str | None = None,
    *,
    on_cpu: bool = True,
    attention: Attention = Attention.AUTO,
) -> int:
    """The worst moment of a reply whose prompt has ``tokens`` tokens."""
    matrices = matrix_bytes(shape, architecture, tokens, element_bytes, on_cpu=on_cpu, attention=attention)
    prefill = _prefill_bytes(shape, tokens, element_bytes) + matrices
    return max(prefill, _SAMPLING_BYTES * (shape.vocabulary or 0))


def _prefill_bytes(shape: ModelShape, tokens: int, element_bytes: int) -> int:
    hidden = shape.hidden_size or 0
    # The residual and the normalized states; the norm squares them in float32, which takes two more.
    states = hidden * (2 * element_bytes + 2 * 4)
    layer = max(_mlp_elements(shape), _attention_elements(shape)) * element_bytes
    scanned = 3 * 4 * (shape.state_elements or 0)  # a scan without kernels: three float32 tensors of state by token
    return tokens * (states + max(layer, scanned)) + _windowed_surplus(shape, tokens, element_bytes)


def _mlp_elements(shape: ModelShape) -> int:
    """For each token: the gate after its activation, the up projection, and their product."""
    width = shape.intermediate_size or 4 * (shape.hidden_size or 0)
    if shape.experts and shape.active_experts:  # each token's states once more for each of its experts
        return 3 * max(width, shape.active_experts * (shape.hidden_size or 0))
    return 3 * width


def _attention_elements(shape: ModelShape) -> int:
    """For each token: queries, before and after the rotation, the output, and keys and values for every head."""
    heads = shape.attention_heads or 0
    if shape.kv_lora_rank:  # MLA expands the latent of every cached token, and copies the keys once more
        nope, rope, value = shape.qk_nope_head_dim or 0, shape.qk_rope_head_dim or 0, shape.v_head_dim or 0
        return heads * (2 * (nope + rope) + (nope + value) + (nope + rope) + 2 * value)
    return 5 * heads * (shape.head_dim or 0)


def _windowed_surplus(shape: ModelShape, tokens: int, element_bytes: int) -> int:
    """Keys and values beyond the window: sliding layers hold those of a whole prompt until the token after it.

    ``DynamicSlidingWindowLayer.update`` keeps a view of the last tokens, and with it the memory of all of them.
    """
    row = key_value_elements(shape)
    if row is None:
        return 0
    kinds = (layer_kinds(shape) or {}).items()
    surplus = sum(count * (tokens - kept_tokens(shape, kind, tokens)) for kind, count in kinds)
    return surplus * row * element_bytes
