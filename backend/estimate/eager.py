"""Attention that keeps matrices of tokens by tokens: where the library has no fused one, and the masks of windows.

Where nothing else is asked for, the engine names no ``attn_implementation``, so that transformers 5.23 takes PyTorch's
fused attention (sdpa) wherever the model's class says ``_supports_sdpa``, and the plain one (eager) elsewhere.
"""

from __future__ import annotations

from modeldeck.backend.estimate.cache import WINDOWED, layer_kinds
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import Attention

WITH_SINKS = frozenset({
    "deepseek_v4", "flint", "gpt_oss", "granite_swa", "granitemoe_swa", "hy_v4", "inkling2", "inkling2_text",
    "mimo_v2_flash",
})  # fmt: skip
"""Types without sdpa whose scores are copied once more, to have a column for what attends to nothing."""
EAGER = WITH_SINKS | {
    "big_bird", "bigbird_pegasus", "blip", "bloom", "codegen", "cpmant", "gemma2", "git", "got_ocr2", "gpt_neo",
    "gpt_neox_japanese", "gptj", "megatron-bert", "mpt", "mvp", "openai-gpt", "pp_chart2table", "prophetnet",
    "reformer", "rembert", "roformer", "trocr", "vaultgemma", "xglm", "xlm", "xlnet",
}  # fmt: skip
"""All types that write text, have attention and no sdpa; tests/real holds it against the library."""
_FLOAT32 = 4


def matrix_bytes(
    shape: ModelShape,
    architecture: str | None,
    tokens: int,
    element_bytes: int,
    *,
    on_cpu: bool,
    attention: Attention = Attention.AUTO,
) -> int:
    """What one layer's matrices of tokens by tokens take at their worst moment, for a prompt of ``tokens``."""
    kind = _known_as(architecture)
    if is_eager(architecture, attention):
        return tokens * tokens * (shape.attention_heads or 0) * _score_bytes(kind, element_bytes, on_cpu)
    # sdpa gets no mask (``_ignore_causal_mask_sdpa``) but for layers whose window is full: truth values, which become
    # numbers for the length of one call.
    return tokens * tokens * (1 + element_bytes) if _fills_a_window(shape, tokens) else 0


def is_eager(architecture: str | None, attention: Attention = Attention.AUTO) -> bool:
    """Whether attention is not fused: the library has none that is for this type, or it was asked for."""
    return attention is Attention.EAGER or _known_as(architecture) in EAGER


def _score_bytes(kind: str, element_bytes: int, on_cpu: bool) -> int:
    """For each pair of tokens and each head, after ``eager_attention_forward`` of gpt_oss and gemma2."""
    if kind in WITH_SINKS:
        return 3 * element_bytes  # the scores, with their sink and shifted, their softmax
    converted = _FLOAT32 if on_cpu and element_bytes < _FLOAT32 else 0  # a GPU converts within the softmax
    return element_bytes + _FLOAT32 + converted


def _fills_a_window(shape: ModelShape, tokens: int) -> bool:
    has_windows = any(kind in WINDOWED for kind in layer_kinds(shape) or {})
    return has_windows and shape.sliding_window is not None and tokens >= shape.sliding_window


def _known_as(architecture: str | None) -> str:
    """A GGUF file writes ``gpt-oss``."""
    name = architecture or ""
    return name if name in EAGER else name.replace("-", "_")
