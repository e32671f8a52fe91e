"""What goes into a model besides text, and whether a reply comes out, from config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modeldeck.backend.catalog.config_part import ENCODER_DECODER, KnownConfig, is_known, known_config

ENCODER = "encoder"
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
    """In the words of ``ModelInfo.modality``."""
    name = architecture_class or ""
    if name.endswith(_NOT_GENERATING):
        return ENCODER
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not is_known(model_type):
        return _by_parts(config)
    known = known_config(model_type).modality
    return "text" if known == ENCODER_DECODER or (known == ENCODER and name.endswith(_GENERATING)) else known


def why_it_cannot_chat(config: Mapping[str, Any], architecture_class: str | None) -> str | None:
    """A sentence without its full stop where no text comes out of such a model, or not as a chat."""
    model_type = config.get("model_type")
    known = known_config(model_type)
    called = f" ({architecture_class or model_type})" if architecture_class or model_type else ""
    if modality(config, architecture_class) == ENCODER:
        return f"it is an encoder{called}: it generates no text"
    if _is_encoder_decoder(config, known) and not (architecture_class or "").endswith("ForCausalLM"):
        return f"it is an encoder-decoder{called}, made to turn one text into another: it cannot be loaded for a chat"
    return None


def _is_encoder_decoder(config: Mapping[str, Any], known: KnownConfig) -> bool:
    told = config.get("is_encoder_decoder")
    return told is True or (
        told is not False and (known.modality == ENCODER_DECODER or known.defaults.get("is_encoder_decoder") is True)
    )


def _by_parts(config: Mapping[str, Any]) -> str:
    """Of a type that the library does not know: by the parts that it has."""
    images = any(isinstance(config.get(key), dict) for key in ("vision_config", "visual", "vision_tower"))
    sounds = any(isinstance(config.get(key), dict) for key in ("audio_config", "speech_config", "audio_encoder"))
    if images and sounds:
        return "any"
    return "image-text" if images else "audio-text" if sounds else "text"
