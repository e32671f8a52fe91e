"""What the engine passes to ``from_pretrained``, as source text: where the weights go and how they are quantized.

``backend.engine.devices`` and ``backend.engine.quantizing`` do what is written here; tests run both and compare.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from msgspec import Struct

from modeldeck.backend.estimate.weights import DTYPE_BYTES
from modeldeck.backend.models import DeviceMap, LoadRequest, ModelInfo, Quantization

_FREE_RAM = "int(psutil.virtual_memory().available * 0.9)"
_IMPORT_TORCH = "import torch"


class Code(Struct, frozen=True):
    """A part of a script."""

    arguments: tuple[str, ...] = ()
    """Of the call, ``name=value`` each."""
    classes: tuple[str, ...] = ()
    """Which ones of transformers they need."""
    imports: tuple[str, ...] = ()
    """The other import lines."""
    before: tuple[str, ...] = ()
    """Lines that stand before the call."""


def indented(lines: Iterable[str], depth: int) -> str:
    """The lines of a call or a dict, one below the other."""
    return "".join(f"{'    ' * depth}{line},\n" for line in lines)


class Placing(Struct, frozen=True):
    """Where the weights go, as far as that is settled before the load."""

    device: str = ""
    """All of them go to this one, an ``auto`` request's only where there is a GPU; empty where they are dealt out."""
    gpus: tuple[str, ...] = ()
    """They are dealt out to these; empty stands for every GPU that there is."""
    kind: str = "auto"
    """How they are dealt out, in transformers' words."""
    bounded: bool = False
    """Whether the engine gives transformers limits, instead of leaving these to it."""


def placing_of(request: LoadRequest) -> Placing:
    """What becomes of device, device map, limits and offload; single GPUs heed limits only where RAM takes the rest."""
    if request.device in {"cpu", "mps"}:
        return Placing(request.device)
    everywhere = request.device == "auto"
    gpus = () if everywhere else tuple("cuda:0" if name == "cuda" else name for name in request.device.split("+"))
    if request.device_map is DeviceMap.SINGLE or len(gpus) == 1:
        gpus = (gpus or ("cuda:0",))[:1]
        if not request.memory_limits or not request.cpu_offload:
            return Placing(gpus[0])
    kind = "sequential" if request.device_map is DeviceMap.SEQUENTIAL else "auto"
    chosen = bool(gpus) or kind != "auto" or bool(request.memory_limits) or not request.cpu_offload
    return Placing(gpus=gpus, kind=kind, bounded=chosen)


def placement_code(request: LoadRequest) -> Code:
    """``device_map`` and ``max_memory``; limits that nobody set are worked out by the script from what is free."""
    placing = placing_of(request)
    if placing.device == "cpu" and request.quantization is Quantization.NONE:
        return Code()
    if placing.device and request.device == "auto":
        where = f'device_map={{"": "{placing.device}"}} if torch.cuda.is_available() else "auto"'
        return Code((where,), imports=(_IMPORT_TORCH,))
    if placing.device:
        return Code((f'device_map={{"": "{placing.device}"}}',))
    if not placing.bounded:
        return Code((f'device_map="{placing.kind}"',))
    return _bounded_everywhere(placing, request) if request.device == "auto" else _bounded(placing, request)


def _bounded(placing: Placing, request: LoadRequest) -> Code:
    """A device that is missing in ``max_memory`` is not used at all, so every one stands in it."""
    free = "int(torch.cuda.mem_get_info({})[0] * 0.9)" if len(placing.gpus) == 1 else "torch.cuda.mem_get_info({})[0]"
    indices = {name: _index(name) for name in placing.gpus}
    limits = {index: request.memory_limits.get(name, free.format(index)) for name, index in indices.items()}
    lines = [*(f"{index}: {limit}" for index, limit in limits.items()), f'"cpu": {_ram(request)}']
    arguments = (f'device_map="{placing.kind}"', f"max_memory={{\n{indented(lines, 2)}    }}")
    asked = set(placing.gpus) <= request.memory_limits.keys()
    return Code(arguments, imports=(*_ram_imports(request), *([] if asked else [_IMPORT_TORCH])))


