"""Keys that arrive together, as a slow link delivers them: each goes where a patient typist's would."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.filter_field import ModelFilter
from modeldeck.tui.widgets.prompt import Prompt
from tests.helpers import eventually, screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, opened


def burst(pilot: Pilot[Any], *keys: str) -> None:
    """All keys at once; nothing is handled in between."""
    for key in keys:
        pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_what_follows_tab_goes_into_the_prompt(size: tuple[int, int]) -> None:
    app = deck()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        burst(pilot, "tab", *"quit, please")
        await wait_until(pilot, lambda: app.screen.query_one(Prompt).text == "quit, please")


async def test_what_follows_the_slash_goes_into_the_filter() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        burst(pilot, "slash", *"llama/u")
        await wait_until(pilot, lambda: app.screen.query_one(ModelFilter).value == "llama/u")
        assert app.services.manager.request is None


async def test_there_and_back_in_one_burst() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        burst(pilot, "tab", "x", "shift+tab", "slash", "q")
        await wait_until(pilot, lambda: app.screen.query_one(ModelFilter).value == "q")
        assert app.screen.query_one(Prompt).text == "x"
        assert "Qwen3-8B" in screen_text(app)


async def test_control_keys_and_characters_keep_their_order_in_the_prompt() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        burst(pilot, "tab", *"draft", "ctrl+a", "ctrl+k", *"line one", "ctrl+j", *"line two", "home", "X")
        await wait_until(pilot, lambda: app.screen.query_one(Prompt).text == "line one\nXline two")


async def test_a_dialog_and_a_filter_and_what_comes_behind_them_in_one_burst() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        burst(pilot, "question_mark", "escape", "j", "slash", *"llama", "enter", "l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog) and "Load Llama" in screen_text(app))
        assert app.main_screen.query_one(ModelFilter).value == "llama"


async def test_a_widget_that_is_busy_for_long_holds_up_no_key() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("tab")
        free = asyncio.Event()
        app.screen.query_one(Prompt).call_later(free.wait)
        burst(pilot, "x", "tab")
        await eventually(lambda: app.main_screen.pane == "details")  # a pilot would wait for the prompt too
        free.set()
