"""Quantized weights as checkpoints pack them: how many parameters the elements of a tensor stand for.

Each method is told by the names of the tensors beside a weight:

- gptq and awq: ``qweight`` (int32) with ``qzeros`` and ``scales``; both of those have a column for each output, but the
  zero points are packed like the weight, so that their widths tell how many values an int32 holds.
- compressed-tensors: ``weight_packed`` (int32, or uint8 for nvfp4) with ``weight_scale``.
- bitsandbytes: ``weight`` (uint8) with ``weight.quant_state.bitsandbytes__nf4`` holds two values a byte; ``weight``
  (int8) with ``SCB`` holds one.
- mxfp4: ``*_blocks`` (uint8) with ``*_scales`` hold two values a byte.
- fp8: one value a byte, with ``weight_scale_inv`` or ``weight_scale`` beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache

from modeldeck.backend.catalog.safetensors_header import StoredTensor

_COMPANION = re.compile(
    r"\.(qzeros|g_idx|scales|weight_shape|weight_scale(_inv|_2)?|weight_zero_point|weight_g_idx|weight_global_scale"
    r"|input_(global_)?scale|activation_scale|output_scale|[kqv]_scale|kv_scale|SCB|weight_format"
    r"|weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\S+))$"
    r"|_scale_inv$|_proj_scales$"
)
"""What belongs to a quantized weight and is no parameter of the network."""
_PER_INT32 = 8
"""Values in an int32 where nothing says otherwise: four bits each, as nearly all are."""


class _Kind(Enum):
    """What the name of a tensor says."""

    WEIGHT = auto()
    COMPANION = auto()
    """It only helps to unpack another one: scales, zero points, tables."""
    QWEIGHT = auto()
    PACKED = auto()


@lru_cache(2**15)  # it is asked of every tensor, and the models of a machine share most names
def _kind_of(name: str) -> _Kind:
    if _COMPANION.search(name) is not None:
        return _Kind.COMPANION
    if name.endswith(".qweight"):
        return _Kind.QWEIGHT
    return _Kind.PACKED if name.endswith(".weight_packed") else _Kind.WEIGHT


def parameters_of(tensor: StoredTensor, beside: Mapping[str, StoredTensor], bits: int | None = None) -> int:
    """How many parameters a tensor stands for; ``beside`` holds all tensors of the checkpoint by name.

    ``bits`` is what the configuration says of one packed value, or None.
    """
    kind = _kind_of(tensor.name)
    if kind is _Kind.COMPANION:
        return 0
    if kind is _Kind.QWEIGHT:
        return tensor.elements * _values_per_int32(tensor, beside, bits)
    if kind is _Kind.PACKED:
        return tensor.elements * (2 if tensor.dtype == "uint8" else 32 // (bits or 32 // _PER_INT32))
    if tensor.dtype == "uint8" and _holds_two(tensor.name, beside):
        return tensor.elements * 2
    return tensor.elements


def is_packed(tensor: StoredTensor, beside: Mapping[str, StoredTensor]) -> bool:
    """Whether a tensor keeps its form whatever dtype is asked for: quantized, or no floating-point numbers at all."""
    return _kind_of(tensor.name) is _Kind.COMPANION or _keeps_its_form(tensor.dtype)


@lru_cache(64)
def _keeps_its_form(dtype: str) -> bool:
    small = dtype.startswith(("float8", "float6", "float4"))
    return small or not dtype.startswith(("float", "bfloat", "complex"))


def _values_per_int32(tensor: StoredTensor, beside: Mapping[str, StoredTensor], bits: int | None) -> int:
    stem = tensor.name.removesuffix("qweight")
    scales, zeros = beside.get(f"{stem}scales"), beside.get(f"{stem}qzeros")
    if scales and zeros and len(scales.shape) == len(zeros.shape) == 2 and zeros.shape[1]:
        values = scales.shape[1] // zeros.shape[1]
        if values:
            return values
    return 32 // bits if bits else _PER_INT32


def _holds_two(name: str, beside: Mapping[str, StoredTensor]) -> bool:
    if name.endswith("_blocks"):
        return f"{name.removesuffix('_blocks')}_scales" in beside
    return any(f"{name}{suffix}" in beside for suffix in (".absmax", "_scale", "_scale_2"))
