"""The package that quantizes, where one was asked for; imported by transformers only then."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, assert_never

import torch

from modeldeck.backend.errors import QuantizationUnavailable
from modeldeck.backend.models import LoadRequest, Quantization
from modeldeck.backend.quantizers import GPU_ONLY, QUANTIZERS

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def refuse_impossible(request: LoadRequest, config: PretrainedConfig, *, is_gguf: bool) -> None:
    """Raise QuantizationUnavailable, with the way out, where the package cannot do what was asked."""
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
    needed = QUANTIZERS[request.quantization]
    if not needed.installed:
        raise QuantizationUnavailable(
            f"{asked} needs {needed.name}, which is not installed where the engine runs: pip install {needed.install}; "
            "or load in full precision."
        )
    if request.quantization in GPU_ONLY and not torch.cuda.is_available():
        raise QuantizationUnavailable(f"{asked} needs a GPU; load with another one or in full precision.")


def quantization_config(request: LoadRequest, config: PretrainedConfig) -> Any:
    """What transformers takes as ``quantization_config`` for this request, or None for none."""
    match request.quantization:
        case Quantization.NONE:
            return None
        case Quantization.INT8 | Quantization.NF4 | Quantization.FP4:
            return _bitsandbytes(request, config)
        case Quantization.TORCHAO_INT8 | Quantization.TORCHAO_INT4:
            return _torchao(request.quantization)
        case Quantization.HQQ_8 | Quantization.HQQ_4:
            return _made("HqqConfig", nbits=8 if request.quantization is Quantization.HQQ_8 else 4)
        case Quantization.QUANTO_INT8 | Quantization.QUANTO_INT4:
            return _made("QuantoConfig", weights=str(request.quantization).removeprefix("quanto-"))
        case _:
            assert_never(request.quantization)


def _made(name: str, **options: Any) -> Any:
    """A config of transformers, whose constructors are not typed."""
    return getattr(importlib.import_module("transformers"), name)(**options)


def _bitsandbytes(request: LoadRequest, config: PretrainedConfig) -> Any:
    if request.quantization is Quantization.INT8:
        return _made("BitsAndBytesConfig", load_in_8bit=True)
    return _made(
        "BitsAndBytesConfig",
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4" if request.quantization is Quantization.NF4 else "fp4",
        bnb_4bit_use_double_quant=request.double_quantization,
        bnb_4bit_compute_dtype=_compute_dtype(request, config),
    )


def _torchao(quantization: Quantization) -> Any:
    """Of weights only: torchao's own configurations, since transformers 5 takes no names of them."""
    made = importlib.import_module("torchao.quantization")
    int8 = quantization is Quantization.TORCHAO_INT8
    return _made("TorchAoConfig", quant_type=made.Int8WeightOnlyConfig() if int8 else made.Int4WeightOnlyConfig())


def _compute_dtype(request: LoadRequest, config: PretrainedConfig) -> torch.dtype:
    """What was asked for, else the model's own dtype; bitsandbytes would take float32, which is slow on a GPU."""
    if request.compute_dtype != "auto":
        return getattr(torch, request.compute_dtype)  # type: ignore[no-any-return]  # one of torch's dtypes
    found = getattr(config, "dtype", None) if request.dtype == "auto" else request.dtype
    dtype = getattr(torch, found, None) if isinstance(found, str) else found
    return dtype if isinstance(dtype, torch.dtype) else torch.float32
