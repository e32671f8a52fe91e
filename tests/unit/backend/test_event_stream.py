"""The events of one request wait in bounded memory and come in order."""

from __future__ import annotations

import asyncio

import pytest

from modeldeck.backend import event_stream
from modeldeck.backend.catalog.messages import ModelsFound, Reading, ScanFinished
from modeldeck.backend.catalog.places import Spot
from modeldeck.backend.download_messages import DownloadProgress
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.event_stream import EventStream
from modeldeck.backend.models import LoadStage
from modeldeck.backend.protocol import GenerationFailed, LoadProgress, ProtocolError, TokensGenerated


async def test_text_that_nobody_took_is_joined() -> None:
    stream = EventStream(1)
    for number in range(1, 1001):
        stream.put(TokensGenerated(1, "ab", number))
    stream.put(GenerationFailed(1, "enough"))
    assert await stream.next() == TokensGenerated(1, "ab" * 1000, 1000)
    assert await stream.next() == GenerationFailed(1, "enough")


async def test_a_piece_without_text_still_tells_how_many_tokens_there_are() -> None:
    stream = EventStream(1)
    stream.put(TokensGenerated(1, "", 7))
    assert await stream.next() == TokensGenerated(1, "", 7)


async def test_newer_progress_replaces_older_of_the_same_stage_only() -> None:
    stream = EventStream(1)
    for done in range(100):
        stream.put(LoadProgress(1, LoadStage.READING_WEIGHTS, done, 100))
    stream.put(LoadProgress(1, LoadStage.WARMING_UP))
    assert await stream.next() == LoadProgress(1, LoadStage.READING_WEIGHTS, 99, 100)
    assert await stream.next() == LoadProgress(1, LoadStage.WARMING_UP)
    stream.put(DownloadProgress(1, 1, 9))
    stream.put(DownloadProgress(1, 2, 9))
    assert await stream.next() == DownloadProgress(1, 2, 9)


async def test_found_models_come_in_order_and_of_what_is_read_only_the_newest_counts() -> None:
    stream = EventStream(1)
    stream.put(ModelsFound(1, ()))
    stream.put(Reading(1, Spot(b"/a")))
    stream.put(Reading(1, Spot(b"/b", True)))
    stream.put(ScanFinished(1))
    stream.put(ModelsFound(1, ()))
    stream.put(EngineDied("gone"))
    assert await stream.next() == Reading(1, Spot(b"/b", True))
    assert [await stream.next() for _ in range(3)] == [ModelsFound(1, ()), ScanFinished(1), ModelsFound(1, ())]
    with pytest.raises(EngineDied):
        await stream.next()


async def test_an_empty_stream_waits() -> None:
    stream = EventStream(1)
    stream.put(TokensGenerated(1, "a", 1))
    await stream.next()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.next(), 0.02)
    stream.put(TokensGenerated(1, "b", 2))
    assert await stream.next() == TokensGenerated(1, "b", 2)


async def test_what_comes_after_the_end_is_dropped_and_death_is_told_again_and_again() -> None:
    stream = EventStream(1)
    stream.put(TokensGenerated(1, "so far", 2))
    stream.put(EngineDied("gone"))
    stream.put(TokensGenerated(1, "late", 3))
    assert stream.finished.is_set()
    assert await stream.next() == TokensGenerated(1, "so far", 2)
    for _ in range(2):
        with pytest.raises(EngineDied, match="gone"):
            await stream.next()


async def test_f14_a_reply_beyond_every_limit_is_a_protocol_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_PENDING_TEXT", 10)
    stream = EventStream(1)
    stream.put(TokensGenerated(1, "x" * 10, 1))
    with pytest.raises(ProtocolError, match="beyond"):
        stream.put(TokensGenerated(1, "x", 2))
