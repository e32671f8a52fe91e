"""The heavy imports, all of them before a load, so that a load begins with reading the model."""

from __future__ import annotations

import gc
import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
}
"""An engine never talks to a network; the parent says so too, and this holds where it is started by hand."""
_DEFAULTS = {
    "LRU_CACHE_CAPACITY": "32",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}
"""Kernels that PyTorch and oneDNN keep for shapes met on the CPU, 1024 each by their own defaults. A bfloat16 model
with MLA meets new shapes with every token, and a kept kernel takes 0.7 MB: 180 MB in 200 tokens of a DeepSeek-V3.
And the compiler starts a process for each core, to be ready, unless it is told that one thread is enough."""
COMPILED = "MODELDECK_COMPILED"
"""The variable that says where compiled code is kept; without it nothing is compiled."""
_MODULES = (
    "torch",
    "transformers",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.modeling_utils",
    "transformers.modeling_layers",
    "transformers.generation.utils",
    "transformers.tokenization_utils_tokenizers",
    "accelerate",
    "jinja2.sandbox",
)
"""What every load needs. Not bitsandbytes: it takes seconds, and may touch CUDA before its devices are chosen."""

_REPORTED = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "bitsandbytes", "gguf")


def import_libraries() -> dict[str, str]:
    """Import everything that a load needs and give torch the cores that this process may use.

    What imports make is there to stay, and Python's garbage collector leaves it alone from then on: with that to look
    through, imports take a fifth longer and a load of SmolLM2-135M half as long again.

    Returns the versions of the libraries. Raises ImportError with the name of what is missing.
    """
    os.environ.update(_ENVIRONMENT)
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # torch refuses to be told both
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if folder := os.environ.get(COMPILED):  # before torch is imported, which decides then; not below /tmp, as it would
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(folder, "code")))
    gc.disable()
    try:
        for name in _MODULES:
            importlib.import_module(name)
        _settle()
    finally:
        gc.freeze()  # with 7 MB of garbage among 350: to find it would take a quarter of a second
        gc.enable()
    return {name: found for name in _REPORTED if (found := _version(name))}


def _settle() -> None:
    """Threads as many as usable cores; no progress bars; what is done once in a process is done."""
    import torch
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.utils import logging

    from modeldeck.backend.memory import usable_cores

    torch.set_num_threads(max(1, usable_cores()))
    quiet: Any = logging.disable_progress_bar  # not typed
    quiet()
    with torch.inference_mode():
        torch.ones(64, 64) @ torch.ones(64, 64)  # starts the thread pool; on the CPU only
    rules: Any = get_checkpoint_conversion_mapping  # not typed
    rules("llama")  # the first to ask has a thousand patterns compiled, those of all architectures: 40 ms


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
