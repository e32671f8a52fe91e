"""A CUDA graph says what would have been said without it, and where it cannot be made the replies go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.models import Quantization
from modeldeck.backend.protocol import EngineLog, Generate, Moved, Park, Wake
from modeldeck.config.generation import GenerationSettings
from tests.gpu.test_estimate_on_gpu import load
from tests.real.engine import Engine, Reply

GREEDY = GenerationSettings(do_sample=False, max_new_tokens=60)
QUESTIONS = ("The quick brown fox jumps over the lazy dog.", "And then?", "Why?")


def said_of_the_graph(engine: Engine) -> str:
    return next(event.text for event in engine.events() if isinstance(event, EngineLog) and "graph" in event.text)


def conversation(engine: Engine) -> list[Reply]:
    turns: list[ChatMessage] = []
    replies = []
    for question in QUESTIONS:
        turns.append(ChatMessage("user", question))
        request_id = engine.next_id()
        engine.send(Generate(request_id, tuple(turns), GREEDY))
        replies.append(engine.answer(request_id))
        assert replies[-1].stats is not None, replies[-1].failure
        turns.append(ChatMessage("assistant", replies[-1].text))
    return replies


def tokens(replies: list[Reply]) -> list[tuple[int, ...]]:
    return [reply.stats.token_ids for reply in replies if reply.stats is not None]


def test_in_float32_it_says_the_same_token_by_token(llama: Path, start_engine: Callable[..., Engine]) -> None:
    engine = start_engine()
    load(engine, llama, device="cuda:0", dtype="float32")
    before = conversation(engine)
    assert "through a CUDA graph" in said_of_the_graph(engine)
    after = conversation(engine)
    assert tokens(after) == tokens(before)
    assert all(reply.stats is not None and reply.stats.reused_tokens for reply in after[1:])


@pytest.mark.parametrize("quantization", [Quantization.NONE, Quantization.INT8, Quantization.NF4])
def test_it_replies_on_whatever_the_graph_was_made_of(
    llama: Path,
    start_engine: Callable[..., Engine],
    quantization: Quantization,
    record_property: Callable[[str, object], None],
) -> None:
    engine = start_engine()
    load(engine, llama, device="cuda:0", dtype="bfloat16", quantization=quantization)
    record_property("graph", said_of_the_graph(engine))
    assert [reply.stats.new_tokens for reply in conversation(engine) if reply.stats] == [60, 60, 60]


def test_compiled_layers_are_kept_for_the_next_load(
    llama: Path, start_engine: Callable[..., Engine], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for load_number in (1, 2):
        engine = start_engine(MODELDECK_COMPILED=str(tmp_path))
        load(engine, llama, device="cuda:0", dtype="bfloat16")
        assert "through a CUDA graph" in said_of_the_graph(engine)
        assert [reply.stats.new_tokens for reply in conversation(engine) if reply.stats] == [60, 60, 60]
        started = monotonic()
        said = next(event.text for event in engine.events() if isinstance(event, EngineLog) and "ayers" in event.text)
        record_property(f"load {load_number}", f"{said} After {monotonic() - started:.0f} s.")
        assert "of compiled layers" in said
        assert [reply.stats.new_tokens for reply in conversation(engine) if reply.stats] == [60, 60, 60]


def test_after_parking_it_is_made_anew(llama: Path, start_engine: Callable[..., Engine]) -> None:
    engine = start_engine()
    load(engine, llama, device="cuda:0", dtype="float32")
    assert "through a CUDA graph" in said_of_the_graph(engine)
    before = tokens(conversation(engine))
    for request in (Park, Wake):
        engine.send(request(engine.next_id()))
        engine.until(Moved)
    assert tokens(conversation(engine)) == before
    assert "through a CUDA graph" in said_of_the_graph(engine)
    assert tokens(conversation(engine)) == before


def test_a_model_that_waits_for_the_gpu_in_its_middle_goes_on_without(
    llama: Path, start_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    folder = tmp_path / "dynamic"
    shutil.copytree(llama, folder)
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(config))
    engine = start_engine()
    load(engine, folder, device="cuda:0", dtype="float32")
    before = tokens(conversation(engine))
    assert "without a CUDA graph; it cannot be made" in said_of_the_graph(engine)
    assert tokens(conversation(engine)) == before
