"""The panes in wide, narrow and tiny windows, and the way through them."""

from __future__ import annotations

import pytest
from textual._compositor import LayoutUpdate

from modeldeck.tui.widgets.prompt import Prompt
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, FakeCatalog, deck, model, opened


async def test_a_wide_window_shows_models_and_chat_together() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "Qwen3-8B" in screen_text(app) and "Ask the model" in screen_text(app))
        assert app.focused is app.main_screen.browser.model_list


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
async def test_tab_goes_round_the_panes_and_back(size: tuple[int, int]) -> None:
    app = deck()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        screen = app.main_screen
        seen = []
        for key in (*["tab"] * 5, *["shift+tab"] * 5):
            await pilot.press(key)
            await pilot.pause()
            assert app.focused is not None
            assert app.focused.region.area > 0
            seen.append(screen.pane)
        assert seen == ["chat", "details", "log", "devices", "models", "devices", "log", "details", "chat", "models"]


async def test_quick_tabs_end_where_they_should() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("tab", "tab", "tab")
        await wait_until(pilot, lambda: "The engine has said nothing yet." in screen_text(app))
        assert app.main_screen.pane == "log"


async def test_a_narrow_window_shows_one_pane_and_the_details_follow_the_highlighted_model() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        assert "Ask the model" not in screen_text(app)
        await pilot.press("j", "tab", "tab")
        await wait_until(pilot, lambda: "Llama-3.3-70B" in screen_text(app) and "Params" not in screen_text(app))


async def test_a_key_pressed_before_the_other_panes_are_up_counts() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        app.main_screen.action_next_pane(1)
        await opened(pilot)
        await wait_until(pilot, lambda: isinstance(app.focused, Prompt))


async def test_a_dialog_opened_before_the_other_panes_are_up_does_not_keep_them_away() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        app.action_help()
        await opened(pilot)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Qwen3-8B" in screen_text(app))


async def test_the_mouse_moves_the_keys_too() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.click("Prompt")
        await wait_until(pilot, lambda: app.main_screen.pane == "chat")
        await pilot.click("#models", offset=(8, 2))
        await wait_until(pilot, lambda: app.main_screen.pane == "models")
        await pilot.click("PaneBar", offset=(72, 0))
        await wait_until(pilot, lambda: app.main_screen.pane == "details")


@pytest.mark.parametrize("size", [(59, 24), (80, 15), (20, 5), (1, 1)])
async def test_f18_a_tiny_window_asks_for_more_room(size: tuple[int, int]) -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        if size[0] > 50:
            await wait_until(pilot, lambda: "at least 60 by 16" in screen_text(app))
            assert "Qwen3-8B" not in screen_text(app)
        await pilot.resize_terminal(*NARROW)
        await wait_until(pilot, lambda: "Qwen3-8B" in screen_text(app))
        await wait_until(pilot, lambda: app.focused is app.main_screen.browser.model_list)  # the keys work again


async def test_f17_after_a_suspend_all_that_is_on_the_screen_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        drawn: list[object] = []
        monkeypatch.setattr(app, "_display", lambda _screen, update: drawn.append(update))
        app.app_resume_signal.publish(app)
        await wait_until(pilot, lambda: any(isinstance(update, LayoutUpdate) for update in drawn))
        whole = [update for update in drawn if isinstance(update, LayoutUpdate)]
        assert any(update.region.size == NARROW for update in whole)


async def test_f18_a_storm_of_sizes_does_no_harm() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        for size in [(400, 100), (60, 16), (61, 17), (99, 30), (100, 30), (20, 5), (160, 45)] * 2:
            await pilot.resize_terminal(*size)
        await wait_until(pilot, lambda: "Qwen3-8B" in screen_text(app) and "Ask the model" in screen_text(app))


@pytest.mark.parametrize("width", [80, 100, 120, 160])
async def test_a_name_of_usual_length_is_readable_beside_the_chat(width: int) -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    app = deck(catalog=FakeCatalog([model(name)]))
    async with app.run_test(size=(width, 24)) as pilot:
        await opened(pilot, rows=1)
        shown = name if width != 100 else "meta-llama/Llama-3.1-8B-I…"
        await wait_until(pilot, lambda: shown in screen_text(app))
        assert "8.2B" in screen_text(app)
