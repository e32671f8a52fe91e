"""A load as other people would do it: the ``from_pretrained`` call, and the commands of two servers.

What stands here is what the engine does (``backend.engine.loading``); tests run the code and compare, and hold the
options of ``transformers serve`` against its own help. vLLM's are those of its documentation.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from modeldeck.backend.as_arguments import (
    Placing,
    compute_dtype,
    indented,
    placement_code,
    placing_of,
    quantization_code,
)
from modeldeck.backend.catalog.modality import loaded_by
from modeldeck.backend.models import Attention, LoadRequest, ModelFormat, ModelInfo, ModelSource, Quantization
from modeldeck.backend.quantizers import LABELS

_SERVE_DTYPE = "float32"
"""In which transformers serve has 4 bits computed: it leaves out what BitsAndBytesConfig takes float32 for."""
_VLLM_DTYPE = "bfloat16"
"""In which vLLM has 4 bits computed, whatever the dtype of the model (``BitsAndBytesLinearMethod``)."""
_VLLM_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""What ``--max-lora-rank`` can be, from its default on (``MaxLoRARanks``)."""


class NotExpressible(Exception):
    """This cannot say what was asked for; the text is why, a sentence."""


def python_code(model: ModelInfo, request: LoadRequest) -> str:
    """A script that loads the model as the engine would.

    Raises NotExpressible for a quantized GGUF, which the engine makes of its own copy of the file.
    """
    if model.format is ModelFormat.GGUF and request.quantization is not Quantization.NONE:
        raise NotExpressible("A GGUF file itself cannot be quantized; modeldeck does that to its prepared copy.")
    placed, quantized = placement_code(request), quantization_code(model, request)
    trusted = ["trust_remote_code=True"] if request.trust_remote_code else []
    loaded = [
        *_names(model),
        f"dtype={request.dtype!r}",
        *placed.arguments,
        *([] if request.attention is Attention.AUTO else [f'attn_implementation="{request.attention}"']),
        *quantized.arguments,
        *trusted,
    ]
    own = model.needs_remote_code and request.trust_remote_code  # its config.json names a class, nearly always this one
    usual = own or model.format is ModelFormat.GGUF
    model_class = "AutoModelForCausalLM" if usual else loaded_by(model.architecture, model.architecture_class)
    classes = ", ".join([model_class, "AutoTokenizer", *quantized.classes])
    imports = {*placed.imports, *quantized.imports}
    lines = [
        *sorted(imports, key=lambda line: (line.startswith("from"), line)),
        f"from transformers import {classes}",
        "",
        *placed.before,
        _call("tokenizer", "AutoTokenizer", [*_names(model), *trusted]),
        _call("model", model_class, loaded),
        *([f"model.load_adapter({request.adapter!r})"] if request.adapter else []),
        *_context_lines(model, request),
    ]
    return "\n".join([*lines, ""])


def transformers_command(model: ModelInfo, request: LoadRequest) -> str:
    """``transformers serve``; a file in a folder is named ``folder:file.gguf``, a commit ``org/name@commit``.

    Raises NotExpressible.
    """
    words = ["transformers", "serve", _served(model), "--device", _served_device(request), "--dtype", request.dtype]
    if request.attention is not Attention.AUTO:
        words += ["--attn-implementation", str(request.attention)]
    words += _served_quantization(model, request)
    words += ["--trust-remote-code"] if request.trust_remote_code else []
    if request.adapter:
        raise NotExpressible("transformers serve cannot put an adapter on a model.")
    if _limits_context(model, request):
        raise NotExpressible("transformers serve cannot limit the context.")
    return shlex.join(words)


