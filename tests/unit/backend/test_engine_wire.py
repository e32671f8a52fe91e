from __future__ import annotations

import os
from collections.abc import Iterator
from threading import Thread
from time import monotonic
from typing import BinaryIO

import pytest

from modeldeck.backend.chat_messages import ChatMessage, FinishReason, GenerationStats, TokenChoice
from modeldeck.backend.engine.wire import Arrival, Inbox, Wire
from modeldeck.backend.protocol import (
    EngineLog,
    Generate,
    GenerationFailed,
    GenerationFinished,
    LookedInto,
    Stop,
    TokensGenerated,
    decode_event,
    encode,
)
from modeldeck.config.generation import GenerationSettings

STATS = GenerationStats(
    prompt_tokens=1, new_tokens=1, first_token_seconds=0.1, seconds=0.2, finish_reason=FinishReason.STOP
)
FINISHED = GenerationFinished(1, STATS)


@pytest.fixture
def pipe() -> Iterator[tuple[int, BinaryIO]]:
    """A pipe whose writing end is never closed under the writer, which would end the test process."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stream:
        yield write, stream


def test_the_first_token_goes_at_once_and_the_rest_is_gathered(pipe: tuple[int, BinaryIO]) -> None:
    descriptor, stream = pipe
    wire = Wire(descriptor)
    wire.tokens(1, "a", 1)
    assert decode_event(stream.readline()) == TokensGenerated(1, "a", 1)
    for number, text in enumerate("bcd", start=2):
        wire.tokens(1, text, number)
    assert decode_event(stream.readline()) == TokensGenerated(1, "bcd", 4)


def test_it_is_gathered_for_as_long_as_is_said(pipe: tuple[int, BinaryIO]) -> None:
    descriptor, stream = pipe
    wire = Wire(descriptor)
    wire.token_interval = 3600
    wire.tokens(1, "a", 1)
    stream.readline()
    assert wire._due > monotonic() + 1800


def test_what_is_gathered_goes_before_the_event_that_follows(pipe: tuple[int, BinaryIO]) -> None:
    descriptor, stream = pipe
    wire = Wire(descriptor)
    wire.tokens(1, "a", 1)
    stream.readline()
    wire.tokens(1, "b", 2)
    wire.send(FINISHED)
    assert decode_event(stream.readline()) == TokensGenerated(1, "b", 2)
    assert decode_event(stream.readline()) == FINISHED


def test_f4_nobody_waits_for_a_pipe_that_is_not_read_and_nothing_is_lost(pipe: tuple[int, BinaryIO]) -> None:
    descriptor, stream = pipe
    wire = Wire(descriptor)
    text = "x" * 1000
    for number in range(1, 2001):  # 2 MB, far more than a pipe holds
        wire.tokens(1, text, number)
    wire.send(FINISHED)
    received = 0
    while isinstance(event := decode_event(stream.readline()), TokensGenerated):
        received += len(event.text)
    assert event == FINISHED
    assert received == 2_000_000


def test_an_answer_that_is_too_long_is_told_and_the_engine_speaks_on(pipe: tuple[int, BinaryIO]) -> None:
    descriptor, stream = pipe
    wire = Wire(descriptor)
    wire.send(LookedInto(7, (TokenChoice("x" * 9_000_000, 0.5),)))
    wire.send(FINISHED)
    failed = decode_event(stream.readline())
    assert isinstance(failed, GenerationFailed)
    assert (failed.request_id, failed.message) == (7, "The engine's answer is too long to be sent.")
    assert decode_event(stream.readline()) == FINISHED


def test_what_is_thought_and_what_is_said_keep_their_order(pipe: tuple[int, BinaryIO]) -> None:
    descriptor, stream = pipe
    wire = Wire(descriptor)
    wire.tokens(1, "a", 1, reasoning=True)
    assert decode_event(stream.readline()) == TokensGenerated(1, "a", 1, reasoning=True)
    wire.tokens(1, "b", 2, reasoning=True)
    wire.tokens(1, "c", 3)
    wire.tokens(1, "d", 4)
    assert decode_event(stream.readline()) == TokensGenerated(1, "b", 2, reasoning=True)
    assert decode_event(stream.readline()) == TokensGenerated(1, "cd", 4)


def test_f14_log_lines_are_dropped_while_too_many_wait(pipe: tuple[int, BinaryIO]) -> None:
    descriptor, stream = pipe
    wire = Wire(descriptor)
    for _ in range(2000):
        wire.send(EngineLog("info", "x" * 1000))
    wire.send(FINISHED)
    lines = 0
    while decode_event(stream.readline()) != FINISHED:
        lines += 1
    assert lines < 1000


def test_a_stop_reaches_the_request_that_waits_or_runs_and_no_other() -> None:
    read, write = os.pipe()
    inbox = Inbox(os.fdopen(read, "rb"))
    for number in (1, 2):
        os.write(write, encode(Generate(number, (ChatMessage("user", "x"),), GenerationSettings())))
    arrivals: list[Arrival] = [inbox.next(), inbox.next()]
    inbox.forget(2)
    for number in (9, 2, 1):
        os.write(write, encode(Stop(number)))
    waiting = Thread(target=arrivals[0].stop.wait, args=(10,))
    waiting.start()
    waiting.join()
    assert arrivals[0].stop.is_set()
    assert not arrivals[1].stop.is_set()
