"""Models and machines that the estimate's tests reckon with."""

from __future__ import annotations

from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, MemoryReading
from modeldeck.backend.model_shape import ModelShape, WeightBlock
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo, ModelSource, Quantization

GB = 10**9

LLAMA_8B_SHAPE = ModelShape(
    layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    attention_heads=32,
    kv_heads=8,
    head_dim=128,
    vocabulary=128_256,
)
_LINEAR = 4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336
_ROWS = 4096 * 2 + 1024 * 2 + 2 * 14336 + 4096
_TABLE = 128_256 * 4096
LLAMA_8B = ModelInfo(
    id="meta/llama@1",
    name="llama",
    path="/models/llama",
    source=ModelSource.FOLDER,
    format=ModelFormat.SAFETENSORS,
    architecture="llama",
    parameters=2 * _TABLE + 32 * (_LINEAR + 8192) + 4096,
    dtype="bfloat16",
    load_dtype="bfloat16",
    context_length=131_072,
    shape=LLAMA_8B_SHAPE,
    weights=(
        WeightBlock(name="model.embed_tokens", other_elements=_TABLE, stored_bytes=2 * _TABLE),
        WeightBlock(
            name="model.layers.0",
            count=32,
            linear_elements=_LINEAR,
            linear_rows=_ROWS,
            other_elements=8192,
            largest_elements=4096 * 14336,
            stored_bytes=2 * (_LINEAR + 8192),
        ),
        WeightBlock(name="model.norm", other_elements=4096, stored_bytes=8192),
        WeightBlock(name="lm_head", other_elements=_TABLE, stored_bytes=2 * _TABLE),
    ),
)


def asked(device: str = "auto", dtype: str = "auto", quantization: str = "none") -> LoadRequest:
    """How Llama would be loaded."""
    return LoadRequest(
        model_id=LLAMA_8B.id,
        path=LLAMA_8B.path,
        device=device,
        dtype=dtype,
        quantization=Quantization(quantization),
    )


def machine(
    *gpus_free: int, ram_free: int = 64 * GB, total: int = 80 * GB, processes: tuple[DeviceProcess, ...] = ()
) -> MemoryReading:
    """GPUs with so much free each, and RAM."""
    return MemoryReading(
        devices=tuple(
            DeviceMemory(
                name=f"cuda:{index}", label="GPU", used_bytes=total - free, total_bytes=total, processes=processes
            )
            for index, free in enumerate(gpus_free)
        ),
        ram=DeviceMemory(name="ram", label="RAM", used_bytes=128 * GB - ram_free, total_bytes=128 * GB),
    )
