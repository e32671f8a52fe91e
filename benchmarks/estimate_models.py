"""Checkpoints with random weights for the estimate's benchmark, made from transformers' own configurations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.sides import as_users_have_it

_COMMON: dict[str, Any] = {"max_position_embeddings": 4096, "bos_token_id": 0, "eos_token_id": None, "pad_token_id": 0}
_DENSE: dict[str, Any] = _COMMON | {
    "vocab_size": 16_000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 10,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
}
_WIDE: dict[str, Any] = _DENSE | {"hidden_size": 1024, "intermediate_size": 2816, "num_attention_heads": 16}
_EXPERTS: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 1536, "moe_intermediate_size": 256}

RECIPES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama untied": ("LlamaConfig", "float32", _DENSE | {"tie_word_embeddings": False}),
    "llama tied": ("LlamaConfig", "float32", _DENSE | {"vocab_size": 32_000, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", "bfloat16", _WIDE | {"head_dim": 128, "tie_word_embeddings": True}),
    "qwen3 moe": (
        "Qwen3MoeConfig",
        "float32",
        _DENSE | _EXPERTS | {"num_experts": 16, "num_experts_per_tok": 4, "num_attention_heads": 8, "head_dim": 64},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        "float32",
        _DENSE
        | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 192, "sliding_window": 128}
        | {"vocab_size": 32_000},
    ),
    "deepseek v3": (
        "DeepseekV3Config",
        "float32",
        _DENSE
        | _EXPERTS
        | {"num_attention_heads": 8, "num_key_value_heads": 8, "n_routed_experts": 16, "num_experts_per_tok": 4}
        | {"n_group": 4, "topk_group": 2, "n_shared_experts": 1, "first_k_dense_replace": 1}
        | {"kv_lora_rank": 128, "q_lora_rank": 256, "qk_rope_head_dim": 32, "qk_nope_head_dim": 64, "v_head_dim": 64},
    ),
    "mistral": ("MistralConfig", "bfloat16", _WIDE | {"sliding_window": 128, "num_hidden_layers": 13}),
    "phi": (
        "PhiConfig",
        "float32",
        _DENSE | {"num_key_value_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 9},
    ),
    "gpt2": (
        "GPT2Config",
        "float32",
        {"vocab_size": 30_000, "n_embd": 768, "n_layer": 10, "n_head": 12, "bos_token_id": 0, "eos_token_id": None},
    ),
    "mamba": (
        "MambaConfig",
        "float32",
        {"vocab_size": 24_000, "hidden_size": 768, "num_hidden_layers": 16, "state_size": 16}
        | {"bos_token_id": 0, "eos_token_id": None, "pad_token_id": 0},
    ),
}
"""By name: the configuration's class, the dtype in which it is stored, and its sizes; each has 300 MB or more."""
GPU_ONLY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama 8B": (
        "LlamaConfig",
        "bfloat16",
        _COMMON
        | {"vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32}
        | {"num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131_072},
    ),
}
"""Of the shape of Llama-3.1-8B: 16 GB, which are made and loaded where there is a GPU."""
QUICK = ("llama untied", "gemma3")
"""What ``--quick`` measures."""


def write_checkpoint(name: str, folder: Path, device: str = "cpu") -> Path:
    """Write one of the recipes into a folder, in a process of its own that makes the numbers on a device."""
    code = "import sys; from benchmarks.estimate_models import _write; _write(*sys.argv[1:])"
    command = [sys.executable, "-c", code, name, str(folder), device]
    subprocess.run(command, check=True, env=as_users_have_it(), stderr=subprocess.DEVNULL)
    return folder


def _write(name: str, folder: str, device: str) -> None:
    import torch
    import transformers

    from tests.real.models import CHATML, make_tokenizer

    config_class, dtype, sizes = (RECIPES | GPU_ONLY)[name]
    config = getattr(transformers, config_class)(**sizes)
    torch.manual_seed(0)
    make: Any = transformers.AutoModelForCausalLM.from_config  # not typed
    with torch.device(device):
        model = make(config, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    make_tokenizer(CHATML).save_pretrained(folder)
