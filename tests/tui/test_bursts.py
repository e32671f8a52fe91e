"""Keys that arrive together, as a slow link delivers them: each goes where a patient typist's would."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from modeldeck.tui.widgets.model_browser import ModelFilter
from modeldeck.tui.widgets.prompt import Prompt
from tests.helpers import screen_text, wait_until
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
