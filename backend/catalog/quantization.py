"""How a checkpoint was quantized before it came here, from ``quantization_config`` of config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modeldeck.backend.text import clean_name

_SHORT = {
    "bitsandbytes": "bnb",
    "compressed-tensors": "ct",
    "modelopt": "modelopt",
    "fbgemm_fp8": "fbgemm-fp8",
    "auto-round": "autoround",
}
_WITHOUT_BITS = frozenset({"fp8", "fbgemm_fp8", "mxfp4", "nvfp4", "mxfp8", "bitnet", "spqr"})
"""Methods whose name says the bits already."""
_QUANTO = {"int8": 8, "float8": 8, "int4": 4, "int2": 2}


def quantization_word(details: Mapping[str, Any]) -> str:
    """The method and its bits in one short word: ``awq4``, ``bnb-4bit``, ``fp8``, ``ct-w4a16``, ``mxfp4``."""
    method = _word(details.get("quant_method"))
    if method in (None, "bitsandbytes"):
        for bits in (4, 8):
            if details.get(f"load_in_{bits}bit") or details.get(f"_load_in_{bits}bit"):
                return f"bnb-{bits}bit"
    if method is None:
        return _word(details.get("quant_algo")) or "quantized"
    if method == "compressed-tensors":
        scheme = _scheme(details)
        return f"ct-{scheme}" if scheme else "ct"
    short = _SHORT.get(method, method)
    if method in _WITHOUT_BITS:
        return short
    if method == "torchao":
        kind = _torchao(details)
        return f"torchao-{kind}" if kind else short
    width = _bits(details)
    return f"{short}{width}" if width is not None else short


def _bits(details: Mapping[str, Any]) -> int | None:
    nested = details.get("quant_config")
    inner = nested.get("weight_quant_params") if isinstance(nested, dict) else None
    for holder in (details, inner if isinstance(inner, dict) else {}):
        for name in ("bits", "w_bit", "nbits", "nbits_per_codebook"):
            value = holder.get(name)
            if type(value) is int and 0 < value <= 16:
                return value
    weights = details.get("weights")
    return _QUANTO.get(weights) if isinstance(weights, str) else None


def _scheme(details: Mapping[str, Any]) -> str | None:
    """Of compressed-tensors: bits of weights and activations (``w4a16``), else the format in its own words."""
    groups = details.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    if isinstance(first, dict):
        weights, inputs = _args(first.get("weights")), _args(first.get("input_activations"))
        if weights is not None:
            bits, kind = weights
            if kind == "float" and inputs is not None and bits in (4, 8):
                return f"fp{bits}"
            return f"w{bits}a{inputs[0] if inputs is not None else 16}"
    return _word(details.get("format"))


def _args(value: object) -> tuple[int, str] | None:
    if not isinstance(value, dict):
        return None
    bits, kind = value.get("num_bits"), value.get("type")
    return (bits, kind if isinstance(kind, str) else "int") if type(bits) is int and 0 < bits <= 16 else None


def _torchao(details: Mapping[str, Any]) -> str | None:
    kind = details.get("quant_type")
    if isinstance(kind, dict):  # {"default": {"_type": "Int4WeightOnlyConfig", ...}}
        inner = kind.get("default")
        kind = inner.get("_type") if isinstance(inner, dict) else None
        text = _word(kind)
        return text.removesuffix("Config") if text else None
    text = _word(kind)
    return text.replace("_weight_only", "wo").replace("_", "") if text else None


def _word(value: object) -> str | None:
    return clean_name(value, 24) if isinstance(value, str) and value.strip() else None


def quantization_details(details: Mapping[str, Any]) -> str | None:
    """What else the file says: bits, groups and format, in a few words; None where it says none of it."""
    said = []
    bits = _bits(details)
    if bits is not None:
        said.append(f"{bits} bits")
    group = details.get("group_size", details.get("q_group_size"))
    if type(group) is int and group > 0:
        said.append(f"in groups of {group}")
    if kind := _word(details.get("bnb_4bit_quant_type")):
        said.append(kind)
    if details.get("bnb_4bit_use_double_quant") is True:
        said.append("double quantization")
    if kind := _word(details.get("format") or details.get("checkpoint_format") or details.get("version")):
        said.append(f"format {kind}")
    return ", ".join(said) or None
