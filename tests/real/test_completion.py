"""A model without a chat template and with a short context."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modeldeck.backend.chat_messages import FinishReason
from modeldeck.backend.protocol import LoadFinished
from tests.real.engine import Engine


@pytest.fixture(scope="module")
def engine(gpt2: Path, start_engine: Callable[..., Engine]) -> Engine:
    engine = start_engine(ready=False)  # a load may be asked for before the imports are over
    loaded = engine.load(gpt2)
    assert isinstance(loaded, LoadFinished), loaded
    assert not loaded.model.has_chat_template
    assert loaded.model.context_length == 64
    return engine


def test_the_last_turn_is_completed_as_plain_text(engine: Engine) -> None:
    reply = engine.reply("The quick brown fox", max_new_tokens=5, do_sample=False, system_prompt="Be brief")
    assert reply.stats is not None
    assert reply.stats.new_tokens == 5
    assert reply.stats.prompt_tokens < 10, "neither a template nor the system prompt may be in it"
    assert any("system prompt is not used" in line for line in engine.logs)


def test_a_reply_is_cut_where_the_context_ends_and_the_log_says_so(engine: Engine) -> None:
    reply = engine.reply("The quick brown fox", max_new_tokens=500, do_sample=False)
    assert reply.stats is not None
    assert reply.stats.finish_reason is FinishReason.LENGTH
    assert reply.stats.prompt_tokens + reply.stats.new_tokens == 64
    assert reply.stats.context_full
    assert any("limited to" in line for line in engine.logs)


def test_a_prompt_that_fills_the_context_fails_with_both_figures(engine: Engine) -> None:
    failure = engine.reply("The quick brown fox. " * 40, max_new_tokens=5).failure
    assert "64" in failure
    assert "context" in failure


def test_a_line_that_is_no_request_ends_the_engine_with_a_status(engine: Engine) -> None:
    """The last test of this module: it takes the engine away."""
    assert engine.process.stdin
    engine.process.stdin.write(b'{"type": "nonsense"}\n')
    engine.process.stdin.flush()
    assert engine.process.wait(30) == 65
    assert "cannot read" in engine.stderr.read_text()
