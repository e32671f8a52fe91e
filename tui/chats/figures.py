"""The figures of a reply in words: while it runs, and when it has ended."""

from __future__ import annotations

from dataclasses import dataclass

from modeldeck.backend.chat_messages import FinishReason, GenerationStats
from modeldeck.tui import format as fmt
from modeldeck.tui.bars import bar

_GAUGE_CELLS = 8


@dataclass
class ReplyClock:
    """The speed of a running reply, seen from here: tokens after the first, over the time since the first."""

    started: float
    """Seconds, of a clock that never goes back."""
    first_token_at: float | None = None
    tokens_at_first: int = 0
    tokens: int = 0
    read: tuple[int, int] | None = None
    """How many tokens of the prompt the model has read, and of how many; None for a short one."""

    def saw(self, new_tokens: int, now: float) -> float:
        """Note how many tokens the reply has; returns tokens per second, 0 while nobody can know."""
        if self.first_token_at is None:
            self.first_token_at, self.tokens_at_first = now, new_tokens
        self.tokens = new_tokens
        elapsed = now - self.first_token_at
        return (new_tokens - self.tokens_at_first) / elapsed if elapsed > 0 else 0.0

    def line(self, now: float) -> str:
        """What is shown while the reply runs."""
        if self.first_token_at is None:
            waited = now - self.started
            what = _reading(*self.read) if self.read is not None else "waiting for the first token"
            return what + (f" · {fmt.seconds(waited)}" if waited >= 1 else "")
        rate = self.saw(self.tokens, now)
        return fmt.tokens(self.tokens) + (f" · {fmt.tokens_per_second(rate)}" if rate else "")


def _reading(done: int, total: int) -> str:
    share = done / total if total else 0.0
    full, rest = bar(share, _GAUGE_CELLS)
    return f"reading the prompt {full}{rest} {fmt.percent(share)} · {fmt.whole(done)} of {fmt.tokens(total)}"


def figures(stats: GenerationStats) -> str:
    """``142 tokens · 61.2 tok/s · first token 0.18 s · peak 18.4 GB · stop``."""
    parts = [fmt.tokens(stats.new_tokens)]
    if stats.tokens_per_second:
        parts.append(fmt.tokens_per_second(stats.tokens_per_second))
    if stats.new_tokens:
        parts.append(f"first token {fmt.seconds(stats.first_token_seconds)}")
    if stats.peaks:
        parts.append(_peak(stats.peaks))
    match stats.finish_reason:
        case FinishReason.LENGTH if stats.context_full:
            parts.append("length: the model's context is full")
        case FinishReason.LENGTH if stats.time_up:
            parts.append("length: cut at the time limit")
        case FinishReason.LENGTH:
            parts.append("length: cut at the token limit")
        case reason:
            parts.append(reason.value)
    return " · ".join(parts)


def _peak(peaks: dict[str, int]) -> str:
    """Of the devices that a model computes on; of the RAM where it has no other."""
    devices = {name: held for name, held in peaks.items() if name != "ram"}
    if len(devices) <= 1:
        return f"peak {fmt.size(max((devices or peaks).values()))}"
    return "peak " + ", ".join(f"{name} {fmt.size(held)}" for name, held in sorted(devices.items()))


def context_words(used: int, maximum: int | None, *, about: bool = False) -> str:
    """How full the context is: ``▇▇▁▁▁▁▁▁ 2,048/8,192 ctx``; empty while nothing is known.

    ``about`` says that it is an estimate: ``~2,048/8,192 ctx``.
    """
    if not used:
        return ""
    sign = "~" if about else ""
    if not maximum:
        return f"{sign}{fmt.whole(used)} ctx"
    full, rest = bar(used / maximum, _GAUGE_CELLS)
    return f"{full}{rest} {sign}{fmt.whole(used)}/{fmt.whole(maximum)} ctx"
