"""The peer: transformers as anybody would use it, in a process that has imported everything before the clock starts.

Reads one JSON object a line on stdin, answers with one a line on stdout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
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
    floor = KeptCache()
    for line in sys.stdin:
        order = json.loads(line)
        start = perf_counter()
        if "load" in order:
            model, tokenizer = load(Path(order.pop("load")), **order)
            seconds = perf_counter() - start
        elif "turns" in order:
            seconds = floor.first_token(model, tokenizer, **order)
        else:
            seconds = generate(model, tokenizer, **order)
        answers.write(json.dumps({"seconds": seconds}) + "\n")


def load(
    path: Path, device: str = "cpu", dtype: str = "auto", done: Callable[[str], None] = lambda stage: None
) -> tuple[Any, Any]:
    """The model and its tokenizer, and one token after one, which is what our engine makes before it says LOADED.

    ``done`` is told what has just ended.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    done("import")
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(path)}
    if path.suffix == ".gguf":
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer: Any = AutoTokenizer.from_pretrained(**source)
    done("tokenizer")
    placed = {} if device == "cpu" else {"device_map": device}
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype, **placed)
    done("from_pretrained")
    chat = [{"role": "user", "content": "Hello"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    last = {name: value[:, -1:].to(device) for name, value in inputs.items()}
    model.generate(**last, max_new_tokens=1, do_sample=False)
    done("first token")
    return model, tokenizer


def generate(model: Any, tokenizer: Any, prompt: str, seed: int, settings: dict[str, Any]) -> float:
    """Seconds for a reply; nothing is decoded or shown."""
    import torch

    chat = [{"role": "user", "content": prompt}]
    start = perf_counter()
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    torch.manual_seed(seed)
    model.generate(**inputs.to(model.device), **settings)
    return perf_counter() - start


class KeptCache:
    """The cache of a conversation as far as it is the same every time: what is new is read on top of it."""

    def __init__(self) -> None:
        self._cache: Any = None

    def first_token(self, model: Any, tokenizer: Any, turns: list[dict[str, str]], kept: int, tokens: int) -> float:
        """Seconds for the first token where so many of the prompt's ``tokens`` are in the cache already.

        Raises ValueError when the conversation is another number of tokens here.
        """
        import torch
        from transformers import DynamicCache

        chat = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
        ids = tokenizer.apply_chat_template(turns, **chat)["input_ids"].to(model.device)
        if ids.shape[1] != tokens:
            raise ValueError(f"the conversation is {ids.shape[1]} tokens here, and {tokens} there")
        with torch.inference_mode():
            if self._cache is None:
                self._cache = DynamicCache(config=model.config)
                model(input_ids=ids[:, :kept], past_key_values=self._cache, logits_to_keep=1)
            start = perf_counter()
            scores = model(input_ids=ids[:, kept:], past_key_values=self._cache, logits_to_keep=1).logits
            int(scores[0, -1].argmax())
            seconds = perf_counter() - start
            self._cache.crop(kept - tokens)
        return seconds


if __name__ == "__main__":
    main()
