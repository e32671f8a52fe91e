"""What headers tell, held against the networks that transformers builds, and the split against the library's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.estimate.splitting import Run, split
from modeldeck.backend.estimate.weights import block_bytes
from modeldeck.backend.models import ModelInfo, ModelSource, Quantization

_SIZES: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS: dict[str, Any] = {
    "moe_intermediate_size": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "n_shared_experts": 1,
    "shared_expert_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
_OWN: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 512, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128},
    "mamba": {"vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 3, "state_size": 16},
}
DENSE = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi", "phi3", "bloom", "falcon", "gpt_neox")
OTHERS = ("gpt2", "mamba", "starcoder2", "stablelm", "olmo2", "cohere2", "glm4", "smollm3", "lfm2", "recurrent_gemma")
MOE = ("qwen2_moe", "qwen3_moe", "mixtral", "deepseek_v3", "gpt_oss", "olmoe", "phimoe", "llama4_text", "jamba")


def build(model_type: str) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    make: Any = AutoModelForCausalLM.from_config  # not typed
    sizes = _OWN.get(model_type) or _SIZES | (_EXPERTS if model_type in MOE else {})
    return make(CONFIG_MAPPING[model_type](**sizes))


def replaced_weights(model: Any) -> list[Any]:
    """The weights of the modules that ``replace_with_bnb_linear`` would replace."""
    import torch
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    skipped = [*get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or ())]
    return [
        module.weight
        for name, module in model.named_modules()
        if should_convert_module(name, skipped) and (isinstance(module, Conv1D) or type(module) is torch.nn.Linear)
    ]


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("model_type", [*DENSE, *OTHERS, *MOE])
def test_headers_tell_which_weights_bitsandbytes_replaces(model_type: str, tmp_path: Path) -> None:
    model = build(model_type)
    model.save_pretrained(tmp_path)
    info = read_model(tmp_path, ModelSource.FOLDER)
    linear = sum(block.count * block.linear_elements for block in info.weights)
    other = sum(block.count * block.other_elements for block in info.weights)
    stray = sum(buffer.numel() for name, buffer in model.named_buffers() if name.endswith("e_score_correction_bias"))
    assert linear == sum(weight.numel() for weight in replaced_weights(model))
    assert info.parameters == model.num_parameters()
    assert linear + other == model.num_parameters() + stray


def runs_of(info: ModelInfo) -> list[Run]:
    return [
        Run(block_bytes(block, 4, Quantization.NONE), block.count, block.name.rsplit(".", 1)[-1].isdigit())
        for block in info.weights
    ]


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("model_type", ["llama", "gemma3_text", "qwen3_moe", "gpt2"])
@pytest.mark.parametrize("gpus", [(0.6, 0.6), (0.5, 0.3), (0.45, 0.45, 0.45), (0.3, 0.3), (2.0, 2.0)])
def test_the_split_is_the_one_that_transformers_makes(model_type: str, gpus: tuple[float, ...], tmp_path: Path) -> None:
    from transformers.integrations import accelerate

    model = build(model_type)
    model.save_pretrained(tmp_path)
    info = read_model(tmp_path, ModelSource.FOLDER)
    total = sum(run.count * run.module_bytes for run in runs_of(info))
    free = [int(share * total) for share in gpus]
    ours = split(runs_of(info), free, 10 * total, quantized=False)

    memory: dict[Any, int] = dict(enumerate(free)) | {"cpu": 9 * total}
    layers = set(model._no_split_modules or ())
    balanced = accelerate.get_balanced_memory(model, dict(memory), layers)
    devices = accelerate.infer_auto_device_map(model, balanced, layers)
    theirs = [bytes_on(model, devices, device) for device in (*range(len(free)), "cpu", "disk")]
    for share, expected in zip(ours, theirs, strict=True):
        assert share.weight_bytes == pytest.approx(expected, abs=0.02 * total), (ours, theirs)


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("gpus", [(0.6, 0.6), (0.5, 0.3), (0.45, 0.45, 0.45), (2.0, 2.0)])
def test_a_sequential_split_is_the_one_that_transformers_makes(gpus: tuple[float, ...], tmp_path: Path) -> None:
    from transformers.integrations import accelerate

    model = build("llama")
    model.save_pretrained(tmp_path)
    info = read_model(tmp_path, ModelSource.FOLDER)
    total = sum(run.count * run.module_bytes for run in runs_of(info))
    free = [int(share * total) for share in gpus]
    limit = total // 2
    ours = split(runs_of(info), free, 10 * total, quantized=False, sequential=True, limits=[limit])

    memory: dict[Any, Any] = dict(enumerate([min(limit, free[0]), *free[1:]])) | {"cpu": 9 * total}
    devices = accelerate.infer_auto_device_map(model, memory, set(model._no_split_modules or ()))
    theirs = [bytes_on(model, devices, device) for device in (*range(len(free)), "cpu", "disk")]
    for share, expected in zip(ours, theirs, strict=True):
        assert share.weight_bytes == pytest.approx(expected, abs=0.02 * total), (ours, theirs)


def bytes_on(model: Any, devices: dict[str, Any], device: Any) -> int:
    names = [name for name, found in devices.items() if found == device]
    return sum(
        parameter.numel() * parameter.element_size()
        for name, parameter in model.named_parameters()
        if any(module == "" or name == module or name.startswith(f"{module}.") for module in names)
    )
