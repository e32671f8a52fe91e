"""What transformers' own configuration classes say, for ``known_configs.json`` and for the test that compares.

Runs in a process of its own: ``python -m tests.real.library_configs > backend/catalog/known_configs.json``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, fields
from typing import Any

from modeldeck.backend.catalog.config_keys import KEYS


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
    if images and sounds:
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


def text_key(config: Any) -> str | None:
    """The key of the language part, where it is not the configuration itself."""
    text = config.get_text_config(decoder=True)
    return next((key for key in config.sub_configs_defaults if getattr(config, key, None) is text), None)


def text_defaults(cls: Any, key: str) -> dict[str, Any]:
    """What the language part is made of where a file says nothing of it."""
    given = cls.sub_configs_defaults[key].init_kwargs
    wanted = KEYS | {"hybrid_override_pattern", "layers_block_type", "layer_types"}
    return {name: value for name, value in given.items() if name in wanted}


def known_configs() -> dict[str, Any]:
    """The whole table, sorted."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    table: dict[str, Any] = {}
    for name in text_types():
        cls = CONFIG_MAPPING[name]
        entry = table[name] = {**describe(cls), "modality": modality(name, cls)}
        try:
            config = cls()
            key = text_key(config)
        except (StrictDataclassError, ValueError, TypeError, AttributeError):
            continue  # a class without usable defaults: the file must say everything
        if key is not None:
            text = getattr(config, key)
            entry |= {"text": key, "text_type": text.model_type, "text_defaults": text_defaults(cls, key)}
            table.setdefault(text.model_type, {**describe(type(text)), "modality": "text"})
            inner = text_key(text)
            if inner is not None:
                part = getattr(text, inner)
                table[text.model_type] |= {"text": inner, "text_type": part.model_type}
                table.setdefault(part.model_type, {**describe(type(part)), "modality": "text"})
    return dict(sorted(table.items()))


def as_text(table: dict[str, Any]) -> str:
    """JSON of one line for each type, so that a change is seen."""
    lines = [f" {json.dumps(name)}: {json.dumps(entry, sort_keys=True)}" for name, entry in table.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(as_text(known_configs()))
