"""Generation settings in a few words, and what the user should know about how they go together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec import UNSET

from modeldeck.backend.chat_messages import GenerationStats
from modeldeck.backend.generation_limits import Abilities
from modeldeck.config.declaration import setting_of, settings_of, show
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.generation_layers import Layer, Layers

_CHARACTERS = 4
"""Of one token, about, in most languages that are written with an alphabet."""
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "seed",
)


def is_greedy(settings: GenerationSettings) -> bool:
    """Whether every token is the likeliest one."""
    return settings.do_sample is False or settings.temperature == 0


def summary(settings: GenerationSettings, preset: str = "") -> str:
    """The line below the prompt: ``balanced · temp 0.7 · top p 0.9 · 512 tokens``."""
    parts = [preset] if preset else []
    if is_greedy(settings):
        parts.append("greedy")
    else:
        if settings.temperature is not UNSET:
            parts.append(f"temp {_shown(settings, 'temperature')}")
        if settings.top_p is not UNSET and settings.top_p < 1:
            parts.append(f"top p {_shown(settings, 'top_p')}")
        if settings.seed is not UNSET:
            parts.append("seeded")
    if settings.num_beams is not UNSET and settings.num_beams > 1:
        parts.append(f"{settings.num_beams} beams")
    if settings.max_new_tokens is not UNSET:
        parts.append(f"{settings.max_new_tokens} tokens")
    if settings.system_prompt:
        parts.append("system prompt")
    return " · ".join(parts)


def conflicts(
    layers: Layers,
    abilities: Abilities | None = None,
    *,
    context_length: int | None = None,
    prompt_tokens: int = 0,
) -> list[str]:
    """What would not be as the settings suggest, a sentence each.

    ``prompt_tokens`` is about what the conversation and the next question take of ``context_length``.
    """
    settings = layers.effective
    said = _without_effect(layers)
    beams = settings.num_beams
    if beams is not UNSET and beams > 1:
        said.append(f"With {beams} Beams the reply comes at its end, not word by word")
    if settings.guidance_scale is not UNSET and settings.guidance_scale > 1:
        said.append("Guidance scale doubles the work of every reply")
    least, most = settings.min_new_tokens, settings.max_new_tokens
    if least is not UNSET and most is not UNSET and least > most:
        said.append(f"Min new tokens {least} is more than Max new tokens {most}, which holds")
    if context_length is not None and most is not UNSET:
        said += _over_context(most, context_length, prompt_tokens)
    return [*said, *(abilities or Abilities()).leave_out(settings)[1]]


class Said(Protocol):
    """What counting needs of a turn."""

    question: str
    reply: str
    stats: GenerationStats | None


def about_tokens(turns: Iterable[Said], question: str, system_prompt: str) -> int:
    """About what the next prompt takes, in tokens: what the last one and its reply took, and what is new."""
    known, characters = 0, len(system_prompt)
    for turn in turns:
        if turn.stats is not None and turn.reply:
            known, characters = turn.stats.prompt_tokens + turn.stats.new_tokens, 0
        elif turn.reply:
            characters += len(turn.question) + len(turn.reply)
    return known + (characters + len(question)) // _CHARACTERS


def _without_effect(layers: Layers) -> list[str]:
    """Settings of sampling beside a greedy search; only what somebody chose, and no preset hides."""
    if not is_greedy(layers.effective):
        return []
    off = layers.effective.do_sample is False
    by_preset = layers.held("do_sample" if off else "temperature").layer is Layer.PRESET
    least = Layer.PRESET if by_preset else Layer.ALL_MODELS
    names = [
        setting_of(GenerationSettings, name).label
        for name in _SAMPLING
        if (held := layers.held(name)).value is not UNSET
        and held.layer.strength >= least.strength
        and (off or name != "temperature")
    ]
    if not names:
        return []
    why = "Sampling is off" if off else "Temperature 0 is greedy"
    what = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return [f"{why}, so {what} {'has' if len(names) == 1 else 'have'} no effect"]


def _over_context(most: int, context_length: int, prompt_tokens: int) -> list[str]:
    if most >= context_length:
        return [f"Max new tokens {most:,} is more than the model's context of {context_length:,} has room for"]
    room = context_length - prompt_tokens
    if room <= 0:
        return [f"The conversation takes about all of the model's {context_length:,} tokens; begin a new chat (n)"]
    if most > room:
        return [f"About {room:,} of the model's {context_length:,} tokens are left, so the reply ends by then"]
    return []


def _shown(settings: GenerationSettings, name: str) -> str:
    return show(setting_of(GenerationSettings, name), getattr(settings, name))


def said_values(settings: GenerationSettings) -> str:
    """Everything that is set, briefly: ``temperature 0.2 · top p 0.8``; what a preset says."""
    parts: list[str] = []
    for setting in settings_of(GenerationSettings):
        value = getattr(settings, setting.name)
        if value is UNSET or value is True:  # the values of the sampling say that there is one
            continue
        shown = "off" if value is False else show(setting, value).replace("\n", " ")
        parts.append(f"{setting.label.lower()} {shown[:24]}")
    return " · ".join(parts)
