"""How soon a stop is obeyed: while a prompt of 2,000 tokens is read, and in the middle of a reply.

Through the manager, as escape in the app does it, with the starter model in float32 in a real engine: from asking to
the engine's word that the reply has ended. After each the model must still be LOADED, and its next reply must come.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from time import perf_counter

from benchmarks.figures import Figure, each
from benchmarks.report import Report
from benchmarks.sides import load_seconds, our_manager, starter
from modeldeck.backend.chat_messages import ChatMessage, FinishReason, GenerationStats
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager
from modeldeck.backend.protocol import GenerationFinished, TokensGenerated
from modeldeck.backend.reply import ReplyEvent
from modeldeck.config.generation import GenerationSettings

TARGET_MS = 300.0
PROMPT_TOKENS = 2_000
MOST_TOKENS = 40
"""After so many at the latest a reply is stopped."""
STORY = "Write a long story about a lighthouse keeper and his gull."
_LONG_REPLY = 400
_SHORT_REPLY = 2
_READS = 3
_TRIES = 5


class TooLate(Exception):
    """There was nothing to stop any more."""


def main(pairs: int, report: Report) -> None:
    """Two stops of each kind for a pair. Raises RuntimeError where the model is not as it was after one."""
    if (model := starter()) is None:
        report.skip("stop while a prompt is read, and in a reply", "the starter model is not installed")
        return
    asyncio.run(_measure(model, pairs, report))


async def _measure(model: Path, pairs: int, report: Report) -> None:
    async with our_manager() as manager:
        await load_seconds(manager, model, device="cpu", dtype="float32")
        reads = [(await _said(manager, _prompt(), _SHORT_REPLY)).first_token_seconds for _ in range(_READS)]
        usual = min(reads)  # the first goes on while the next spare engine starts, and takes twice as long

        async def reading() -> float:
            return await _stopped(manager, _prompt(), lambda _events: asyncio.sleep(random.uniform(0, 0.9 * usual)))

        async def writing() -> float:
            return await _stopped(manager, STORY, _some_tokens)

        report.add(
            await _times(f"stop while a prompt of {PROMPT_TOKENS:,} tokens is read", reading, manager, pairs),
            await _times("stop in the middle of a reply", writing, manager, pairs),
        )


async def _times(what: str, stop: Callable[[], Awaitable[float]], manager: PipelineManager, pairs: int) -> Figure:
    milliseconds: list[float] = []
    for _ in range(2 * pairs):
        milliseconds.append(1000 * await _in_time(stop))
        if manager.status is not ModelStatus.LOADED:
            raise RuntimeError(f"after a stop the model is {manager.status.name}")
        await _said(manager, "What is the capital of France?", _SHORT_REPLY)
    within = sum(time <= TARGET_MS for time in milliseconds)
    detail = (
        f"{within} of {len(milliseconds)} within; float32 on CPU; the model stays loaded, and its next reply comes."
    )
    return each(what, milliseconds, target=TARGET_MS, unit="ms", detail=detail)


async def _in_time(stop: Callable[[], Awaitable[float]]) -> float:
    for _ in range(_TRIES):
        try:
            return await stop()
        except TooLate:
            continue
    raise RuntimeError(f"a reply ended before it was stopped, {_TRIES} times")


async def _stopped(
    manager: PipelineManager, question: str, moment: Callable[[list[ReplyEvent]], Awaitable[None]]
) -> float:
    """Ask, wait for the moment, stop: the seconds from then to the end of the reply. Raises TooLate."""
    events: list[ReplyEvent] = []
    writes = moment is _some_tokens

    async def listen() -> GenerationStats:
        async with aclosing(_asked(manager, question, _LONG_REPLY)) as replied:
            async for event in replied:
                events.append(event)
                if isinstance(event, GenerationFinished):
                    return event.stats
        raise RuntimeError("the reply ended without its figures")

    listening = asyncio.create_task(listen())
    await moment(events)
    asked = perf_counter()
    await manager.stop_reply()
    stats = await listening
    seconds = perf_counter() - asked
    if stats.finish_reason is not FinishReason.CANCELLED or (stats.new_tokens > 0) is not writes:
        raise TooLate
    return seconds


async def _some_tokens(events: list[ReplyEvent]) -> None:
    """Wait until a reply has some tokens, and for a part of the next."""
    wanted = random.randint(1, MOST_TOKENS)
    while _tokens(events) < wanted and not any(isinstance(event, GenerationFinished) for event in events):  # noqa: ASYNC110  # a benchmark may look from outside
        await asyncio.sleep(0.005)
    await asyncio.sleep(random.uniform(0, 0.05))


def _tokens(events: list[ReplyEvent]) -> int:
    return max((event.new_tokens for event in events if isinstance(event, TokensGenerated)), default=0)


def _asked(manager: PipelineManager, question: str, tokens: int) -> AsyncGenerator[ReplyEvent, None]:
    settings = GenerationSettings(do_sample=False, max_new_tokens=tokens)
    return manager.generate((ChatMessage("user", question),), settings)


async def _said(manager: PipelineManager, question: str, tokens: int) -> GenerationStats:
    """A whole reply. Raises RuntimeError where it has no token."""
    async with aclosing(_asked(manager, question, tokens)) as replied:
        async for event in replied:
            if isinstance(event, GenerationFinished) and event.stats.new_tokens > 0:
                return event.stats
    raise RuntimeError("there was no reply")


def _prompt() -> str:
    """A new one each time, from its first word on, so that no kept cache makes it shorter."""
    return f"{random.random()} " + "word " * PROMPT_TOKENS