def vllm_command(
    model: ModelInfo,
    request: LoadRequest,
    context_tokens: int,
    gpu_uuids: Mapping[str, str],
    adapter_rank: int | None = None,
) -> str:
    """``vllm serve``, which chooses its GPUs by the environment.

    ``gpu_uuids`` is which GPU each name means that the request has (``LoadRequest.gpu_uuids``); ``context_tokens``
    counts where the request has no limit of its own; ``adapter_rank`` is that of the request's adapter, where it is
    known. Raises NotExpressible.
    """
    placing = placing_of(request)
    _refuse_for_vllm(model, request, placing)
    names = [placing.device] if ":" in placing.device and request.device not in {"auto", "cuda"} else placing.gpus
    words = ["vllm", "serve", model.path, "--dtype", _vllm_dtype(model, request)]
    words += ["--max-model-len", str(_context_limit(model, request) or context_tokens)]
    words += ["--tensor-parallel-size", str(len(names))] if len(names) > 1 else []
    words += ["--quantization", "bitsandbytes"] if request.quantization is Quantization.NF4 else []
    words += _vllm_adapter(request.adapter, adapter_rank) if request.adapter else []
    words += ["--trust-remote-code"] if request.trust_remote_code else []
    unknown = [name for name in names if not gpu_uuids.get(name)]
    if unknown:
        which = " and ".join(unknown)
        raise NotExpressible(f"The driver does not tell which GPU {which} is, and vLLM takes no such name.")
    command = shlex.join(words)
    gpus = shlex.quote(",".join(gpu_uuids[name] for name in names))
    return f"CUDA_VISIBLE_DEVICES={gpus} {command}" if names else command


def _names(model: ModelInfo) -> list[str]:
    """Which model: a hub id with its commit where it came from there, else its path."""
    if model.format is ModelFormat.GGUF:
        path = Path(model.path)
        return [repr(str(path.parent)), f"gguf_file={path.name!r}"]
    if model.source is ModelSource.HUB_CACHE and model.revision:
        return [repr(_hub_name(model)), f"revision={model.revision!r}"]
    return [repr(model.path)]


def _hub_name(model: ModelInfo) -> str:
    return model.id.partition("@")[0]


def _call(name: str, called: str, arguments: list[str]) -> str:
    return f"{name} = {called}.from_pretrained(\n{indented(arguments, 1)})"


def _context_limit(model: ModelInfo, request: LoadRequest) -> int | None:
    """Tokens, never more than the model's own limit; None where none was asked for."""
    if request.context_limit is None:
        return None
    return min(request.context_limit, model.context_length or request.context_limit)


def _limits_context(model: ModelInfo, request: LoadRequest) -> bool:
    return _context_limit(model, request) not in {None, model.context_length}


def _context_lines(model: ModelInfo, request: LoadRequest) -> list[str]:
    """Prompt and reply together, as the engine counts them."""
    if not _limits_context(model, request):
        return []
    return [f"model.generation_config.max_length = {request.context_limit}"]


def _served(model: ModelInfo) -> str:
    at_home = model.source is ModelSource.HUB_CACHE and model.format is not ModelFormat.GGUF
    if not at_home and set("@:") & set(model.path):
        raise NotExpressible("transformers serve would take the @ or : in this path for something else.")
    if model.format is ModelFormat.GGUF:
        path = Path(model.path)
        if path.suffix != ".gguf":
            raise NotExpressible("transformers serve knows a GGUF file by its ending .gguf alone.")
        return f"{path.parent}:{path.name}"
    if model.source is ModelSource.HUB_CACHE and model.revision:
        return f"{_hub_name(model)}@{model.revision}"
    return model.path


def _served_device(request: LoadRequest) -> str:
    placing = placing_of(request)
    if placing.device:
        return request.device if request.device == "cuda" else placing.device
    if not placing.bounded:
        return "auto"
    if len(placing.gpus) > 1:
        raise NotExpressible("transformers serve takes one device or auto, and no choice of several.")
    if placing.kind != "auto":
        raise NotExpressible(f"transformers serve has no option for the device map {placing.kind}.")
    if request.memory_limits:
        raise NotExpressible("transformers serve has no option for memory limits.")
    raise NotExpressible("transformers serve cannot keep weights out of RAM while it chooses the devices itself.")


