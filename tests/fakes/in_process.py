"""Fakes for widget tests that need no process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from modeldeck.backend.models import ChatMessage, FinishReason, GenerationStats, LoadedModel
from modeldeck.backend.protocol import GenerationFinished, TokensGenerated
from modeldeck.config.generation import BUILT_IN, GenerationSettings, merge

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
        self.stopped = False
        self.closed = 0

    async def generate(
        self, messages: Sequence[ChatMessage], settings: GenerationSettings
    ) -> AsyncGenerator[TokensGenerated | GenerationFinished, None]:
        self.asked.append((tuple(messages), settings))
        self.stopped = False
        count = 0
        try:
            for piece in self.pieces:
                count += 1
                yield TokensGenerated(1, piece, count)
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            yield GenerationFinished(1, stats(count, FinishReason.CANCELLED if self.stopped else FinishReason.STOP))
        finally:
            self.closed += 1

    async def stop_reply(self) -> None:
        self.stopped = True
        self.gate.set()


class FakeSettings:
    """Effective settings that a test can change."""

    def __init__(self) -> None:
        self.all_models = GenerationSettings()
        self.per_model: dict[str, GenerationSettings] = {}

    def effective(self, model_id: str | None) -> GenerationSettings:
        return merge(BUILT_IN, self.all_models, self.per_model.get(model_id or "", GenerationSettings()))
