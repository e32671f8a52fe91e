"""The user's settings as transformers' ``generate`` takes them; 5.23's source is what this follows."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from transformers import GenerationConfig
from transformers.cache_utils import get_layer_types_and_kwargs

from modeldeck.backend.generation_limits import Abilities
from modeldeck.backend.model_defaults import names, settings_from
from modeldeck.backend.quantizers import HQQ, QUANTO
from modeldeck.config.generation import BUILT_IN, GenerationSettings, merge

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NOT_FOR_A_CHAT = (
    "max_length",
    "min_length",
    "penalty_alpha",
    "dola_layers",
    "num_beam_groups",
    "diversity_penalty",
    "constraints",
    "force_words_ids",
    "num_return_sequences",
    "assistant_early_exit",
    "return_dict_in_generate",
    "cache_config",
    "max_cache_len",
)
"""What a model's own file may ask for and a reply cannot have: a second limit, several replies at a time, and modes
that transformers would fetch code for."""
_NEUTRAL = {"min_p": 0, "typical_p": 1, "epsilon_cutoff": 0, "eta_cutoff": 0}
"""Values that mean off; transformers is then not even asked."""
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
_configuration: Any = GenerationConfig  # its __init__ is not typed


def take_own_defaults(model: PreTrainedModel) -> GenerationSettings:
    """What the model's own file says about the settings, taken out of it.

    ``generate`` fills whatever is None with what stands there, so that nothing could be switched off otherwise.
    """
    config: Any = model.generation_config
    theirs = names().values()
    own = settings_from({name: getattr(config, name, None) for name in theirs})
    for name in (*theirs, *_NOT_FOR_A_CHAT):
        if getattr(config, name, None) is not None:
            setattr(config, name, None)
    return own


def abilities_of_loaded(model: PreTrainedModel) -> Abilities:
    """What this very model can do, here."""
    parts: Any = model
    config = parts.config.get_text_config(decoder=True)
    kinds: set[str] = set()
    if rewinds := not parts._is_stateful and parts._supports_default_dynamic_cache():
        try:
            kinds = set(get_layer_types_and_kwargs(config)[0])
        except AttributeError:  # a configuration of the model's own, which no cache of transformers knows
            kinds = {"unknown"}
    return Abilities(
        rewinds=rewinds,
        on_gpu=any(parameter.device.type == "cuda" for parameter in model.parameters()),
        quantizes=rewinds and kinds <= {"full_attention"} and (QUANTO.installed or HQQ.installed),
    )


def wanted(settings: GenerationSettings, own: GenerationSettings) -> GenerationSettings:
    """The settings of a request over the model's own, and the least that a reply needs below both."""
    return merge(GenerationSettings(max_new_tokens=BUILT_IN.max_new_tokens), own, settings)


def is_greedy(settings: GenerationSettings) -> bool:
    """Whether every token is the likeliest one; transformers takes no temperature of 0."""
    return settings.do_sample is not True or settings.temperature == 0


def make_config(
    settings: GenerationSettings, max_new_tokens: int, padding: int | None, cache_group: int
) -> GenerationConfig:
    """What ``generate`` is called with, for settings that the model is able to follow.

    ``max_new_tokens`` is what the context has room for, ``cache_group`` see ``cache_group_size``. Stop strings, the
    seed and the system prompt are not its business here.
    """
    passed: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": not is_greedy(settings),
        "num_beams": _set(settings.num_beams, 1),
        "pad_token_id": padding,
        "min_new_tokens": min(_set(settings.min_new_tokens, 0), max_new_tokens) or None,
        "max_time": _set(settings.max_time, None),
        "repetition_penalty": _set(settings.repetition_penalty, None),
        "no_repeat_ngram_size": _set(settings.no_repeat_ngram_size, None),
        "prompt_lookup_num_tokens": _set(settings.prompt_lookup_num_tokens, 0) or None,
    }
    if settings.guidance_scale is not UNSET and settings.guidance_scale > 1:
        passed["guidance_scale"] = settings.guidance_scale
    if not is_greedy(settings):
        sampling = {name: getattr(settings, name) for name in _SAMPLING}
        passed |= {name: value for name, value in sampling.items() if value is not UNSET}
        passed |= {name: None for name, off in _NEUTRAL.items() if passed.get(name) == off}
    passed |= _cache(settings, cache_group)
    config: GenerationConfig = _configuration(**passed)
    return config


def is_plain(config: GenerationConfig) -> bool:
    """Whether the cache is one that tells what a token of this model takes, and that another reply can go on with.

    transformers' prompt lookup reads the whole prompt anew, into whatever cache it is given.
    """
    options: Any = config
    special = options.guidance_scale or options.cache_implementation or options.prompt_lookup_num_tokens
    return not special and options.num_beams == 1


def cache_group_size(model: PreTrainedModel) -> int:
    """How many elements of a quantized cache share a scale: transformers' 64, or fewer where a head is no multiple.

    What is quantized grows token by token, so that only the size of a head divides it for certain.
    """
    parts: Any = model
    config = parts.config.get_text_config(decoder=True)
    heads = [getattr(config, name, None) for name in ("head_dim", "v_head_dim", "kv_lora_rank", "qk_rope_head_dim")]
    if not heads[0]:
        heads[0] = getattr(config, "hidden_size", 64) // (getattr(config, "num_attention_heads", 1) or 1)
    return gcd(64, *(size for size in heads if isinstance(size, int) and size > 0))


def _cache(settings: GenerationSettings, group: int) -> dict[str, Any]:
    """The cache; left to transformers where it is the usual one.

    A static cache would be compiled for on a GPU, anew for every length of a conversation; it is not.
    """
    match settings.cache_implementation:
        case "static" | "offloaded_static" as kind:
            return {"cache_implementation": kind, "disable_compile": True}
        case "quantized":
            backend = QUANTO.name if QUANTO.installed else HQQ.name
            return {"cache_implementation": "quantized", "cache_config": {"backend": backend, "q_group_size": group}}
        case "offloaded":
            return {"cache_implementation": "offloaded"}
        case _:
            return {}


def _set(value: Any, otherwise: Any) -> Any:
    return otherwise if value is UNSET else value
