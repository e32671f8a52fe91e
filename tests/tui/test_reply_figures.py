"""The figures of replies, the gauge, and what can be done when the context or the memory is full."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App
from textual.widgets import OptionList, Select

from modeldeck.backend.chat_messages import ChatMessage, FinishReason, ReplyMode
from modeldeck.backend.errors import GenerationError
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.protocol import PrefillProgress
from modeldeck.tui.chats.figures import context_words
from modeldeck.tui.screens.choice_dialog import ChoiceDialog
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.prompt import Prompt
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, deck, opened, until_status
from tests.tui.test_chat_panel import ask, chatting, say
from tests.tui.test_conversations import key

FULL = "The conversation is 9,000 tokens long and this model's context is 8,192; shorten it, or begin a new chat."
OUT_OF_MEMORY = "The device ran out of memory for this reply: 1.2 GB were asked for."


def options(app: App[Any]) -> list[str | None]:
    return [option.id for option in app.screen.query_one(OptionList).options]


class TestFigures:
    async def test_peak_memory_finish_reason_and_the_gauge(self) -> None:
        async with chatting("Hi ", "there.") as (app, pilot):
            app.replier.figures = {"peaks": {"ram": 750_000_000, "cuda:0": 18_400_000_000}, "prompt_tokens": 4_000}
            await ask(app, pilot, "one")
            assert "2 tokens · 61.2 tok/s · first token 0.18 s · peak 18.4 GB · stop" in screen_text(app)
            assert "4,002/8,192 ctx" in screen_text(app)

    @pytest.mark.parametrize(
        ("used", "maximum", "words"),
        [
            (0, 8192, ""),
            (512, None, "512 ctx"),
            (4096, 8192, "▇▇▇▇▁▁▁▁ 4,096/8,192 ctx"),
            (9000, 8192, "9,000/8,192 ctx"),
        ],
    )
    def test_the_gauge_in_words(self, used: int, maximum: int | None, words: str) -> None:
        assert context_words(used, maximum).endswith(words)

    async def test_the_reading_of_a_long_prompt_is_seen(self) -> None:
        async with chatting() as (app, pilot):
            app.replier.before = (PrefillProgress(1, 3_072, 8_000),)
            app.replier.pieces = ()
            app.replier.gate.clear()
            await say(pilot, "go")
            await wait_until(
                pilot, lambda: "reading the prompt ▇▇▇▁▁▁▁▁ 38% · 3,072 of 8,000 tokens" in screen_text(app)
            )
            app.replier.gate.set()
            await wait_until(pilot, lambda: not app.panel.replying)


class TestContextFull:
    async def test_the_oldest_turns_are_left_out_when_the_user_says_so(self) -> None:
        async with chatting("word " * 3_000) as (app, pilot):
            for question in ("one", "two"):
                await ask(app, pilot, question)
            app.replier.error, app.replier.pieces = GenerationError(FULL), ()
            await say(pilot, "three")
            await wait_until(pilot, lambda: "The context is full. ctrl+g" in screen_text(app))
            assert "failed: The conversation is 9,000 tokens long" in screen_text(app)
            assert app.panel.conversation.left_out == frozenset()
            app.replier.error, app.replier.pieces = None, ("Better.",)
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            await wait_until(pilot, lambda: "Leave out the oldest turn (3,001 tokens)" in screen_text(app))
            assert options(app) == ["oldest", "context", "new"]
            await pilot.press("enter")
            await wait_until(pilot, lambda: "Better." in screen_text(app))
            sent = [message.content[:5] for message in app.replier.asked[-1][0]]
            assert sent == ["two", "word ", "three"]
            assert "The context is full" not in screen_text(app)
            assert "1 turns left out" not in screen_text(app)
            assert "1 turn left out" in screen_text(app)
            assert len(app.panel.conversation.turns) == 3
            await key(app, pilot, "g")
            await wait_until(pilot, lambda: "left out: not sent" in screen_text(app))

    async def test_a_reply_that_filled_the_context_goes_on_without_the_oldest(self) -> None:
        async with chatting("word " * 3_000) as (app, pilot):
            await ask(app, pilot, "one")
            app.replier.pieces = ("Half of",)
            app.replier.figures = {"finish_reason": FinishReason.LENGTH, "context_full": True}
            await ask(app, pilot, "two")
            assert "length: the model's context is full" in screen_text(app)
            app.replier.pieces, app.replier.figures = (" it.",), {}
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            await pilot.press("enter")
            await wait_until(pilot, lambda: "Half of it." in screen_text(app))
            assert app.replier.asked[-1][0] == (ChatMessage("user", "two"), ChatMessage("assistant", "Half of"))
            assert app.replier.modes[-1][0] is ReplyMode.CONTINUE

    async def test_a_question_that_is_too_long_by_itself_goes_back_into_the_prompt(self) -> None:
        async with chatting() as (app, pilot):
            app.replier.error, app.replier.pieces = GenerationError(FULL), ()
            await say(pilot, "three")
            await wait_until(pilot, lambda: "This question alone is longer than the context" in screen_text(app))
            app.replier.error, app.replier.pieces = None, ("Better.",)
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            assert options(app) == ["edit", "context"]
            await pilot.press("enter")
            await wait_until(pilot, lambda: app.panel.query_one(Prompt).text == "three")
            await pilot.press("backspace", "backspace", "enter")
            await wait_until(pilot, lambda: "Better." in screen_text(app))
            assert [message.content for message in app.replier.asked[-1][0]] == ["thr"]
            assert "longer than the context" not in screen_text(app)

    async def test_a_model_that_has_all_its_context_says_so(self) -> None:
        app = deck(f"ready\nwait load\nfinished\nwait generate\nreply-failed {FULL}\nserve")
        async with app.run_test(size=NARROW, notifications=True) as pilot:
            await opened(pilot)
            await pilot.press("enter")
            await until_status(pilot, ModelStatus.LOADED)
            await pilot.press("tab", *"hi", "enter")
            await wait_until(pilot, lambda: "This question alone is longer" in screen_text(app))
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            app.screen.query_one(OptionList).highlighted = options(app).index("context")
            await pilot.press("enter")
            await wait_until(pilot, lambda: "was made for no more" in screen_text(app))
            assert app.screen is app.main_screen

    async def test_ctrl_g_without_trouble_says_so(self) -> None:
        async with chatting() as (app, _pilot):
            app.panel.action_chat("choices")
            await wait_until(_pilot, lambda: "Neither the context nor the memory" in screen_text(app))


class TestOutOfMemory:
    async def test_f9_the_reply_is_kept_and_a_smaller_cache_goes_on_with_it(self) -> None:
        async with chatting("Half of") as (app, pilot):
            app.replier.error = GenerationError(OUT_OF_MEMORY)
            await say(pilot, "go")
            await wait_until(pilot, lambda: "Out of memory; the reply so far is kept" in screen_text(app))
            assert "Half of" in screen_text(app)
            assert "failed: The device ran out of memory" in screen_text(app)
            app.replier.error, app.replier.pieces = None, (" it.",)
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            assert options(app) == ["quantized", "offloaded", "4bit", "context", "new"]
            await pilot.press("enter")
            await wait_until(pilot, lambda: "Half of it." in screen_text(app))
            assert app.replier.asked[-1][1].cache_implementation == "quantized"
            assert "cache quantized" in screen_text(app)

    async def test_f9_the_engine_is_usable_again_and_four_bits_are_offered(self) -> None:
        script = f"ready\nwait load\nfinished\nwait generate\ntokens Half\nreply-failed {OUT_OF_MEMORY}\nserve"
        app = deck(script)
        async with app.run_test(size=NARROW) as pilot:
            await opened(pilot)
            await pilot.press("enter")
            await until_status(pilot, ModelStatus.LOADED)
            await pilot.press("tab", *"hi", "enter")
            await wait_until(pilot, lambda: "Out of memory; the reply so far is kept" in screen_text(app))
            assert app.services.manager.status is ModelStatus.LOADED
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
            app.screen.query_one(OptionList).highlighted = options(app).index("4bit")
            await pilot.press("enter")
            await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
            assert app.screen.query_one("#quantization", Select).value == "4bit"
            await pilot.press("escape")
            await wait_until(pilot, lambda: app.screen is app.main_screen)
            await pilot.press(*"more", "enter")
            await wait_until(pilot, lambda: "turns 3" in screen_text(app))
