"""What transformers' own configuration classes say, for ``known_configs.json`` and for the test that compares.

Runs in a process of its own: ``python -m tests.real.library_configs > backend/catalog/known_configs.json``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, fields
from inspect import signature
from typing import Any

from modeldeck.backend.catalog.config_keys import KEYS

NEEDS_MORE = {"idefics": "image", "kosmos-2": "image", "voxtral_realtime": "sound", "kyutai_speech_to_text": "sound"}
"""Types whose networks ask for more than text only when they run: seen with small ones of every multimodal type."""


def text_types() -> list[str]:
    """Every ``model_type`` that the library can load as a language model, alone or as a part."""
    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    loadable = {
        *auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        *auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    }
    return sorted(name for name in loadable if name in CONFIG_MAPPING)


def describe(cls: Any) -> dict[str, Any]:
    """The other names and the defaults of one configuration class."""
    names = {usual: own for usual, own in cls.attribute_map.items() if usual in KEYS}
    wanted = KEYS | set(names.values())
    defaults: dict[str, Any] = {}
    for field in fields(cls):
        value = field.default if field.default is not MISSING else None
        if field.name in wanted and isinstance(value, int | bool | list | tuple):
            defaults[field.name] = list(value) if isinstance(value, tuple) else value
    return {"names": names, "defaults": defaults}


def modality(name: str, cls: Any) -> str:
    """In the words of ``ModelInfo.modality``."""
    from transformers.models.auto import modeling_auto as auto

    parts = " ".join([*(cls.sub_configs_defaults or {}), name])
    images = name in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or "vision" in parts
    sounds = "audio" in parts or "speech" in parts
    if (images and sounds) or "thinker" in parts:
        return "any"
    if images:
        return "image-text"
    if sounds or name in auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES:
        return "audio-text"
    if name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and name not in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "text"
    if name in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "encoder-decoder"
    return "encoder" if name in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES else "text"


def loading(name: str, cls: Any, kind: str) -> dict[str, str]:
    """Which class loads it, and why a chat of text alone is not possible, as far as that differs from the usual."""
    from transformers.models.auto import modeling_auto as auto

    language: Any = auto.MODEL_FOR_CAUSAL_LM_MAPPING  # keyed by configuration classes
    whole: Any = auto.MODEL_FOR_MULTIMODAL_LM_MAPPING
    if cls not in whole:
        none = cls not in language and kind not in {"encoder", "encoder-decoder"}
        return {"cannot_chat": "no class"} if none else {}
    entry = {"loaded_by": "AutoModelForMultimodalLM"}
    thinker = (cls.sub_configs_defaults or {}).get("thinker_config")
    if thinker is not None:
        entry["loaded_by"] = whole[thinker.config_class].__name__
    if cls in language and language[cls] is not whole[cls]:
        entry["language_class"] = language[cls].__name__
    reason = NEEDS_MORE.get(name) or cannot_chat(whole[cls])
    return entry | ({"cannot_chat": reason} if reason else {})


def cannot_chat(model_class: Any) -> str | None:
    """A key of ``modality.REASONS`` where the class itself tells that no reply comes of text alone."""
    if not model_class.can_generate():
        return "no text"
    if model_class.__name__.endswith("ForBlockDiffusion"):
        return "diffusion"
    given = signature(model_class.generate).parameters.values()
    return "image" if any(each.name == "pixel_values" and each.default is each.empty for each in given) else None


def text_key(config: Any) -> str | None:
    """The key of the language part, where it is not the configuration itself."""
    text = config.get_text_config(decoder=True)
    return next((key for key in config.sub_configs_defaults if getattr(config, key, None) is text), None)


def text_defaults(cls: Any, key: str) -> dict[str, Any]:
    """What the language part is made of where a file says nothing of it."""
    given = cls.sub_configs_defaults[key].init_kwargs
    wanted = KEYS | {"hybrid_override_pattern", "layers_block_type", "layer_types"}
    return {name: value for name, value in given.items() if name in wanted}


def text_entry(config: Any) -> dict[str, Any]:
    """Of a language part, which may be a model of its own, too."""
    cls = type(config)
    return {**describe(cls), "modality": "text", **loading(config.model_type, cls, "text")}


def known_configs() -> dict[str, Any]:
    """The whole table, sorted."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    table: dict[str, Any] = {}
    for name in text_types():
        cls = CONFIG_MAPPING[name]
        kind = modality(name, cls)
        entry = table[name] = {**describe(cls), "modality": kind, **loading(name, cls, kind)}
        try:
            config = cls()
            key = text_key(config)
        except (StrictDataclassError, ValueError, TypeError, AttributeError):
            continue  # a class without usable defaults: the file must say everything
        if key is not None:
            text = getattr(config, key)
            entry |= {"text": key, "text_type": text.model_type, "text_defaults": text_defaults(cls, key)}
            table.setdefault(text.model_type, text_entry(text))
            inner = text_key(text)
            if inner is not None:
                part = getattr(text, inner)
                table[text.model_type] |= {"text": inner, "text_type": part.model_type}
                table.setdefault(part.model_type, text_entry(part))
    return dict(sorted(table.items()))


def as_text(table: dict[str, Any]) -> str:
    """JSON of one line for each type, so that a change is seen."""
    lines = [f" {json.dumps(name)}: {json.dumps(entry, sort_keys=True)}" for name, entry in table.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(as_text(known_configs()))
