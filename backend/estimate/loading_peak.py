"""What a load takes beside the weights that it ends with, and for how long.

Transformers 5.23 maps safetensors files. On the CPU a weight that keeps its dtype stays where it is mapped; one that
is converted, merged or quantized is written anew, while the pages that were read stay resident: until the end of the
load, or for as long as any other weight of the file is mapped.
"""

from __future__ import annotations

from msgspec import Struct

from modeldeck.backend.estimate.weights import DTYPE_BYTES
from modeldeck.backend.model_shape import WeightBlock
from modeldeck.backend.models import ModelInfo, Quantization

_QUANTIZER_BYTES = 12
"""For each element of the weight that is being quantized: in float16 or float32, its absolute value, scaled, rounded;
4-bit weights are unpacked to int32 once more where the CPU has AVX512-BF16 (``_convert_weight_packed_for_cpu``)."""
_TOKEN_BYTES = 900
"""For each token of a GGUF file's vocabulary, with its merges and scores; measured with 49,152 of them."""
FAULT_AROUND_BYTES = 64 * 1024
"""Linux maps so much of a file at once when a page of it is touched (``fault_around_bytes``)."""


class Extra(Struct, frozen=True):
    """Bytes beside the final weights."""

    passing: int
    """Only while the load runs."""
    staying: int
    """As long as the model stays: mapped pages that nobody needs any more."""
    reclaimable: int = 0
    """Of ``passing``: pages of a file, which the system may take back at any time; all of ``staying`` are such."""
    untouched: int = 0
    """Of the weights: rows of a mapped embedding table that no token has asked for."""


def cpu_extra(
    blocks: tuple[WeightBlock, ...],
    stored_dtype: str | None,
    dtype: str,
    quantization: Quantization,
    tokens: int,
    tied: bool,
) -> Extra:
    """What loading on the CPU from safetensors takes beside the weights."""
    stored_bytes = DTYPE_BYTES.get(stored_dtype or "", 0)
    quantized = quantization is not Quantization.NONE
    converted = stored_dtype != dtype
    rewritten = transient = untouched = 0
    for block in blocks:
        if converted:
            rewritten += block.count * block.stored_bytes
        else:
            moved = block.fused_elements + (block.linear_elements if quantized else 0)
            rewritten += block.count * moved * stored_bytes
            if not tied and block.name.endswith(("embed_tokens", "wte", "embed_in", "embeddings", "word_embeddings")):
                untouched = max(0, block.other_elements * stored_bytes - tokens * FAULT_AROUND_BYTES)
        fused = block.fused_elements * DTYPE_BYTES[dtype]
        transient = max(transient, 2 * fused // 3, _QUANTIZER_BYTES * block.largest_elements if quantized else 0)
    if converted:
        return Extra(passing=rewritten + transient, staying=0, reclaimable=rewritten)
    return Extra(passing=rewritten + transient, staying=rewritten, reclaimable=rewritten, untouched=untouched)


def gpu_extra(blocks: tuple[WeightBlock, ...], dtype: str, quantization: Quantization) -> Extra:
    """What loading takes on a GPU: one weight in full precision, or the experts of one layer once more."""
    size = DTYPE_BYTES[dtype]
    merging = max((2 * block.fused_elements * size // 3 for block in blocks), default=0)
    if quantization is Quantization.NONE:
        return Extra(passing=merging, staying=0)
    return Extra(passing=max(merging, *(2 * size * block.largest_elements for block in blocks)), staying=0)


def gguf_ram_passing(model: ModelInfo) -> int:
    """What unpacking a GGUF file takes in RAM, wherever its weights go: all of them in float32, and the vocabulary.

    ``load_gguf_checkpoint`` makes the whole state dict before the first weight goes to its device.
    """
    vocabulary = model.shape.vocabulary if model.shape is not None else None
    return 4 * (model.parameters or 0) + _TOKEN_BYTES * (vocabulary or 0)


def gguf_extra(model: ModelInfo, element_bytes: int, quantization: Quantization, *, prepared: bool) -> Extra:
    """What loading a GGUF file takes beside the weights.

    Without its prepared copy the file is mapped until the load ends, and its vocabulary is in Python objects, of which
    the tokenizer is made. The copy holds float32, of which quantized weights leave the mapped pages behind.
    """
    unpacked = 4 * (model.parameters or 0)
    if not prepared:
        # On the CPU every weight is unpacked into the dtype that it stays in; no state dict lies beside the model.
        passing = model.size_bytes + gguf_ram_passing(model) - unpacked
        return Extra(passing=passing, staying=0, reclaimable=model.size_bytes)
    if element_bytes != 4:
        return Extra(passing=unpacked, staying=0, reclaimable=unpacked)
    mapped = unpacked if quantization is not Quantization.NONE else 0
    return Extra(passing=mapped, staying=mapped, reclaimable=mapped)
