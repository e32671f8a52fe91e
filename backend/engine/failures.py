"""An exception of the libraries becomes one sentence for the user and the kind of error that it is."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import traceback

import torch

from modeldeck.backend.engine.missing import missing_package
from modeldeck.backend.errors import (
    LoadError,
    NotEnoughMemory,
    PicklesRefused,
    QuantizationUnavailable,
    RemoteCodeRefused,
    UnsupportedModel,
)
from modeldeck.backend.models import LoadRequest, Quantization
from modeldeck.backend.protocol import LoadFailure
from modeldeck.backend.text import clean_name

REMOTE_CODE_SENTENCE = (
    "This model needs code of its own that comes with its files, and running it was not allowed; "
    "if you trust its author, load it again with trust remote code on."
)
_MAX_DETAIL = 20_000
_READ = (".json", ".safetensors", ".bin", ".model", ".jinja", ".py")
_NO_LIBRARY = ("native library functionality", "SETUP ERROR", "CPU-only version of bitsandbytes")
"""How bitsandbytes 0.50 begins its pages about a library that is missing (``cextension.py``)."""
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate",
    "DefaultCPUAllocator: not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",  # not torch's allocator but the driver itself, and the device goes on
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)
_KINDS: dict[type[LoadError], LoadFailure] = {
    NotEnoughMemory: "memory",
    UnsupportedModel: "unsupported",
    QuantizationUnavailable: "quantization",
    RemoteCodeRefused: "remote_code",
    PicklesRefused: "pickles",
}


def kind_of(error: LoadError) -> LoadFailure:
    """The word of the protocol for this class of error."""
    return _KINDS.get(type(error), "load")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host ran out of memory, in any of the ways that torch says so."""
    text = str(error)
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)  # a file that cannot even be mapped
        or any(words in text for words in _OUT_OF_MEMORY)
    )


def is_fatal(error: BaseException) -> bool:
    """Whether the device is in a state that only the end of the process mends (a sticky CUDA error)."""
    if is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or "CUDA error:" in str(error)


def as_load_error(error: Exception, request: LoadRequest) -> LoadError:
    """Whatever a load raised, as one of ours, with a sentence and the traceback behind it."""
    detail = trace(error)
    if type(error) not in _KINDS and not is_out_of_memory(error) and (name := _gone_file(request.path)):
        return LoadError(
            f"{clean_name(name)} leads to a file that is gone; it may have been deleted by another program: "
            "download the model again.",
            detail,
        )
    if isinstance(error, LoadError):
        return error
    text = str(error)
    if is_out_of_memory(error):
        return NotEnoughMemory(
            f"There is not enough memory to load this model on {request.device}; "
            "try a quantization, a smaller model or another device.",
            detail,
        )
    if "ignore_mismatched_sizes" in text:
        return LoadError(
            "The weights have other shapes than config.json says, so the files do not belong together; "
            "download the model again. The log names the tensors.",
            detail,
        )
    if "trust_remote_code" in text:
        return RemoteCodeRefused(REMOTE_CODE_SENTENCE, detail)
    if missing := missing_package(error):
        return LoadError(
            f"This model needs {missing}, which is not installed where the engine runs: pip install {missing}; "
            "then load it again.",
            detail,
        )
    if isinstance(error, (ValueError, KeyError, NotImplementedError)) and _is_unknown_architecture(text):
        return UnsupportedModel(f"transformers cannot load this as a text model: {first_line(error)}", detail)
    if request.quantization is not Quantization.NONE and _is_about_bitsandbytes(error, text):
        return QuantizationUnavailable(_no_quantization(error, request), detail)
    return LoadError(f"The model could not be loaded: {first_line(error)}", detail)


def first_line(error: BaseException) -> str:
    """What the exception says first, cleaned, as a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = clean_name(lines[0], 300) if lines else type(error).__name__
    if isinstance(error, KeyError):
        text = f"{text} is missing"
    return text if text.endswith((".", "!", "?", "\u2026")) else f"{text}."


def root_of(error: BaseException) -> BaseException:
    """What was raised first: the compiler wraps errors, and adds advice for those who write compilers."""
    while (inner := getattr(error, "inner_exception", None) or error.__cause__) is not None:
        error = inner
    return error


def trace(error: BaseException) -> str:
    """The traceback as text; the end of it where it is too long for one message."""
    return "".join(traceback.format_exception(error))[-_MAX_DETAIL:]


def _gone_file(path: str) -> str:
    """A file that loads read and that is a link into nothing, as in a cache of which somebody deleted blobs, or empty.

    Asked only once a load has failed: some of them can be done without.
    """
    try:
        with os.scandir(path) as entries:
            links = sorted(entry.name for entry in entries if entry.is_symlink() and entry.name.endswith(_READ))
        return next((name for name in links if not os.path.exists(f"{path}/{name}")), "")  # noqa: PTH110  # as scandir
    except OSError:
        return ""


def _is_unknown_architecture(text: str) -> bool:
    return any(
        words in text
        for words in (
            "does not recognize this architecture",
            "Unrecognized model in",
            "Unrecognized configuration class",
            "is not supported yet",
            "Unknown gguf model_type",
        )
    )


def _no_quantization(error: Exception, request: LoadRequest) -> str:
    if any(words in str(error) for words in _NO_LIBRARY):
        line = shlex.join([sys.executable, "-m", "pip", "install", "--upgrade", "bitsandbytes"])
        return (
            f"The {request.quantization} quantization cannot be applied here: "
            f"bitsandbytes has no library for this CUDA; run: {line}; or load in full precision."
        )
    return (
        f"The {request.quantization} quantization cannot be applied here: {first_line(error)} "
        "Load in full precision instead."
    )


def _is_about_bitsandbytes(error: BaseException, text: str) -> bool:
    return isinstance(error, (ImportError, NotImplementedError)) or any(
        word in text.lower() for word in ("bitsandbytes", "quantiz", "llm_int8", "bnb", "8bit", "4bit")
    )
