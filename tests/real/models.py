"""Models of about a megabyte with random weights, made with transformers' own classes and a tokenizer trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_REFUSE = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
NO_SYSTEM = _REFUSE + CHATML
LEAVES_SYSTEM_OUT = (
    "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAVA = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() + ': ' }}{% endif %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""As llava-1.5's: it takes lists of parts alone, and leaves plain text out unsaid."""
IDEFICS = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}"
    "{{ ':' if m['content'][0]['type'] == 'image' else ': ' }}"
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""As Idefics3's and SmolVLM's."""
_TEXT = (
    "The quick brown fox jumps over the lazy dog. What is the capital of France? Paris is a city on the Seine, "
    "and a reply may be short or long. Gr\u00fc\u00dfe aus K\u00f6ln, \u4f60\u597d, \U0001f600."
)


def make_tokenizer(chat_template: str | None) -> Any:
    """A byte-level BPE tokenizer of at most 400 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([_TEXT] * 4, trainer)
    make: Any = PreTrainedTokenizerFast  # its __init__ is not typed
    tokenizer = make(
        tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def make_llama(folder: Path, chat_template: str | None = CHATML) -> Path:
    """A Llama of four layers with a context of 16,384 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(chat_template)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=16_384,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(LlamaForCausalLM(config), tokenizer, folder)


def make_gpt2(folder: Path) -> Path:
    """A GPT-2 of two layers with a context of 64 tokens and no chat template."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = make_tokenizer(None)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return _save(GPT2LMHeadModel(config), tokenizer, folder)


def make_image_text(family: str, folder: Path, chat_template: str | None = CHATML) -> Path:
    """A model that takes images, of one of ``FAMILIES``, with a tokenizer and without a processor."""
    import torch
    from transformers import AutoModelForMultimodalLM

    tokenizer = make_tokenizer(chat_template)
    torch.manual_seed(0)
    load: Any = AutoModelForMultimodalLM
    return _save(load.from_config(_image_text_config(family, tokenizer)), tokenizer, folder)


_TEXT_PART: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
_VISION_PART: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_QWEN_VISION = {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2, "out_hidden_size": 64}
_MROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
_LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "llava": ({"model_type": "llama"}, _VISION_PART | {"model_type": "clip_vision_model"}, {}),
    "idefics3": ({"model_type": "llama"}, _VISION_PART, {"scale_factor": 2}),
    "qwen2_5_vl": ({"rope_parameters": _MROPE}, _QWEN_VISION, {}),
    "gemma3": ({"head_dim": 16, "sliding_window": 32}, _VISION_PART, {"mm_tokens_per_image": 4}),
    "mllama": (
        {"num_hidden_layers": 3, "cross_attention_layers": [1]},
        _VISION_PART
        | {
            "attention_heads": 2,
            "num_global_layers": 1,
            "vision_output_dim": 96,
            "intermediate_layers_indices": [0, 1],
        },
        {},
    ),
    "qwen3_5": (
        {"head_dim": 16, "layer_types": ["linear_attention", "full_attention"], "linear_value_head_dim": 16, **_LINEAR},
        _QWEN_VISION,
        {},
    ),
    "paligemma": (
        {"model_type": "gemma", "head_dim": 16},
        _VISION_PART | {"model_type": "siglip_vision_model"},
        {"projection_dim": 64},
    ),
}
"""What the text part, the vision part and the whole of a small one hold beside the usual."""


def _image_text_config(family: str, tokenizer: Any) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    text, vision, whole = FAMILIES[family]
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    image = len(tokenizer)  # a token that the tokenizer never makes
    make: Any = CONFIG_MAPPING[family]
    return make(
        text_config=_TEXT_PART | ends | {"vocab_size": image + 8} | text,
        vision_config=vision,
        image_token_id=image,
        **whole,
    )


def make_omni(folder: Path) -> Path:
    """A Qwen2.5-Omni, of whose talker and sound there is a tensor each, and nothing more."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForMultimodalLM, Qwen2_5OmniConfig

    tokenizer = make_tokenizer(CHATML)
    size = len(tokenizer)
    audio = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "output_dim": 64}
    thinker = {
        "text_config": _TEXT_PART | {"vocab_size": size + 8, "rope_parameters": _MROPE},
        "vision_config": _QWEN_VISION,
        "audio_config": audio | {"num_mel_bins": 16, "n_window": 8, "max_source_positions": 8},
        "image_token_id": size,
        "video_token_id": size + 1,
        "audio_token_id": size + 2,
        "vision_start_token_id": size + 3,
    }
    config: Any = Qwen2_5OmniConfig(thinker_config=thinker, architectures=["Qwen2_5OmniModel"])
    torch.manual_seed(0)
    load: Any = AutoModelForMultimodalLM
    tensors = {f"thinker.{name}": each for name, each in load.from_config(config.thinker_config).state_dict().items()}
    tensors |= {name: torch.zeros(200, 64) for name in ("talker.model.embed_tokens.weight", "token2wav.proj.weight")}
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_pretrained(folder)
    return folder


def _save(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