def _bounded_everywhere(placing: Placing, request: LoadRequest) -> Code:
    """The script counts the GPUs; where there is none, the engine heeds no limits."""
    limits = {_index(name): limit for name, limit in request.memory_limits.items() if ":" in name}
    limit = "int(torch.cuda.mem_get_info(gpu)[0] * share)"
    limit = f"limits.get(gpu, {limit})" if limits else limit
    before = (
        "max_memory = None",
        "if torch.cuda.is_available():",
        f"    gpus = range({len(placing.gpus) or 'torch.cuda.device_count()'})",
        "    share = 0.9 if len(gpus) == 1 else 1.0",
        *([f"    limits = {limits}"] if limits else []),
        f"    max_memory = {{gpu: {limit} for gpu in gpus}}",
        f'    max_memory["cpu"] = {_ram(request)}',
    )
    arguments = (f'device_map="{placing.kind}"', "max_memory=max_memory")
    return Code(arguments, imports=(*_ram_imports(request), _IMPORT_TORCH), before=before)


def _index(name: str) -> int:
    return int(name.partition(":")[2])


def _ram(request: LoadRequest) -> str:
    return str(request.memory_limits.get("cpu", _FREE_RAM)) if request.cpu_offload else "0"


def _ram_imports(request: LoadRequest) -> tuple[str, ...]:
    return ("import psutil",) if _ram(request) == _FREE_RAM else ()


def compute_dtype(model: ModelInfo, request: LoadRequest) -> str:
    """What the engine has nf4 and fp4 computed in, in torch's words; a model that names no dtype gets float32."""
    dtype = request.compute_dtype
    if dtype == "auto":
        dtype = request.dtype if request.dtype != "auto" else model.load_dtype or ""
    return dtype if dtype in DTYPE_BYTES else "float32"


def quantization_code(model: ModelInfo, request: LoadRequest) -> Code:
    """``quantization_config``."""
    match request.quantization:
        case Quantization.NONE:
            return Code()
        case Quantization.INT8:
            return _config("BitsAndBytesConfig", "load_in_8bit=True")
        case Quantization.NF4 | Quantization.FP4:
            return _bitsandbytes_4bit(model, request)
        case Quantization.TORCHAO_INT8 | Quantization.TORCHAO_INT4:
            int8 = request.quantization is Quantization.TORCHAO_INT8
            made = "Int8WeightOnlyConfig" if int8 else "Int4WeightOnlyConfig"
            return _config("TorchAoConfig", f"quant_type={made}()", f"from torchao.quantization import {made}")
        case Quantization.HQQ_8 | Quantization.HQQ_4:
            return _config("HqqConfig", f"nbits={8 if request.quantization is Quantization.HQQ_8 else 4}")
        case Quantization.QUANTO_INT8 | Quantization.QUANTO_INT4:
            return _config("QuantoConfig", f'weights="{request.quantization.removeprefix("quanto-")}"')
        case _:
            assert_never(request.quantization)


def _bitsandbytes_4bit(model: ModelInfo, request: LoadRequest) -> Code:
    options = (
        "load_in_4bit=True",
        f'bnb_4bit_quant_type="{"nf4" if request.quantization is Quantization.NF4 else "fp4"}"',
        f"bnb_4bit_use_double_quant={request.double_quantization}",
        f"bnb_4bit_compute_dtype=torch.{compute_dtype(model, request)}",
    )
    return _config("BitsAndBytesConfig", f"\n{indented(options, 2)}    ", _IMPORT_TORCH)


def _config(name: str, options: str, *imports: str) -> Code:
    return Code((f"quantization_config={name}({options})",), (name,), imports)
