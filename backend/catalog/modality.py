"""What goes into a model besides text, whether a reply comes out, and what loads it, from config.json."""

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
REASONS = {
    "image": "it needs an image with every text{}: it cannot be loaded for a chat",
    "sound": "it needs sound with every text{}: it cannot be loaded for a chat",
    "diffusion": "it writes whole blocks of text at once, by diffusion{}: it cannot be loaded for a chat",
    "no text": "it generates no text{}",
    "no class": "transformers has no class that loads it for a chat{}",
}
"""What ``KnownConfig.cannot_chat`` stands for; the braces take the name of the class."""


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
    if known.cannot_chat in REASONS and not config.get("auto_map"):  # its own code may do what the library's cannot
        return REASONS[known.cannot_chat].format(called)
    return None


def loaded_by(model_type: str | None, architecture_class: str | None) -> str:
    """The class of transformers that loads a checkpoint without code of its own, as the engine chooses it."""
    known = known_config(model_type)
    alone = known.language_class is not None and known.language_class == architecture_class
    return "AutoModelForCausalLM" if alone else known.loaded_by


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
