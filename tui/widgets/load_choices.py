"""What the lists of the load dialog offer."""

from __future__ import annotations

from importlib.util import find_spec

from modeldeck.backend.models import Attention, DeviceMap, Quantization
from modeldeck.backend.quantizers import GPU_ONLY, LABELS, QUANTIZERS

_DTYPES = ("auto", "float32", "float16", "bfloat16")
ATTENTIONS = {Attention.AUTO: "auto (sdpa)", Attention.EAGER: "eager (not fused)"}
DEVICE_MAPS = {
    DeviceMap.AUTO: "auto (spread evenly)",
    DeviceMap.SINGLE: "single (all on the first)",
    DeviceMap.SEQUENTIAL: "sequential (one after the other)",
}


def dtypes(auto: str) -> list[tuple[str, str]]:
    """``auto`` under the name of what it would be."""
    return [(auto if name == "auto" else name, name) for name in _DTYPES]


def attentions(chosen: Attention) -> tuple[Attention, ...]:
    """What can be chosen; flash-attn only where its package is."""
    flash = chosen is Attention.FLASH_2 or find_spec("flash_attn") is not None
    return tuple(kind for kind in Attention if flash or kind is not Attention.FLASH_2)


def quantizations(asked: Quantization, *, on_gpu: bool) -> list[tuple[str, Quantization]]:
    """What can be chosen: bitsandbytes comes with the program, others where their package is and their device."""
    usual = {Quantization.NONE, Quantization.INT8, Quantization.NF4, Quantization.FP4, asked}
    found = [
        kind
        for kind in Quantization
        if kind in usual or (QUANTIZERS[kind].installed and (on_gpu or kind not in GPU_ONLY))
    ]
    return [(LABELS[kind], kind) for kind in found]
