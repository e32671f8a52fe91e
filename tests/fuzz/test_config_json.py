"""``config.json`` and the other JSON beside the weights: a value of the wrong kind counts as absent."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.model_defaults import read_model_defaults
from modeldeck.config.generation import GenerationSettings
from tests.fuzz.broken import broken_json, garbled
from tests.fuzz.profiles import fuzzed
from tests.fuzz.reading import modest, read
from tests.unit.catalog.trees import model_folder

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 4, "hidden_size": 64,
    "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 10, "head_dim": 16,
    "max_position_embeddings": 2048, "torch_dtype": "bfloat16", "tie_word_embeddings": True, "sliding_window": 64,
    "rope_scaling": {"type": "linear", "factor": 2.0}, "auto_map": {"AutoConfig": "a.B"}, "layer_types": ["x"] * 4,
    "quantization_config": {
        "quant_method": "compressed-tensors", "bits": 4, "group_size": 128, "modules_to_not_convert": ["lm_head"],
        "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}, "input_activations": None}},
    },
}  # fmt: skip
NEMOTRON = {
    "model_type": "nemotron_h", "hybrid_override_pattern": "M-M*E", "n_groups": 8, "ssm_state_size": 128, "expand": 2,
    "mamba_num_heads": 8, "mamba_head_dim": 16, "conv_kernel": 4, "hidden_size": 64, "moe_intermediate_size": 32,
}  # fmt: skip
GEMMA = {
    "model_type": "gemma4",
    "text_config": {
        "model_type": "gemma4_text", "num_hidden_layers": 12, "num_experts": 8, "top_k_experts": 2, "hidden_size": 64,
        "per_layer_config": {"05": {"head_dim": 512}, "x": {}}, "global_head_dim": 64, "intermediate_size": [64, 32],
        "linear_num_value_heads": 8, "linear_key_head_dim": 4, "layer_types": ["full_attention", "sliding_attention"],
    },
    "vision_config": {"num_hidden_layers": 2}, "thinker_config": {"text_config": {"n_ctx": 9}},
}  # fmt: skip
QUANTIZED = [
    {"model_type": "gpt_bigcode", "quantization_config": {"quant_method": method, **rest}}
    for method, rest in (
        ("gptq", {"bits": 4, "group_size": 128, "checkpoint_format": "gptq"}),
        ("torchao", {"quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "group_size": 128}}}),
        ("bitsandbytes", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
        ("hqq", {"quant_config": {"weight_quant_params": {"nbits": 4}}, "weights": "int8"}),
    )
]
ADAPTER = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 16,
    "target_modules": ["q", "v"],
    "base_model_name_or_path": "a/b",
}
GENERATION = {
    "temperature": 0.6, "top_p": 0.9, "top_k": 20, "do_sample": True, "eos_token_id": [1, 2], "stop_strings": ["x"],
    "max_new_tokens": 100, "cache_implementation": "static", "num_beams": 2, "min_p": None,
}  # fmt: skip
INDEX = {"metadata": {"total_size": 104}, "weight_map": {"embed": "model.safetensors", "norm": "b.safetensors"}}


@given(data=broken_json(LLAMA, NEMOTRON, GEMMA, *QUANTIZED))
@fuzzed
def test_no_configuration_does_harm(data: bytes, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "config.json").write_bytes(data)
    row = read(model)
    assert row.shape is None or row.shape.layers is None or 0 < row.shape.layers <= 4096


@given(name=st.sampled_from(["model.safetensors.index.json", "pytorch_model.bin.index.json"]), data=broken_json(INDEX))
@fuzzed
def test_no_index_does_harm(name: str, data: bytes, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", name="b.safetensors")
    (model / name).write_bytes(data)
    read(model)
    (model / name).unlink()


@given(data=broken_json(ADAPTER))
@fuzzed
def test_no_adapter_does_harm(data: bytes, tmp_path: Path) -> None:
    adapter = model_folder(tmp_path / "a", name="adapter_model.safetensors")
    (adapter / "adapter_config.json").write_bytes(data)
    read(adapter)


@given(data=broken_json(GENERATION))
@fuzzed
def test_no_suggestion_for_sampling_does_harm(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_bytes(data)
    with modest():
        assert isinstance(read_model_defaults(str(tmp_path)), GenerationSettings)


_CARD = b"---\nlicense: other\nlicense_name: x\ntags:\n- a\n- b\nbase_model: [a/b, c]\nlanguage: en\n---\n# Hello\n"


@given(data=garbled(_CARD) | st.text(max_size=100).map(lambda text: b"---\n" + text.encode(errors="replace")))
@fuzzed
def test_no_card_does_harm(data: bytes, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "README.md").write_bytes(data)
    read(model)
