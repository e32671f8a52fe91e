"""Fakes for widget tests that need no process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from msgspec import structs

from modeldeck.backend.chat_messages import ChatMessage, FinishReason, GenerationStats, ReplyMode, TokenChoice
from modeldeck.backend.generation_limits import Abilities
from modeldeck.backend.models import LoadedModel
from modeldeck.backend.protocol import Generate, GenerationFinished, TokensGenerated
from modeldeck.backend.reply import ReplyEvent
from modeldeck.config.generation import BUILT_IN, GenerationSettings
from modeldeck.config.generation_layers import Layer, Layers

LOADED = LoadedModel(
    model_id="starter",
    device="cpu",
    dtype="float32",
    quantization="none",
    context_length=8192,
    weight_bytes=540_000_000,
    parameters=135_000_000,
    has_chat_template=True,
    seconds=1.0,
)


def stats(new_tokens: int, reason: FinishReason = FinishReason.STOP) -> GenerationStats:
    return GenerationStats(
        prompt_tokens=12,
        new_tokens=new_tokens,
        first_token_seconds=0.18,
        seconds=0.18 + max(0, new_tokens - 1) / 61.2,
        finish_reason=reason,
    )


class FakeReplier:
    """Plays one reply: pieces, then at a closed gate waits to be let on or stopped, then an error or the figures."""

    def __init__(self, *pieces: str) -> None:
        self.pieces: tuple[str, ...] = pieces or ("Hello ", "there.")
        self.error: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[tuple[ChatMessage, ...], GenerationSettings]] = []
        self.modes: list[tuple[ReplyMode, bool | None, str | None]] = []
        self.before: tuple[ReplyEvent, ...] = ()
        """What comes before the pieces."""
        self.figures: dict[str, Any] = {}
        """What the figures are to be instead."""
        self.stopped = False
        self.closed = 0

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        settings: GenerationSettings,
        *,
        mode: ReplyMode = ReplyMode.CHAT,
        thinking: bool | None = None,
        model_id: str | None = None,
    ) -> AsyncGenerator[ReplyEvent, None]:
        self.asked.append((tuple(messages), settings))
        self.modes.append((mode, thinking, model_id))
        self.stopped = False
        count = 0
        try:
            for event in self.before:
                yield event
            for piece in self.pieces:
                count += 1
                yield TokensGenerated(1, piece, count)
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            figures = stats(count, FinishReason.CANCELLED if self.stopped else FinishReason.STOP)
            yield GenerationFinished(1, structs.replace(figures, **self.figures))
        finally:
            self.closed += 1

    async def stop_reply(self, model_id: str | None = None) -> None:
        self.stopped = True
        self.gate.set()

    async def count_tokens(self, texts: Sequence[str], model_id: str | None = None) -> tuple[int, ...]:
        """Each word is one."""
        return tuple(len(text.split()) for text in texts)

    async def look_into(self, asked: Generate, token_ids: Sequence[int], model_id: str) -> tuple[TokenChoice, ...]:
        """Every token is rather likely."""
        return tuple(TokenChoice(f"{number} ", 0.75, (("other ", 0.125),)) for number in token_ids)


class FakeSettings:
    """Effective settings that a test can change."""

    def __init__(self) -> None:
        self.all_models = GenerationSettings()
        self.per_model: dict[str, GenerationSettings] = {}

    def effective(self, model_id: str | None) -> GenerationSettings:
        return self.layers(model_id).effective

    def layers(self, model_id: str | None) -> Layers:
        own = self.per_model.get(model_id or "", GenerationSettings())
        return Layers({Layer.BUILT_IN: BUILT_IN, Layer.ALL_MODELS: self.all_models, Layer.THIS_MODEL: own})

    async def ready(self, model_id: str) -> GenerationSettings:
        return self.effective(model_id)

    def keep_for_session(self, model_id: str | None, values: Mapping[str, Any]) -> None:
        own = self.per_model.get(model_id or "", GenerationSettings())
        self.per_model[model_id or ""] = structs.replace(own, **values)

    def preset_title(self, model_id: str | None) -> str:
        return ""

    def abilities(self, model_id: str | None) -> Abilities:
        return Abilities()
