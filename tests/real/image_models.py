"""A small model that sees, with its processor, and pictures to show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.real.models import make_tokenizer

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_llava(folder: Path) -> Path:
    """A LLaVA of a few layers that sees images of 28 by 28 pixels as four tokens."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = make_tokenizer(TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    torch.manual_seed(3)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=32,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=0,
    )
    token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=token, vision_feature_layer=-1)
    model: Any = LlavaForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(str(folder))
    size = {"height": 28, "width": 28}
    make: Any = LlavaProcessor
    make(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=size),
        tokenizer=tokenizer,
        patch_size=14,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        image_token="<image>",
    ).save_pretrained(str(folder))
    return folder


def make_pictures(folder: Path) -> tuple[Path, Path]:
    """A red one and a blue one with alpha."""
    from PIL import Image

    red, blue = folder / "red.png", folder / "blue.png"
    Image.new("RGB", (40, 30), (250, 10, 10)).save(red)
    Image.new("RGBA", (28, 28), (10, 10, 250, 128)).save(blue)
    return red, blue
