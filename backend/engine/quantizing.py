"""bitsandbytes, where it was asked for; imported by transformers only then."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from modeldeck.backend.errors import QuantizationUnavailable
from modeldeck.backend.models import LoadRequest, Quantization

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def refuse_impossible(request: LoadRequest, config: PretrainedConfig, *, is_gguf: bool) -> None:
    """Raise QuantizationUnavailable, with the way out, where bitsandbytes cannot do what was asked."""
    if request.quantization is Quantization.NONE:
        return
    asked = f"The {request.quantization} quantization"
    if is_gguf:
        raise QuantizationUnavailable(
            f"{asked} cannot be applied to a GGUF file itself, only to its prepared copy; "
            "load it once in full precision, which writes that copy."
        )
    found = getattr(config, "quantization_config", None)
    if found:
        method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", "")
        raise QuantizationUnavailable(
            f"{asked} cannot be applied: this model is stored as {getattr(method, 'value', method) or 'quantized'} "
            "already; load it with no quantization."
        )
    if find_spec("bitsandbytes") is None:
        raise QuantizationUnavailable(
            f"{asked} needs bitsandbytes, which is not installed; install it or load in full precision."
        )


def quantization_config(request: LoadRequest, config: PretrainedConfig) -> Any:
    """The ``BitsAndBytesConfig`` for this request, or None for none."""
    if request.quantization is Quantization.NONE:
        return None
    from transformers import BitsAndBytesConfig

    make: Any = BitsAndBytesConfig  # its __init__ is not typed
    if request.quantization is Quantization.INT8:
        return make(load_in_8bit=True)
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_compute_dtype(request, config),
    )


def _compute_dtype(request: LoadRequest, config: PretrainedConfig) -> torch.dtype:
    """The model's own dtype; bitsandbytes would take float32, which is slow on a GPU."""
    found = getattr(config, "dtype", None) if request.dtype == "auto" else request.dtype
    dtype = getattr(torch, found, None) if isinstance(found, str) else found
    return dtype if isinstance(dtype, torch.dtype) else torch.float32