def _served_quantization(model: ModelInfo, request: LoadRequest) -> list[str]:
    """nf4 with double quantization, and LLM.int8() (``ModelManager.get_quantization_config``)."""
    if request.quantization is Quantization.NONE:
        return []
    if model.format is ModelFormat.GGUF:
        raise NotExpressible("transformers serve cannot quantize a GGUF file.")
    if request.quantization is Quantization.INT8:
        return ["--quantization", "bnb-8bit"]
    _refuse_other_4bit("transformers serve", _SERVE_DTYPE, model, request)
    return ["--quantization", "bnb-4bit"]


def _refuse_other_4bit(who: str, dtype: str, model: ModelInfo, request: LoadRequest) -> None:
    """Both servers have one way of 4 bits, with nothing to choose."""
    if request.quantization is not Quantization.NF4:
        raise NotExpressible(f"{who} has no option for {LABELS[request.quantization]} while it loads.")
    if not request.double_quantization:
        raise NotExpressible(f"{who} has no 4 bits without double quantization.")
    if (asked := compute_dtype(model, request)) != dtype:
        raise NotExpressible(f"{who} has 4 bits computed in {dtype} alone, and not in {asked}.")


def _refuse_for_vllm(model: ModelInfo, request: LoadRequest, placing: Placing) -> None:
    if request.device in {"cpu", "mps"}:
        raise NotExpressible("vLLM as it is installed by default computes on GPUs alone.")
    if request.quantization is not Quantization.NONE:
        if model.format is ModelFormat.GGUF:
            raise NotExpressible("vLLM cannot quantize a GGUF file.")
        _refuse_other_4bit("vLLM", _VLLM_DTYPE, model, request)
    if request.attention is not Attention.AUTO:
        raise NotExpressible("vLLM computes attention in ways of its own, and has none of transformers' to choose.")
    if placing.kind == "sequential":
        raise NotExpressible("vLLM gives each of its GPUs an equal part, and cannot fill one before the next.")
    if not placing.device and request.memory_limits.keys() - {"cpu"}:
        raise NotExpressible("vLLM cannot limit the weights on a GPU, only all that it takes there.")
    heads = model.shape.attention_heads if model.shape else None
    if heads and len(placing.gpus) > 1 and heads % len(placing.gpus):
        raise NotExpressible(f"vLLM cannot share {heads} attention heads evenly between {len(placing.gpus)} GPUs.")


def _vllm_dtype(model: ModelInfo, request: LoadRequest) -> str:
    """Float32 has to be named: vLLM's ``auto`` makes 16 bits of it, and the engine's keeps it."""
    stored = model.load_dtype or model.dtype
    plain = model.quantization is None and model.format is not ModelFormat.GGUF
    return "float32" if request.dtype == "auto" and stored == "float32" and plain else request.dtype


def _vllm_adapter(folder: str, rank: int | None) -> list[str]:
    """The name is what clients ask for; a path that vLLM would split goes into JSON."""
    name = _adapter_name(Path(folder))
    plain = not set("=,") & set(folder)
    module = f"{name}={folder}" if plain else json.dumps({"name": name, "path": folder})
    words = ["--enable-lora", "--lora-modules", module]
    if rank is None or rank <= _VLLM_RANKS[0]:
        return words
    if rank > _VLLM_RANKS[-1]:
        raise NotExpressible(f"vLLM takes adapters up to rank {_VLLM_RANKS[-1]}, and this one has {rank}.")
    return [*words, "--max-lora-rank", str(next(size for size in _VLLM_RANKS if size >= rank))]


def _adapter_name(folder: Path) -> str:
    """Of a folder in the hub's cache that of the repository, since its own is a commit."""
    if folder.parent.name == "snapshots":
        return folder.parents[1].name.rpartition("--")[2]
    return folder.name
