"""Generation settings in a few words, and what the user should know about how they go together."""

from __future__ import annotations

from msgspec import UNSET

from modeldeck.config.declaration import setting_of, show
from modeldeck.config.generation import GenerationSettings

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed")


def is_greedy(settings: GenerationSettings) -> bool:
    """Whether every token is the likeliest one."""
    return settings.do_sample is False or settings.temperature == 0


def summary(settings: GenerationSettings) -> str:
    """The line below the prompt: ``temp 0.7 · top p 0.9 · 512 tokens``."""
    parts: list[str] = []
    if is_greedy(settings):
        parts.append("greedy")
    else:
        if settings.temperature is not UNSET:
            parts.append(f"temp {_shown(settings, 'temperature')}")
        if settings.top_p is not UNSET and settings.top_p < 1:
            parts.append(f"top p {_shown(settings, 'top_p')}")
        if settings.seed is not UNSET:
            parts.append("seeded")
    if settings.max_new_tokens is not UNSET:
        parts.append(f"{settings.max_new_tokens} tokens")
    if settings.system_prompt:
        parts.append("system prompt")
    return " · ".join(parts)


def conflicts(settings: GenerationSettings) -> list[str]:
    """Settings that have no effect beside others, a sentence each."""
    if not is_greedy(settings):
        return []
    off = settings.do_sample is False
    names = [
        setting_of(GenerationSettings, name).label
        for name in _SAMPLING
        if getattr(settings, name) is not UNSET and (off or name != "temperature")
    ]
    if not names:
        return []
    why = "Sampling is off" if off else "Temperature 0 is greedy"
    what = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return [f"{why}, so {what} {'has' if len(names) == 1 else 'have'} no effect"]


def _shown(settings: GenerationSettings, name: str) -> str:
    return show(setting_of(GenerationSettings, name), getattr(settings, name))
