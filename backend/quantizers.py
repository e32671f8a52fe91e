"""The packages that quantize weights while they are loaded, and what they make of a weight."""

from __future__ import annotations

from importlib.util import find_spec

from msgspec import Struct

from modeldeck.backend.models import Quantization as Q


class Quantizer(Struct, frozen=True):
    """A package, under its names."""

    name: str
    """What people and transformers call it."""
    module: str
    """What is imported."""
    install: str
    """What pip calls it."""
    needs_gpu: bool = False

    @property
    def installed(self) -> bool:
        """Whether it can be imported here; looks at the disk."""
        try:
            return find_spec(self.module) is not None
        except ModuleNotFoundError:  # of ``optimum.quanto``: not even optimum is there
            return False


BITSANDBYTES = Quantizer("bitsandbytes", "bitsandbytes", "bitsandbytes")
TORCHAO = Quantizer("torchao", "torchao", "torchao")
HQQ = Quantizer("hqq", "hqq", "hqq", needs_gpu=True)
QUANTO = Quantizer("quanto", "optimum.quanto", "optimum-quanto")

QUANTIZERS: dict[Q, Quantizer] = {
    Q.INT8: BITSANDBYTES,
    Q.NF4: BITSANDBYTES,
    Q.FP4: BITSANDBYTES,
    Q.TORCHAO_INT8: TORCHAO,
    Q.TORCHAO_INT4: TORCHAO,
    Q.HQQ_8: HQQ,
    Q.HQQ_4: HQQ,
    Q.QUANTO_INT8: QUANTO,
    Q.QUANTO_INT4: QUANTO,
}
GPU_ONLY = frozenset({Q.TORCHAO_INT4, Q.HQQ_8, Q.HQQ_4})
"""torchao 0.18 packs int4 for GPUs alone, and transformers 5.23 refuses hqq with a CPU in the device map."""

LABELS = {
    Q.NONE: "none",
    Q.INT8: "8-bit (LLM.int8)",
    Q.NF4: "4-bit (nf4)",
    Q.FP4: "4-bit (fp4)",
    Q.TORCHAO_INT8: "8-bit (torchao)",
    Q.TORCHAO_INT4: "4-bit (torchao)",
    Q.HQQ_8: "8-bit (hqq)",
    Q.HQQ_4: "4-bit (hqq)",
    Q.QUANTO_INT8: "8-bit (quanto)",
    Q.QUANTO_INT4: "4-bit (quanto)",
}

_INT8_ROW_BYTES = {Q.INT8: 4, Q.TORCHAO_INT8: 5}
"""For each output feature: a float32 scale; torchao keeps a zero point of one byte, too."""
_GROUPS = {Q.TORCHAO_INT4: 128, Q.HQQ_8: 64, Q.HQQ_4: 64, Q.QUANTO_INT4: 128}
"""Elements that share a scale and a zero point, both in the dtype of the weights."""
_BITS = {Q.INT8: 8, Q.TORCHAO_INT8: 8, Q.HQQ_8: 8, Q.QUANTO_INT8: 8}
_BNB_BLOCK, _BNB_NESTED_BLOCK = 64, 256


def linear_bytes(
    quantization: Q,
    elements: int,
    rows: int,
    dtype_bytes: int,
    *,
    double_quantization: bool = True,
    repacked: bool = False,
) -> int:
    """What linear layers of so many elements and output features (``rows``) take.

    nf4 and fp4: four bits, and for each block of 64 a scale of four bytes, or with double quantization of one byte and
    four more for each 256 of those (bitsandbytes 0.50, ``functional.quantize_4bit``). ``repacked``: as a CPU with
    AVX512-BF16 keeps them after the first token, with scales of two bytes (``_convert_weight_packed_for_cpu``).
    """
    if quantization is Q.NONE:
        return elements * dtype_bytes
    packed = elements if quantization in _BITS else elements / 2
    if quantization.is_bnb_4bit:
        blocks = elements / _BNB_BLOCK
        scale = 2 if repacked else (1 + 4 / _BNB_NESTED_BLOCK) if double_quantization else 4
        return int(packed + blocks * scale)
    if (group := _GROUPS.get(quantization)) is not None:
        return int(packed + 2 * dtype_bytes * elements / group)
    return int(packed + rows * _INT8_ROW_BYTES.get(quantization, dtype_bytes))
