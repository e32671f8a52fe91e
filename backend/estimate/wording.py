"""The grounds of an estimate in plain sentences."""

from __future__ import annotations

from modeldeck.backend.estimate.eager import is_eager
from modeldeck.backend.estimate.figures import DeviceNeed
from modeldeck.backend.estimate.weights import DTYPE_BYTES
from modeldeck.backend.measurements import Measurement
from modeldeck.backend.memory_reading import DeviceMemory
from modeldeck.backend.models import Attention, LoadRequest, ModelFormat, ModelInfo, Quantization
from modeldeck.backend.quantizers import LABELS

_NAMED_PROCESSES = 3
"""How many processes of a device are named; the others are told as one."""


def size(byte_count: float) -> str:
    """Bytes as MB or GB of 10**6 and 10**9 bytes."""
    return f"{byte_count / 1e9:.1f} GB" if byte_count >= 0.95e9 else f"{byte_count / 1e6:.0f} MB"


def weights_ground(model: ModelInfo, dtype: str, request: LoadRequest, total: int, *, unpacked: bool = False) -> str:
    """Where the figure of the weights comes from."""
    kept = f"in {dtype}"
    quantization = request.quantization
    quantized = quantization is not Quantization.NONE
    if quantized:
        double = ", double quantization" if quantization.is_bnb_4bit and request.double_quantization else ""
        name = f"{LABELS[quantization].removesuffix(')')}{double})"
        kept = f"in {name}; embeddings, norms and the output head stay in {dtype}"
    elif unpacked:
        kept = f"unpacked to {dtype} (stored as {model.quantization})"
    elif model.quantization and model.format is not ModelFormat.GGUF:
        kept = f"as stored ({model.quantization}), the rest in {dtype}"
    source = "counted from the headers" if model.weights else "from the number of parameters"
    if model.parameters is None:
        source = "assumed from the size of the files"
    if model.format is ModelFormat.GGUF:
        kept = f"unpacked to {dtype}" if not quantized else kept
    return f"Weights: {size(total)} {kept}, {source}."


def fp8_ground(model: ModelInfo, dtype: str, *, known: bool) -> str:
    """What an older GPU would make of fp8, where nobody tells how new this one is; empty where it does not matter."""
    packed = sum(block.count * block.packed_elements for block in model.weights)
    if model.quantization != "fp8" or known or not packed:
        return ""
    more = packed * DTYPE_BYTES[dtype] - sum(block.count * block.fixed_bytes for block in model.weights)
    return f"A GPU below compute capability 8.9 cannot keep fp8: it would need {size(more)} more, for {dtype}."


def experts_ground(model: ModelInfo, dtype: str, quantization: Quantization) -> str:
    """Said where most people would expect the experts to become small; empty elsewhere."""
    if quantization is Quantization.NONE:
        return ""
    linear = sum(block.count * block.linear_elements for block in model.weights)
    other = sum(block.count * block.other_elements for block in model.weights)
    if not model.shape or not model.shape.experts or other < linear:
        return ""
    return f"The experts stay in {dtype}: transformers 5 merges them, and only linear layers are quantized."


def cache_ground(total: int | None, tokens: int) -> str:
    """The cache's figure, or that it is not known."""
    if total is None:
        return "The cache of the conversation is not counted: the files do not tell its size."
    return f"Cache: {size(total)} for one conversation of {tokens:,} tokens."


def eager_ground(architecture: str | None, attention: Attention) -> str:
    """Why a long prompt takes so much; empty where attention is fused."""
    if not is_eager(architecture, attention):
        return ""
    why = "There is no fused attention for this type of model" if is_eager(architecture) else "Attention is not fused"
    return f"{why}: the working memory grows with the prompt squared."


def passing_ground(passing: int) -> str:
    """What the load takes for a moment; empty where that is little."""
    return f"While it loads, {size(passing)} more is taken for a moment." if passing > 50e6 else ""


def unpacking_ground(byte_count: int) -> str:
    """Why a load on a GPU needs RAM; empty where it needs little."""
    return f"The GGUF file is unpacked in RAM first, which takes {size(byte_count)} there." if byte_count else ""


def engine_ground(byte_count: int, device: str) -> str:
    """What the engine's own process takes."""
    what = "PyTorch and transformers themselves" if device == "ram" else "the driver's context and its buffers"
    return f"Engine: {size(byte_count)} of {device} for {what}."


def device_grounds(need: DeviceNeed, memory: DeviceMemory) -> list[str]:
    """Who else is on the device, and what unloading gives back."""
    said = []
    others = [process for process in memory.processes if not process.ours]
    for process in others[:_NAMED_PROCESSES]:
        held = "an unknown amount" if process.used_bytes is None else size(process.used_bytes)
        said.append(f"{process.name} (pid {process.pid}, {process.user}) holds {held} of {need.device}.")
    if len(others) > _NAMED_PROCESSES:
        said.append(f"{len(others) - _NAMED_PROCESSES} more processes are on {need.device}.")
    if need.credit_bytes:
        said.append(f"Unloading the model before it gives back {size(need.credit_bytes)} of {need.device}.")
    return said


def staying_ground(staying: int) -> str:
    """Pages of the file that stay mapped beside the weights; empty where there are few."""
    if staying < 50e6:
        return ""
    return f"{size(staying)} of the file stay mapped beside the converted weights; the system may take them back."


def untouched_ground(untouched: int) -> str:
    """Why less is counted than the weights have; empty where that is little."""
    if untouched < 50e6:
        return ""
    return f"{size(untouched)} of the embedding table are read only when their tokens come, and are not counted."


def measured_ground(measured: Measurement) -> str:
    """That the figure comes from this machine."""
    of = f"a conversation of {measured.context_tokens:,} tokens" if measured.context_tokens else "the load alone"
    return f"Measured here: {size(measured.peak_bytes)} at the peak of {of}."
