from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldeck.backend.catalog.experts import active_parameters
from modeldeck.backend.catalog.modality import loaded_by, modality, why_it_cannot_chat
from modeldeck.backend.catalog.model_config import config_facts
from modeldeck.backend.catalog.shape import model_shape
from modeldeck.backend.model_shape import ModelShape

QWEN3 = {
    "model_type": "qwen3",
    "num_hidden_layers": 28,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
MIXTRAL = {
    "model_type": "mixtral",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}


def shape_of(config: dict[str, Any]) -> ModelShape:
    shape = model_shape(config)
    assert shape is not None
    return shape


def test_the_sizes_are_those_of_the_file() -> None:
    assert shape_of(QWEN3) == ModelShape(
        layers=28,
        hidden_size=1024,
        intermediate_size=3072,
        attention_heads=16,
        kv_heads=8,
        head_dim=128,
        vocabulary=151936,
        tied_embeddings=True,
    )


def test_older_names_and_defaults_that_the_file_leaves_out_are_the_library_s() -> None:
    shape = shape_of({"model_type": "gpt2", "n_layer": 24, "n_embd": 1024, "n_head": 16})
    assert (shape.layers, shape.hidden_size, shape.attention_heads, shape.kv_heads) == (24, 1024, 16, 16)
    assert (shape.head_dim, shape.vocabulary, shape.tied_embeddings) == (64, 50257, True)


@pytest.mark.parametrize(
    ("config", "kinds", "window"),
    [
        ({"model_type": "gemma2"}, {"sliding_attention": 13, "full_attention": 13}, 4096),
        ({"model_type": "gemma3_text", "num_hidden_layers": 12, "sliding_window": 512},
         {"sliding_attention": 10, "full_attention": 2}, 512),
        ({"model_type": "cohere2", "num_hidden_layers": 8, "sliding_window_pattern": 2},
         {"sliding_attention": 4, "full_attention": 4}, 4096),
        ({**QWEN3, "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 4}, {}, None),
        ({**QWEN3, "use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 20},
         {"full_attention": 20, "sliding_attention": 8}, 4096),
        ({"model_type": "mistral", "num_hidden_layers": 4, "sliding_window": None}, {}, None),
        ({"model_type": "jamba", "num_hidden_layers": 8}, {"linear_attention": 7, "full_attention": 1}, None),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*E"},
         {"linear_attention": 2, "dummy": 2, "full_attention": 1}, None),
        ({"model_type": "llama4_text", "num_hidden_layers": 8}, {"chunked_attention": 6, "full_attention": 2}, 8192),
        ({"model_type": "brand_new", "num_hidden_layers": 3, "layer_types": ["mamba", "attention", "moe"]},
         {"linear_attention": 1, "full_attention": 1, "dummy": 1}, None),
    ],
)  # fmt: skip
def test_layers_are_of_the_kinds_that_the_library_makes(
    config: dict[str, Any], kinds: dict[str, int], window: int | None
) -> None:
    shape = shape_of(config)
    assert (shape.layer_types, shape.sliding_window) == (kinds, window)


def test_layers_with_other_heads_tell_what_a_token_adds_to_them() -> None:
    gemma4: dict[str, Any] = {"model_type": "gemma4_text", "num_hidden_layers": 12}
    told = {**gemma4, "per_layer_config": {"05": {"head_dim": 512}, "x": {}, "99": {}}}
    assert shape_of(told).key_value_elements == {"full_attention": 2 * 4 * 512}
    older = {**gemma4, "attention_k_eq_v": True, "global_head_dim": 256, "num_global_key_value_heads": 1}
    assert shape_of(older).key_value_elements == {"full_attention": 2 * 1 * 256}
    assert shape_of({**told, "per_layer_config": {"05": {"head_dim": -1}}}).key_value_elements == {}
    assert shape_of(QWEN3).key_value_elements == {}


def test_the_state_of_mamba_is_convolution_and_recurrence() -> None:
    shape = shape_of({"model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24})
    assert (shape.state_size, shape.conv_kernel) == (16, 4)
    assert shape.state_elements == 2 * 768 * (4 + 16)
    assert shape_of(QWEN3).state_elements is None


def test_the_parameters_of_idle_experts_are_taken_off() -> None:
    total = 46_702_792_704  # Mixtral-8x7B: 12.9 billion of them are active, says its authors' paper
    assert active_parameters(MIXTRAL, total) == total - 6 * 32 * 3 * 4096 * 14336 == 12_879_925_248
    assert active_parameters(QWEN3, 600_000_000) is None
    assert active_parameters(MIXTRAL, None) is None
    assert active_parameters({**MIXTRAL, "model_type": "brand_new"}, total) is None


@pytest.mark.parametrize(
    "absurd", [10**9, 10**30, 5000, -1, 0, True, "32", 3.5, math.nan, None, [], {}, ["full_attention"] * 5000]
)
@pytest.mark.parametrize(
    "key", ["num_hidden_layers", "hidden_size", "num_attention_heads", "layer_types", "num_local_experts", "vocab_size"]
)
def test_s23_an_absurd_value_counts_as_absent(key: str, absurd: object) -> None:
    shape = shape_of({**MIXTRAL, "num_attention_heads": 32, "sliding_window": 4096, key: absurd})
    for value in (shape.hidden_size, shape.attention_heads, shape.experts, shape.vocabulary, shape.head_dim):
        assert value is None or (type(value) is int and 0 < value < 10**9)
    assert shape.layers is None or shape.layers <= 4096
    assert sum(shape.layer_types.values()) <= 4096


_SIZES = st.sampled_from(["num_hidden_layers", "hidden_size", "num_attention_heads", "head_dim", "layer_types"])
_TYPES = st.sampled_from(["llama", "mamba2", "jamba", "gemma3", "qwen3_next", "falcon", "zamba2", "nemotron_h", "?"])
_ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3))
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(_TYPES, st.dictionaries(_SIZES, _ANYTHING))
def test_s23_no_configuration_does_harm(model_type: str, config: dict[str, Any]) -> None:
    facts = config_facts({**config, "model_type": model_type, "text_config": config})
    assert facts.shape is None or isinstance(facts.shape, ModelShape)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "text"),
        ({"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]}, "image-text"),
        ({"model_type": "qwen2_audio"}, "audio-text"),
        ({"model_type": "brand_new", "vision_config": {}, "audio_config": {}}, "any"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "encoder"),
        ({"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"]}, "encoder"),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"]}, "text"),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "text"),
        ({"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}, "audio-text"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "encoder"),
    ],
)
def test_what_goes_into_a_model(config: dict[str, Any], kind: str) -> None:
    names = config.get("architectures", [None])
    assert modality(config, names[0]) == kind


def test_a_model_that_cannot_chat_says_why() -> None:
    encoder = why_it_cannot_chat({"model_type": "bert"}, "BertModel")
    assert encoder == "it is an encoder (BertModel): it generates no text"
    for model_type in ("t5", "whisper", "bart"):
        assert "it is an encoder-decoder" in (why_it_cannot_chat({"model_type": model_type}, None) or "")
    assert why_it_cannot_chat({"model_type": "bart"}, "BartForCausalLM") is None
    assert why_it_cannot_chat({"model_type": "brand_new", "is_encoder_decoder": True}, None) is not None
    assert why_it_cannot_chat({"model_type": "gemma3"}, "Gemma3ForConditionalGeneration") is None
    assert why_it_cannot_chat({}, None) is None


@pytest.mark.parametrize(
    ("model_type", "told"),
    [
        ("blip-2", "it needs an image with every text (C): it cannot be loaded for a chat"),
        ("voxtral_realtime", "it needs sound with every text (C): it cannot be loaded for a chat"),
        ("pi0", "it generates no text (C)"),
        ("qwen2_vl_text", "transformers has no class that loads it for a chat (C)"),
        (
            "florence2",
            "it is an encoder-decoder (C), made to turn one text into another: it cannot be loaded for a chat",
        ),
        ("llava", None),
        ("qwen2_5_omni", None),
    ],
)
def test_what_asks_for_more_than_text_says_so(model_type: str, told: str | None) -> None:
    assert why_it_cannot_chat({"model_type": model_type}, "C") == told


def test_code_of_its_own_may_do_what_the_library_cannot() -> None:
    assert why_it_cannot_chat({"model_type": "step3p5"}, None) is not None
    assert why_it_cannot_chat({"model_type": "step3p5", "auto_map": {"AutoModelForCausalLM": "a.B"}}, None) is None


def test_which_class_loads_a_model() -> None:
    assert loaded_by("llama", "LlamaForCausalLM") == "AutoModelForCausalLM"
    assert loaded_by(None, None) == loaded_by("brand_new", None) == "AutoModelForCausalLM"
    assert loaded_by("llava", "LlavaForConditionalGeneration") == "AutoModelForMultimodalLM"
    assert loaded_by("qwen3_5", "Qwen3_5ForConditionalGeneration") == "AutoModelForMultimodalLM"
    assert loaded_by("qwen3_5", "Qwen3_5ForCausalLM") == "AutoModelForCausalLM"
    assert loaded_by("qwen2_5_omni", None) == "Qwen2_5OmniThinkerForConditionalGeneration"
