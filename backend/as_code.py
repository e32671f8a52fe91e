"""A load as other people would do it: the ``from_pretrained`` call, and the commands of two servers.

What stands here is what the engine does (``backend.engine.loading``); tests run the code and compare, and hold the
options of ``transformers serve`` against its own help. vLLM's are those of its documentation.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from modeldeck.backend.models import Attention, LoadRequest, ModelFormat, ModelInfo, ModelSource, Quantization

_TO_BITS = {Quantization.INT8: "8", Quantization.NF4: "4"}


class NotExpressible(Exception):
    """This cannot say what was asked for; the text is why, a sentence."""


def python_code(model: ModelInfo, request: LoadRequest, dtype: str) -> str:
    """A script that loads the model as the engine would; ``dtype`` is what ``auto`` comes to (torch's word).

    Raises NotExpressible for a quantized GGUF, which the engine makes of its own copy of the file.
    """
    if model.format is ModelFormat.GGUF and request.quantization is not Quantization.NONE:
        raise NotExpressible("A GGUF file itself cannot be quantized; modeldeck does that to its prepared copy.")
    quantized = request.quantization is not Quantization.NONE
    classes = ["AutoModelForCausalLM", "AutoTokenizer", *(["BitsAndBytesConfig"] if quantized else [])]
    named = _names(model)
    tokenizer = [*named, *(["trust_remote_code=True"] if request.trust_remote_code else [])]
    loaded = [
        *named,
        f"dtype={request.dtype!r}",
        *_device_map(request, quantized),
        *([] if request.attention is Attention.AUTO else [f'attn_implementation="{request.attention}"']),
        *(_quantization(request, dtype) if quantized else []),
        *(["trust_remote_code=True"] if request.trust_remote_code else []),
    ]
    return "\n".join(
        [
            *(["import torch"] if request.quantization is Quantization.NF4 else []),
            f"from transformers import {', '.join(classes)}",
            "",
            _call("tokenizer", "AutoTokenizer", tokenizer),
            _call("model", "AutoModelForCausalLM", loaded),
            "",
        ]
    )


def transformers_command(model: ModelInfo, request: LoadRequest) -> str:
    """``transformers serve``; a file in a folder is named ``folder:file.gguf``, a commit ``org/name@commit``.

    Raises NotExpressible.
    """
    if model.format is ModelFormat.GGUF and request.quantization is not Quantization.NONE:
        raise NotExpressible("transformers serve cannot quantize a GGUF file.")
    words = ["transformers", "serve", _served(model), "--device", request.device, "--dtype", request.dtype]
    if request.attention is not Attention.AUTO:
        words += ["--attn-implementation", str(request.attention)]
    if request.quantization is not Quantization.NONE:
        words += ["--quantization", f"bnb-{_TO_BITS[request.quantization]}bit"]
    words += ["--trust-remote-code"] if request.trust_remote_code else []
    return shlex.join(words)


def vllm_command(model: ModelInfo, request: LoadRequest, context_tokens: int, gpu: str = "") -> str:
    """``vllm serve``, which chooses its GPU by the environment: ``gpu`` is the UUID of the one that was asked for.

    Raises NotExpressible.
    """
    if request.device in {"cpu", "mps"}:
        raise NotExpressible("vLLM as it is installed by default computes on GPUs alone.")
    if request.quantization is Quantization.INT8:
        raise NotExpressible("vLLM has no 8-bit quantization while it loads.")
    if ":" in request.device and not gpu:
        raise NotExpressible(f"The driver does not tell which GPU {request.device} is, and vLLM takes no such name.")
    words = ["vllm", "serve", model.path, "--dtype", request.dtype, "--max-model-len", str(context_tokens)]
    words += ["--quantization", "bitsandbytes"] if request.quantization is Quantization.NF4 else []
    words += ["--trust-remote-code"] if request.trust_remote_code else []
    command = shlex.join(words)
    return f"CUDA_VISIBLE_DEVICES={shlex.quote(gpu)} {command}" if gpu and ":" in request.device else command


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


def _device_map(request: LoadRequest, quantized: bool) -> list[str]:
    device = "cuda:0" if request.device == "cuda" else request.device
    if device == "auto":
        return ['device_map="auto"']
    return [f'device_map={{"": "{device}"}}'] if device != "cpu" or quantized else []


def _quantization(request: LoadRequest, dtype: str) -> list[str]:
    if request.quantization is Quantization.INT8:
        return ["quantization_config=BitsAndBytesConfig(load_in_8bit=True)"]
    options = (
        "load_in_4bit=True",
        'bnb_4bit_quant_type="nf4"',
        "bnb_4bit_use_double_quant=True",
        f"bnb_4bit_compute_dtype=torch.{dtype}",
    )
    inner = "".join(f"        {option},\n" for option in options)
    return [f"quantization_config=BitsAndBytesConfig(\n{inner}    )"]


def _call(name: str, called: str, arguments: list[str]) -> str:
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return f"{name} = {called}.from_pretrained(\n{lines})"
