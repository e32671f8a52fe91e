"""Bytes of the weights in memory, for the dtype and the quantization that are asked for."""

from __future__ import annotations

from modeldeck.backend.model_shape import ModelShape, WeightBlock
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo, Quantization
from modeldeck.backend.quantizers import linear_bytes

DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one element, under torch's names."""


def load_dtype(model: ModelInfo, request: LoadRequest) -> str:
    """The dtype that the floating-point weights will have, as transformers chooses it.

    ``auto`` is the dtype of config.json, else the stored one (``modeling_utils._get_dtype``); a GGUF file is unpacked
    to float32.
    """
    if request.dtype in DTYPE_BYTES:
        return request.dtype
    if model.format is ModelFormat.GGUF:
        return "float32"
    for known in (model.load_dtype, model.dtype):
        if known in DTYPE_BYTES:
            return known
    return "bfloat16" if model.quantization else "float32"


FP8_CAPABILITY = (8, 9)
"""From which compute capability on a GPU keeps fp8 (``FineGrainedFP8HfQuantizer.validate_environment``)."""


def unpacks(model: ModelInfo, *, keeps_fp8: bool) -> bool:
    """Whether the loader turns packed weights into plain ones, on some devices or on all.

    compressed-tensors are unpacked by the first forward pass (``CompressedTensorsHfQuantizer``, ``dequantize=False``).
    """
    method = (model.quantization or "").partition("-")[0]
    return method == "ct" or (method == "fp8" and not keeps_fp8)


def block_bytes(
    block: WeightBlock,
    dtype_bytes: int,
    quantization: Quantization,
    *,
    double_quantization: bool = True,
    repacked: bool = False,
    unpacked: bool = False,
) -> int:
    """What one module of a block takes: its parameters, and what it takes to unpack them (``linear_bytes``)."""
    packed = block.packed_elements * dtype_bytes if unpacked and block.packed_elements else block.fixed_bytes
    linear = linear_bytes(
        quantization,
        block.linear_elements,
        block.linear_rows,
        dtype_bytes,
        double_quantization=double_quantization,
        repacked=repacked,
    )
    return block.other_elements * dtype_bytes + packed + linear


def blocks_of(model: ModelInfo) -> tuple[WeightBlock, ...]:
    """The blocks that the headers told, else what can be made of the number of parameters and the shape."""
    return model.weights or _assumed_blocks(model)


def _assumed_blocks(model: ModelInfo) -> tuple[WeightBlock, ...]:
    """GGUF files and pickles: an embedding table, equal layers and a head, as large as the shape makes them."""
    stored = DTYPE_BYTES.get(model.load_dtype or model.dtype or "", 0)
    elements = model.parameters or (model.size_bytes // stored if stored else 0)
    if not elements:
        return ()
    shape = model.shape or ModelShape()
    layers = shape.layers or 1
    table = min((shape.vocabulary or 0) * (shape.hidden_size or 0), elements // (1 if shape.tied_embeddings else 2))
    tables = 1 if shape.tied_embeddings else 2
    layer, rest = divmod(elements - tables * table, layers)
    embedding = WeightBlock(name="embed_tokens", other_elements=table + rest, stored_bytes=0)
    rows = layer // (shape.hidden_size or layer or 1)
    run = WeightBlock(
        name="layers.0", count=layers, linear_elements=layer, linear_rows=rows, largest_elements=_largest(shape, layer)
    )
    head = WeightBlock(name="lm_head", other_elements=table)
    return (embedding, run) if shape.tied_embeddings or not table else (embedding, run, head)


def _largest(shape: ModelShape, layer: int) -> int:
    return min(layer, (shape.hidden_size or 0) * (shape.intermediate_size or 0)) or layer
