"""Comparing: one question to two models, or with two settings, side by side."""

from __future__ import annotations

from textual.widgets import Input, Select

from modeldeck.backend.models import ModelStatus
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.screens.compare_screen import CompareScreen
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, opened, until_status

REPLY = "reply {model} says {prompt} at {temperature} after {turns}\nserve"


async def _asked(app: ModeldeckApp, pilot: object, question: str) -> None:
    from textual.pilot import Pilot

    assert isinstance(pilot, Pilot)
    await pilot.press("enter")
    await until_status(pilot, ModelStatus.LOADED)
    app.main_screen.go("chat")
    await pilot.press(*question, "enter")
    await wait_until(pilot, lambda: "first token" in screen_text(app))


async def test_two_models_reply_to_the_question_of_the_turn() -> None:
    app = deck(REPLY)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await _asked(app, pilot, "hello")
        app.main_screen.go("models")
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: len(app.services.manager.residents) == 2)
        await wait_until(pilot, lambda: app.main_screen.loaded is not None and "Llama" in app.main_screen.model_name)
        app.main_screen.go("chat")
        await pilot.press("ctrl+r", "equals_sign")
        await wait_until(pilot, lambda: isinstance(app.screen, CompareScreen))
        assert app.screen.query_one("#question", Input).value == "hello"
        await pilot.press("enter")
        await wait_until(pilot, lambda: "asks both again" in screen_text(app))
        text = screen_text(app)
        assert "Llama-3.3-70B says hello at 0.7 after 1" in text
        assert "Qwen3-8B says hello at 0.7 after 1" in text
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        assert len(app.main_screen.query_one("ChatPanel").conversation.turns) == 1  # type: ignore[attr-defined]  # a ChatPanel


async def test_one_model_with_two_settings_in_a_narrow_window() -> None:
    app = deck(REPLY)
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await _asked(app, pilot, "hello")
        await pilot.press("ctrl+r", "equals_sign")
        await wait_until(pilot, lambda: isinstance(app.screen, CompareScreen))
        app.screen.query_one("#right-who", Select).value = 0
        app.screen.query_one("#left-settings", Input).value = "temperature 3"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "temperature must be 0 to 2" in screen_text(app))
        app.screen.query_one("#left-settings", Input).value = "temperatur 1"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "did you mean temperature" in screen_text(app))
        app.screen.query_one("#left-settings", Input).value = "temperature=0.1, seed 7"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "asks both again" in screen_text(app))
        flat = " ".join(screen_text(app).split())
        assert "0.1" in flat
        assert "0.7" in flat


async def test_without_a_model_it_says_so() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("tab", "ctrl+r", "equals_sign")
        await wait_until(pilot, lambda: "No model is loaded" in screen_text(app))


async def test_closing_stops_what_runs(tmp_path: object) -> None:
    app = deck(f"reply-gate {tmp_path}/gate\nreply a b c d\nserve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", "ctrl+r", "equals_sign")
        await wait_until(pilot, lambda: isinstance(app.screen, CompareScreen))
        app.screen.query_one("#question", Input).value = "go"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: app.services.manager.generating)
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen and not app.services.manager.generating)


async def test_closing_between_the_two_replies_does_no_harm() -> None:
    app = deck("pace 0.02\nreply a b c d\nserve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", "ctrl+r")
        for wait in (0.0, 0.05, 0.15, 0.25):
            await pilot.press("equals_sign")
            await wait_until(pilot, lambda: isinstance(app.screen, CompareScreen))
            app.screen.query_one("#question", Input).value = "go"
            await pilot.press("ctrl+s")
            await pilot.pause(wait)
            await pilot.press("escape")
            await wait_until(pilot, lambda: app.screen is app.main_screen and not app.services.manager.generating)
        assert app.services.manager.status is ModelStatus.LOADED
