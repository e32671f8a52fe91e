"""Tokens that go through fixed addresses are those that would have come without; a CPU stands in for the graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.config.generation import GenerationSettings
from tests.real.repliers import GREEDY, Talk

QUESTIONS = ("What is the capital of France?", "And of Germany?", "Which is larger?")
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "gpt_neox": {},
    "phi3": {"sliding_window": None},
    "granite": {"attn_implementation": "eager"},
}
SAMPLED = GenerationSettings(do_sample=True, temperature=0.8, seed=3, max_new_tokens=16)


@pytest.fixture(autouse=True)
def _whatever_it_brings(libraries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldeck.backend.engine.graph_decoding._WORTH", 0.0)


class Counted:
    """Stands in for the capture, and counts the steps that go through it."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, step: Callable[[], Any]) -> Callable[[], Any]:
        def replay() -> Any:
            self.steps += 1
            return step()

        return replay


def with_graph(kind: str = "llama", context_length: int = 4096, **options: Any) -> tuple[Talk, Counted]:
    from modeldeck.backend.engine.graph_decoding import GraphDecoder

    talk, counted = Talk.with_model(kind, **options), Counted()
    graph = GraphDecoder(talk.replier._model, context_length, counted)
    talk.replier._graph = graph
    said: list[str] = []
    talk.replier._log = said.append
    talk.replier.use_spare_time(lambda: False)
    assert graph.in_use, said
    assert "through a CUDA graph" in said[0]
    counted.steps = 0
    return talk, counted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_every_turn_is_the_same_with_the_graph_and_without(kind: str, settings: GenerationSettings) -> None:
    plain = Talk.with_model(kind, **KINDS[kind])
    talk, counted = with_graph(kind, **KINDS[kind])
    reused = []
    for question in QUESTIONS:
        expected, _ = plain.say(question, settings)
        before = counted.steps
        said, stats = talk.say(question, settings)
        assert said == expected
        assert counted.steps - before == stats.new_tokens - 1
        reused.append(stats.reused_tokens)
    assert reused[0] == 0
    assert all(reused[1:])  # the reply's tokens are in the cache that the next turn goes on with


def test_a_reply_that_is_stopped_in_the_middle_leaves_a_cache_that_is_right() -> None:
    talk, _ = with_graph()
    plain = Talk.with_model()
    stop = threading.Event()
    talk.turns.append(ChatMessage("user", QUESTIONS[0]))
    stop.set()
    said, stats = talk.reply(stop=stop)
    assert stats.new_tokens <= 1
    talk.turns.append(ChatMessage("assistant", said))
    plain.turns = list(talk.turns)
    assert talk.say(QUESTIONS[1])[0] == plain.say(QUESTIONS[1])[0]


def test_a_conversation_that_outgrows_it_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldeck.backend.engine.graph_decoding.LONGEST", 48)
    talk, counted = with_graph()
    plain = Talk.with_model()
    for question in QUESTIONS:
        assert talk.say(question)[0] == plain.say(question)[0]
    took = counted.steps
    assert took > 0
    assert talk.say("Why?")[0] == plain.say("Why?")[0]
    assert counted.steps == took


def test_beams_and_the_look_into_a_reply_go_past_it() -> None:
    talk, counted = with_graph()
    plain = Talk.with_model()
    beams = GenerationSettings(do_sample=False, num_beams=2, max_new_tokens=8)
    assert talk.say(QUESTIONS[0], beams)[0] == plain.say(QUESTIONS[0], beams)[0]
    assert counted.steps == 0


def test_what_cannot_be_captured_is_said_and_left() -> None:
    from modeldeck.backend.engine.graph_decoding import GraphDecoder

    def refused(_step: Callable[[], Any]) -> Callable[[], Any]:
        raise RuntimeError("operation not permitted when stream is capturing")

    talk = Talk.with_model()
    graph = GraphDecoder(talk.replier._model, 4096, refused)
    assert "cannot be made of this model: operation not permitted" in graph.prepare(lambda: False)
    assert graph.decided
    assert graph.prepare(lambda: False) == ""
    assert talk.say(QUESTIONS[0])[0] == Talk.with_model().say(QUESTIONS[0])[0]


def test_it_waits_while_something_else_is_wanted_and_comes_back_after_it_was_given_up() -> None:
    from modeldeck.backend.engine.graph_decoding import GraphDecoder

    talk = Talk.with_model()
    graph = GraphDecoder(talk.replier._model, 4096, Counted())
    assert graph.prepare(lambda: True) == ""
    assert not graph.decided
    answers = iter([False, True])
    assert graph.prepare(lambda: next(answers)) == ""
    assert not graph.in_use
    assert "through a CUDA graph" in graph.prepare(lambda: False)
    graph.drop()
    assert not graph.in_use
    assert "through a CUDA graph" in graph.prepare(lambda: False)
    graph.drop(for_good=True)
    assert graph.prepare(lambda: False) == ""


def test_one_that_says_something_else_is_left() -> None:
    from modeldeck.backend.engine.graph_decoding import GraphDecoder

    talk = Talk.with_model()
    graph = GraphDecoder(talk.replier._model, 4096, lambda step: lambda: step() * 2)
    assert "says something else" in graph.prepare(lambda: False)
    assert not graph.in_use


def test_where_it_does_not_help_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from modeldeck.backend.engine.graph_decoding import GraphDecoder

    monkeypatch.setattr("modeldeck.backend.engine.graph_decoding._WORTH", 1e9)
    talk = Talk.with_model()
    graph = GraphDecoder(talk.replier._model, 4096, Counted())
    assert "which does not help here" in graph.prepare(lambda: False)
    assert not graph.in_use


def test_only_models_whose_steps_are_alike_on_one_gpu_get_one() -> None:
    from modeldeck.backend.engine.fixed_step import takes_fixed_steps
    from modeldeck.backend.engine.graph_decoding import GraphDecoder

    assert takes_fixed_steps(Talk.with_model("qwen3").replier._model)
    assert not takes_fixed_steps(Talk.with_model("gemma2", sliding_window=24).replier._model)
    assert not takes_fixed_steps(Talk.with_model("mamba").replier._model)
    assert GraphDecoder.of(Talk.with_model().replier._model, 4096) is None  # it lies on the CPU
