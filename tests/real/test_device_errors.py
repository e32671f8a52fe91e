"""A device runs out of memory in a reply, or is lost: the reply says so, and the engine goes on or ends (F7, F9)."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from modeldeck.backend.chat_messages import ChatMessage, FinishReason
from modeldeck.backend.engine.wire import Arrival
from modeldeck.backend.protocol import EXIT_DEVICE_LOST, Generate, GenerationFailed, LoadFinished
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.trouble_flow import OUT_OF_MEMORY as SAID
from tests.real.engine import OUT_OF_MEMORY, PATIENCE, running_engine
from tests.real.test_load_failures import RecordingWire

pytestmark = [pytest.mark.usefixtures("libraries"), pytest.mark.filterwarnings("ignore")]
BREAKING_ENGINE = """
import torch
from modeldeck.backend.engine import generating
reply = generating.Replier.reply

def breaking(self, request, arrival, emit, on_prefill):
    def emit_and_break(text, new_tokens, reasoning):
        emit(text, new_tokens, reasoning)
        if new_tokens >= 5 and "memory" in request.messages[-1].content:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        if new_tokens >= 5 and "lost" in request.messages[-1].content:
            raise RuntimeError("CUDA error: device-side assert triggered")
    return reply(self, request, arrival, emit_and_break, on_prefill)

generating.Replier.reply = breaking
from modeldeck.backend.engine.__main__ import main
main()
"""
ASKED = Generate(1, (ChatMessage("user", "Hello"),), GenerationSettings(max_new_tokens=2))


def test_f7_f9_after_want_of_memory_it_replies_on_and_after_a_lost_device_it_ends(
    llama: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with running_engine(tmp_path, environment, code=BREAKING_ENGINE) as engine:
        assert isinstance(engine.load(llama), LoadFinished)
        before = engine.reply("Hello", max_new_tokens=8, do_sample=False)
        failed = engine.reply("use all memory", max_new_tokens=40)
        assert failed.failure.startswith(SAID)
        assert failed.text.strip(), "what was said before is there"
        again = engine.reply("Hello", max_new_tokens=8, do_sample=False)
        assert again.text == before.text
        assert again.stats is not None
        assert again.stats.finish_reason is FinishReason.LENGTH
        lost = engine.reply("be lost", max_new_tokens=40)
        assert "device-side assert" in lost.failure
        assert lost.text.strip()
        assert engine.process.wait(PATIENCE) == EXIT_DEVICE_LOST


class Greedy:
    """A replier that needs more than there is; ``held`` is what its frames hold when it fails."""

    def __init__(self, words: str) -> None:
        self._words = words
        self.held: weakref.ref[Any] | None = None
        self.made_room = False

    def reply(self, *_given: object) -> None:
        import torch

        tensor = torch.ones(1000)
        self.held = weakref.ref(tensor)
        raise RuntimeError(self._words)

    def make_room(self) -> None:
        self.made_room = True


@pytest.fixture
def session(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Greedy, RecordingWire]:
    """A session with a model that always runs out of memory, in the words of ``session``'s parameter."""
    import torch

    from modeldeck.backend.engine.session import Session

    def ended(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", ended)
    wire, replier = RecordingWire(), Greedy(getattr(request, "param", OUT_OF_MEMORY[0]))
    opened: Any = Session(wire)
    opened._loaded = SimpleNamespace(replier=replier, model=torch.nn.Linear(2, 2))
    return opened, replier, wire


def _ask(session: Any) -> None:
    session.reply(ASKED, Arrival(ASKED, monotonic(), threading.Event()))


@pytest.mark.parametrize("session", OUT_OF_MEMORY, indirect=True)
def test_f9_memory_is_given_back_once_the_failed_reply_holds_none(
    session: tuple[Any, Greedy, RecordingWire], monkeypatch: pytest.MonkeyPatch
) -> None:
    from modeldeck.backend.engine import session as module

    opened, replier, wire = session
    seen: list[bool] = []
    monkeypatch.setattr(
        module, "_give_memory_back", lambda: seen.append(replier.held is not None and replier.held() is None)
    )
    _ask(opened)
    assert seen == [True]
    assert isinstance(wire.sent[-1], GenerationFailed)
    assert wire.sent[-1].message.startswith(SAID)
    assert opened.loaded


def test_f9_the_cache_is_dropped_and_the_allocator_s_memory_goes_back(
    session: tuple[Any, Greedy, RecordingWire], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    opened, replier, _ = session
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(replier.made_room))
    _ask(opened)
    assert emptied == [True], "after the cache was dropped, else it holds on"


def test_f9_a_device_that_is_lost_besides_is_found_out_at_once(
    session: tuple[Any, Greedy, RecordingWire], monkeypatch: pytest.MonkeyPatch
) -> None:
    from modeldeck.backend.engine import session as module

    opened, _, wire = session

    def lost(_device: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(module, "_probe", lost)
    with pytest.raises(SystemExit) as end:
        _ask(opened)
    assert end.value.code == EXIT_DEVICE_LOST
    assert "no longer answers" in str(wire.sent[-1])
