"""Which of transformers' Auto classes loads a model: what takes images or sounds is loaded whole, not its text part.

``known_configs.json`` tells the catalog and the copied code the same, by ``tests.real.library_configs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MULTIMODAL_LM_MAPPING

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_OWN_CODE: tuple[Any, ...] = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)
"""Which entry of ``auto_map`` is followed, the first that is there."""
_language: Any = MODEL_FOR_CAUSAL_LM_MAPPING  # keyed by configuration classes
_multimodal: Any = MODEL_FOR_MULTIMODAL_LM_MAPPING


def auto_class(config: PretrainedConfig, *, trusted: bool, is_gguf: bool) -> Any:
    """The Auto class that loads a checkpoint with this configuration.

    ``trusted`` says that the model's own code may run. A GGUF file holds a language model alone.
    """
    if is_gguf:
        return AutoModelForCausalLM
    named = (getattr(config, "auto_map", None) or {}) if trusted else {}
    for own in _OWN_CODE:
        if own.__name__ in named:
            return own
    if not is_multimodal(config) or _is_language_part(config):
        return AutoModelForCausalLM
    return AutoModelForMultimodalLM


def is_multimodal(config: PretrainedConfig) -> bool:
    """Whether transformers has a class for such models that takes images or sounds beside the text."""
    return bool(type(config) in _multimodal)


def replying_part(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration itself, but of a model that speaks its replies only the part that writes them."""
    part: PretrainedConfig | None = getattr(config, "thinker_config", None)
    return part if part is not None and is_multimodal(config) and is_multimodal(part) else config


def _is_language_part(config: PretrainedConfig) -> bool:
    """Whether the checkpoint was saved, as it says, by the class of the language part, of a type that has both."""
    kind, saved_by = type(config), (getattr(config, "architectures", None) or ("",))[0]
    if kind not in _language or _language[kind] is _multimodal[kind]:
        return False
    return bool(_language[kind].__name__ == saved_by)
