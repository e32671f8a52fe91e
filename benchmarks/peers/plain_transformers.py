"""The peer: transformers as anybody would use it, in a process that has imported everything before the clock starts.

Reads one JSON object a line on stdin, answers with one a line on stdout.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any


def main() -> None:
    """Import, say ready, then load and generate as told."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gguf  # noqa: F401
    import torch
    import transformers.modeling_gguf_pytorch_utils
    import transformers.models.llama.modeling_llama  # noqa: F401

    from modeldeck.backend.memory import usable_cores

    torch.set_num_threads(usable_cores())
    torch.ones(64, 64) @ torch.ones(64, 64)
    answers.write("{}\n")
    model: Any = None
    tokenizer: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        start = perf_counter()
        if "load" in order:
            model, tokenizer = load(Path(order["load"]))
            seconds = perf_counter() - start
        else:
            seconds = generate(model, tokenizer, **order)
        answers.write(json.dumps({"seconds": seconds}) + "\n")


def load(path: Path) -> tuple[Any, Any]:
    """The model and its tokenizer, and one token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"pretrained_model_name_or_path": str(path)}
    if path.suffix == ".gguf":
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer: Any = AutoTokenizer.from_pretrained(**source)
    model: Any = AutoModelForCausalLM.from_pretrained(**source)
    chat = [{"role": "user", "content": "Hello"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    model.generate(**inputs, max_new_tokens=1, do_sample=False)
    return model, tokenizer


def generate(model: Any, tokenizer: Any, prompt: str, seed: int, settings: dict[str, Any]) -> float:
    """Seconds for a reply; nothing is decoded or shown."""
    import torch

    chat = [{"role": "user", "content": prompt}]
    start = perf_counter()
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    torch.manual_seed(seed)
    model.generate(**inputs, **settings)
    return perf_counter() - start


if __name__ == "__main__":
    main()
