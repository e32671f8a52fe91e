"""A small chat model in a real engine: what the settings do, and how a reply ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modeldeck.backend.chat_messages import FinishReason
from modeldeck.backend.models import Attention, LoadRequest
from modeldeck.backend.protocol import GenerationFailed, Load, LoadFailed, LoadFinished, Stop, TokensGenerated
from tests.real.engine import Engine


@pytest.fixture(scope="module")
def engine(llama: Path, start_engine: Callable[..., Engine]) -> Engine:
    engine = start_engine()
    loaded = engine.load(llama)
    assert isinstance(loaded, LoadFinished), loaded
    model = loaded.model
    assert (model.device, model.dtype, model.quantization) == ("cpu", "float32", "none")
    assert model.context_length == 16_384
    assert model.has_chat_template
    assert model.weight_bytes == pytest.approx(model.parameters * 4, rel=0.01)
    return engine


def test_the_load_goes_through_its_stages_in_order(engine: Engine) -> None:
    stages = list(dict.fromkeys(engine.stages))
    assert stages == ["READING_CONFIG", "READING_TOKENIZER", "READING_WEIGHTS", "WARMING_UP"]


@pytest.mark.parametrize("attention", [Attention.SDPA, Attention.EAGER])
def test_the_attention_that_was_asked_for_computes_the_same_reply(
    engine: Engine, llama: Path, start_engine: Callable[..., Engine], attention: Attention
) -> None:
    other = start_engine()
    loaded = other.load(llama, attention=attention)
    assert isinstance(loaded, LoadFinished), loaded
    assert loaded.model.attention == attention.value
    said = other.reply("Hello", max_new_tokens=12, do_sample=False).text
    other.hang_up()
    assert said == engine.reply("Hello", max_new_tokens=12, do_sample=False).text


def test_an_attention_that_is_not_installed_is_one_sentence(llama: Path, start_engine: Callable[..., Engine]) -> None:
    other = start_engine()
    loaded = other.load(llama, attention=Attention.FLASH_2)
    other.hang_up()
    assert isinstance(loaded, LoadFailed), loaded
    assert "flash" in loaded.message.lower()
    assert "\n" not in loaded.message


def test_a_reply_streams_and_ends_at_its_limit(engine: Engine) -> None:
    reply = engine.reply("What is the capital of France?", max_new_tokens=40, seed=3)
    assert reply.stats is not None
    assert reply.stats.finish_reason is FinishReason.LENGTH
    assert reply.stats.new_tokens == 40
    assert reply.stats.prompt_tokens > 5
    assert 0 < reply.stats.first_token_seconds <= reply.stats.seconds
    assert reply.pieces[0].new_tokens < 40, "the first token must not wait for the rest"
    assert reply.pieces[-1].new_tokens == 40
    assert reply.text.strip()


def test_greedy_replies_are_the_same_and_temperature_0_is_greedy(engine: Engine) -> None:
    greedy = engine.reply("Hello", max_new_tokens=20, do_sample=False)
    assert engine.reply("Hello", max_new_tokens=20, do_sample=True, temperature=0.0).text == greedy.text
    assert engine.reply("Hello", max_new_tokens=20, do_sample=False).text == greedy.text


def test_the_same_seed_gives_the_same_reply_and_another_seed_another(engine: Engine) -> None:
    first, same, other = (
        engine.reply("Hello", max_new_tokens=30, do_sample=True, top_k=0, seed=seed).text for seed in (7, 7, 8)
    )
    assert first == same
    assert first != other


def test_without_a_seed_replies_differ(engine: Engine) -> None:
    replies = {engine.reply("Hello", max_new_tokens=30, do_sample=True, top_k=0).text for _ in range(2)}
    assert len(replies) == 2


def test_top_k_of_one_is_greedy_whatever_the_temperature(engine: Engine) -> None:
    greedy = engine.reply("Hello", max_new_tokens=20, do_sample=False).text
    assert engine.reply("Hello", max_new_tokens=20, do_sample=True, temperature=2.0, top_k=1).text == greedy


def test_a_stop_string_ends_the_reply_and_is_not_shown(engine: Engine) -> None:
    whole = engine.reply("Hello", max_new_tokens=60, do_sample=True, top_k=0, seed=11).text
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    reply = engine.reply("Hello", max_new_tokens=60, do_sample=True, top_k=0, seed=11, stop=(stop,))
    assert reply.text == whole[: whole.index(stop)]
    assert reply.stats is not None
    assert reply.stats.finish_reason is FinishReason.STOP
    assert reply.stats.new_tokens < 60


def test_a_system_prompt_is_part_of_the_prompt(engine: Engine) -> None:
    without = engine.reply("Hello", max_new_tokens=1).stats
    with_prompt = engine.reply("Hello", max_new_tokens=1, system_prompt="The quick brown fox").stats
    assert without is not None
    assert with_prompt is not None
    assert with_prompt.prompt_tokens > without.prompt_tokens


def test_f12_stop_ends_a_reply_in_the_middle(engine: Engine) -> None:
    request_id = engine.ask("Hello", max_new_tokens=10_000, do_sample=True, top_k=0, seed=5)
    engine.until(TokensGenerated)
    engine.send(Stop(request_id))
    stats = engine.answer(request_id).stats
    assert stats is not None
    assert stats.finish_reason is FinishReason.CANCELLED
    assert 0 < stats.new_tokens < 10_000


def test_f12_stop_ends_a_reply_that_is_still_in_prefill(engine: Engine) -> None:
    request_id = engine.ask("What is the capital of France? " * 600, max_new_tokens=50)
    engine.send(Stop(request_id))
    reply = engine.answer(request_id)
    assert reply.stats is not None
    assert reply.stats.finish_reason is FinishReason.CANCELLED
    assert reply.stats.prompt_tokens > 3000
    assert reply.stats.new_tokens == 0


def test_a_stop_for_a_request_that_is_over_or_unknown_is_ignored(engine: Engine) -> None:
    request_id = engine.ask("Hello", max_new_tokens=2)
    engine.answer(request_id)
    engine.send(Stop(request_id))
    engine.send(Stop(9_999))
    stats = engine.reply("Hello", max_new_tokens=3).stats
    assert stats is not None
    assert stats.new_tokens == 3


def test_a_prompt_over_the_context_fails_with_figures_and_the_model_stays(engine: Engine) -> None:
    reply = engine.reply("What is the capital of France? " * 5000, max_new_tokens=5)
    assert "16,384" in reply.failure
    stats = engine.reply("Hello", max_new_tokens=3).stats
    assert stats is not None
    assert stats.new_tokens == 3


def test_an_engine_loads_one_model_in_its_life(engine: Engine, llama: Path) -> None:
    request_id = engine.next_id()
    engine.send(Load(request_id, LoadRequest(model_id="again", path=str(llama))))
    assert "one model" in engine.until(LoadFailed).message
    assert not engine.reply("Hello", max_new_tokens=2).failure


def test_nothing_that_a_reply_does_warns_on_stderr(engine: Engine) -> None:
    engine.reply("Hello", max_new_tokens=2, do_sample=False, temperature=0.7, top_p=0.9, top_k=50)
    assert "warn" not in engine.stderr.read_text().lower()


def test_the_end_of_stdin_ends_the_engine_in_the_middle_of_a_reply(llama: Path, engine: Engine) -> None:
    """The last test of this module: it takes the engine away."""
    engine.ask("Hello", max_new_tokens=10_000, do_sample=True, top_k=0)
    engine.until(TokensGenerated, GenerationFailed)
    assert engine.hang_up() < 2
    assert engine.process.returncode == 0
