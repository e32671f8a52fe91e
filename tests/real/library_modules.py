"""Constant states and experts as transformers' own modules hold them: JSON on stdout.

Runs in a process of its own: ``python -m tests.real.library_modules``.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from modeldeck.backend.catalog.config_keys import ACTIVE_EXPERTS, EXPERTS
from modeldeck.backend.catalog.config_part import text_part
from modeldeck.backend.catalog.experts import COMPARED

_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
}
_MAMBA_2 = {**_SMALL, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8}
_MIXED = [*["linear_attention"] * 3, "full_attention"]
_DELTA = {
    **_SMALL,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 16,
}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}
_MLA = {"kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "q_lora_rank": None}

STATES: dict[str, dict[str, Any]] = {
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 128, "state_size": 8},
    "falcon_mamba": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 128, "state_size": 8},
    "mamba2": {"hidden_size": 64, "num_heads": 8, "head_dim": 16, "num_hidden_layers": 2, "state_size": 8,
               "n_groups": 2, "vocab_size": 128},
    "jamba": {**_SMALL, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "mamba_d_state": 8,
              "mamba_dt_rank": 4, "use_mamba_kernels": False},
    "bamba": {**_MAMBA_2, "attn_layer_indices": [1]},
    "falcon_h1": {**_MAMBA_2, "mamba_d_ssm": 64, "mamba_n_heads": 4},
    "granitemoehybrid": {**_MAMBA_2, "num_local_experts": 2, "layer_types": _MIXED},
    "nemotron_h": {**_SMALL, "num_hidden_layers": None, "head_dim": 16, "hybrid_override_pattern": "M*M-",
                   "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 2,
                   "use_mamba_kernels": False},
    "zamba2": {**_SMALL, "num_key_value_heads": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "mamba"],
               "n_mamba_heads": 8, "mamba_d_state": 8, "mamba_ngroups": 1, "use_mamba_kernels": False},
    "qwen3_next": {**_DELTA, **_MOE, "head_dim": 16},
    "qwen3_5_text": {**_DELTA, "head_dim": 16},
    "olmo_hybrid": _DELTA,
    "kimi_linear": {**_SMALL, **_MOE, **_MLA, "num_key_value_heads": 4, "linear_num_heads": 4, "linear_head_dim": 16,
                    "layer_types": _MIXED, "num_expert_group": 1, "topk_group": 1},
    "lfm2": {**_SMALL, "full_attn_idxs": [1]},
    "lfm2_moe": {**_SMALL, "layer_types": ["conv"] * 3 + ["full_attention"], "num_experts": 4,
                 "num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_dense_layers": 1},
    "minimax": {**_SMALL, "num_local_experts": 2, "head_dim": 16},
}  # fmt: skip
"""Small models of every kind of constant state."""
NEEDED: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "lfm2_moe": {"layer_types": ["conv"] * 5 + ["full_attention"]},
}
"""What a class without usable defaults is given."""


def states() -> list[list[Any]]:
    """Of each small model its configuration and the elements of the largest state in its cache after a prompt."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    found: list[list[Any]] = []
    for name, values in STATES.items():
        config = CONFIG_MAPPING[name](**values)
        config.pad_token_id = None
        make: Any = AutoModelForCausalLM  # its from_config is not typed
        model = make.from_config(config).eval()
        with torch.no_grad():
            output = model(torch.arange(1, 20)[None], use_cache=True)
        cache = output.get("past_key_values") or output["cache_params"]
        sizes = [_elements(layer) for layer in cache.layers]
        found.append([name, json.loads(config.to_json_string()), max(sizes) or _elements_of_lightning(cache)])
    return found


def _elements(layer: Any) -> int:
    held = [*getattr(layer, "conv_states", {}).values(), *getattr(layer, "recurrent_states", {}).values()]
    return sum(int(tensor.numel()) for tensor in held if tensor is not None)


def _elements_of_lightning(cache: Any) -> int:
    return max(int(tensor.numel()) for tensor in cache.linear_cache if hasattr(tensor, "numel"))


def experts() -> list[list[Any]]:
    """Of each type whose experts are counted its configuration and the parameters that a token passes by."""
    import torch
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    found: list[list[Any]] = []
    for name in sorted(COMPARED):
        config_class: Any = CONFIG_MAPPING[name]
        config = config_class(num_hidden_layers=6, **NEEDED.get(name, {}))
        with torch.device("meta"):
            make: Any = AutoModel  # its from_config is not typed
            model = make.from_config(config)
        told = json.loads(config.to_json_string())
        part = text_part(told)
        count, active = part.count(*EXPERTS), part.count(*ACTIVE_EXPERTS)
        assert count is not None, name
        assert active is not None, name
        of_experts = sum(p.numel() for key, p in model.named_parameters() if ".experts." in key and "shared" not in key)
        found.append([name, told, of_experts * (count - active) // count])
    return found


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    json.dump({"states": states(), "experts": experts()}, sys.stdout)
