"""What goes into a model besides text, and whether text comes out, from config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modeldeck.backend.catalog.config_part import is_known, known_config

ENCODER, ENCODER_DECODER = "encoder", "encoder-decoder"
_NOT_GENERATING = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForPreTraining",
)
_GENERATING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def modality(config: Mapping[str, Any], architecture_class: str | None) -> str:
    """In the words of ``ModelInfo.modality``; ``encoder-decoder`` for a model that turns one text into another."""
    model_type = config.get("model_type")
    name = architecture_class or ""
    generates = name.endswith(_GENERATING)
    if name.endswith(_NOT_GENERATING):
        return ENCODER
    if isinstance(model_type, str) and is_known(model_type):
        known = known_config(model_type).modality
        if known == ENCODER and generates:
            return "text"
        if known == "text" and config.get("is_encoder_decoder") is True:
            return ENCODER_DECODER
        return known
    images = any(isinstance(config.get(key), dict) for key in ("vision_config", "visual", "vision_tower"))
    sounds = any(isinstance(config.get(key), dict) for key in ("audio_config", "speech_config", "audio_encoder"))
    if images or sounds:
        return "any" if images and sounds else "image-text" if images else "audio-text"
    return ENCODER_DECODER if config.get("is_encoder_decoder") is True else "text"


def why_it_cannot_chat(kind: str, architecture: str | None) -> str | None:
    """A sentence without its full stop where no text comes out of such a model, or not as a chat."""
    called = f" ({architecture})" if architecture else ""
    if kind == ENCODER:
        return f"it is an encoder{called}: it generates no text"
    if kind == ENCODER_DECODER:
        return f"it turns one text into another{called}: such a model cannot be loaded for a chat"
    return None
