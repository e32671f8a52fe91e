"""Stories of looking for a model: moving, filtering, hostile names, nothing there."""

from __future__ import annotations

from threading import Event

from textual.app import App
from textual.pilot import Pilot

from modeldeck.backend.models import ModelStatus
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.filter_field import ModelFilter
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, FakeCatalog, deck, deck_of, model, opened, until_status

MANY = [model(f"model-{number:03}") for number in range(100)]


def highlighted(pilot: Pilot[int]) -> str | None:
    found = deck_of(pilot).main_screen.browser.highlighted
    return found.name if found is not None else None


async def test_every_way_of_moving() -> None:
    app = deck(catalog=FakeCatalog(MANY))
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot, rows=100)
        for keys, expected in (
            (["j", "down", "j"], 3),
            (["k", "up"], 1),
            (["G"], 99),
            (["j"], 99),
            (["g"], 0),
            (["k"], 0),
            (["end"], 99),
            (["home"], 0),
            (["ctrl+d", "ctrl+d"], 20),
            (["ctrl+u"], 10),
            (["pagedown"], 30),
            (["pageup"], 10),
        ):
            await pilot.press(*keys)
            assert highlighted(pilot) == f"model-{expected:03}", keys
            assert f"model-{expected:03}" in screen_text(pilot.app)


async def test_a_click_highlights_and_a_double_click_loads() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.click("#models", offset=(8, 3))
        await wait_until(pilot, lambda: highlighted(pilot) == MODELS[2].name)
        await pilot.click("#models", offset=(8, 1), times=2)
        await wait_until(pilot, lambda: app.services.manager.request is not None)
        assert app.services.manager.request is not None
        assert app.services.manager.request.model_id == MODELS[0].id


async def test_rows_arrive_while_the_user_moves_and_the_selection_stays() -> None:
    more = Event()
    count = 0

    def gate() -> None:
        nonlocal count
        count += 1
        if count == 3:
            assert more.wait(30)

    app = deck(catalog=FakeCatalog(MANY, gate))
    try:
        async with app.run_test(size=NARROW) as pilot:
            browser = app.main_screen.browser
            await wait_until(pilot, lambda: app.main_screen.status is not None)
            browser.action_rescan()  # the first search waits at the gate; so does this one's third model
            await wait_until(pilot, lambda: browser.model_list.row_count >= 1)
            await pilot.press("j")
            before = highlighted(pilot)
            more.set()
            await opened(pilot, rows=100)
            assert highlighted(pilot) == before
    finally:
        more.set()


async def test_a_rescan_drops_what_is_gone_and_keeps_the_highlighted_model() -> None:
    catalog = FakeCatalog(MANY[:10])
    app = deck(catalog=catalog)
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot, rows=10)
        await pilot.press(*["j"] * 5)
        catalog.models = [MANY[20], *MANY[4:8]]
        await pilot.press("r")
        await wait_until(pilot, lambda: app.main_screen.browser.model_list.row_count == 5)
        assert highlighted(pilot) == "model-005"


async def test_the_filter_takes_words_in_any_order_and_enter_goes_to_the_list_without_loading() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        rows = app.main_screen.browser.model_list
        await pilot.press("slash", "q", "4", "space", *"LLAMA")
        await wait_until(pilot, lambda: rows.row_count == 1)
        await wait_until(pilot, lambda: "Models 1 of 4" in screen_text(pilot.app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.focused is rows)
        assert highlighted(pilot) == "SmolLM2-135M"
        assert app.services.manager.request is None
        await pilot.press("escape")  # from the list: all models again
        await wait_until(pilot, lambda: rows.row_count == 4)
        assert highlighted(pilot) == "SmolLM2-135M"


async def test_escape_in_the_filter_clears_it_and_a_second_one_leaves() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("slash", "z", "z")
        await wait_until(pilot, lambda: "None of the 4 models has all of these words" in screen_text(pilot.app))
        field = app.main_screen.query_one(ModelFilter)
        await pilot.press("escape")
        await wait_until(pilot, lambda: not field.value and app.main_screen.browser.model_list.row_count == 4)
        assert app.focused is field
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.focused is app.main_screen.browser.model_list)
        assert not field.display


async def test_a_comparison_that_is_none_is_told_with_what_could_be_written() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("slash", ">", "7", "q")
        await wait_until(pilot, lambda: ">7q is no comparison; write >7b, <9gb or ctx>32k." in screen_text(pilot.app))


async def test_letters_in_the_filter_are_text_and_no_keys() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("slash", *"qulca", "question_mark", "colon")
        assert app.main_screen.query_one(ModelFilter).value == "qulca?:"
        assert app.services.manager.status is ModelStatus.NOT_LOADED
        assert app.screen is app.main_screen


HOSTILE = (
    "a[/]b",
    "[@click=app.quit]press me[/]",
    "[bold red",
    "esc\x1b]52;c;QUJD\x07\x1b[2J",
    "c1 \x9b31m \x9d52;c;QUJD\x9c",
    "rtl \u202eleft\u2066",
    "line\nbreak\ttab\r",
    "zero\u200bwidth",
    "\ud800surrogate",
    "宽字符模型名字" * 30,
)


def terminal_text(app: App[int]) -> str:
    """Every character that would go to the terminal."""
    return "".join(
        segment.text for strip in app.screen._compositor.render_strips() for segment in strip if not segment.control
    )


def assert_harmless(app: App[int]) -> None:
    characters = set(terminal_text(app))
    assert not {char for char in characters if ord(char) < 32 or 0x7F <= ord(char) < 0xA0}
    assert not characters & set("\u202e\u2066")


async def test_hostile_names_are_drawn_as_text_in_every_pane_and_dialog() -> None:
    found = [model(name, id=f"hostile-{n}", problems=(name,) if n % 2 else ()) for n, name in enumerate(HOSTILE)]
    app = deck(catalog=FakeCatalog(found))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, rows=len(HOSTILE))
        await pilot.press("tab", "tab")
        await wait_until(pilot, lambda: app.main_screen.pane == "details")
        for found_model in found:
            assert app.main_screen.browser.model_list.select(found_model.id)
            app.main_screen.action_load_options()  # a dialog, or the reason why there is none
            await pilot.pause()
            assert isinstance(app.screen, LoadDialog) is found_model.loadable
            assert app.screen is not app.main_screen
            assert_harmless(app)
            await pilot.press("escape")
            app.main_screen.pane = "details"
            await pilot.pause()
            assert_harmless(app)


async def test_a_hostile_error_is_drawn_as_text() -> None:
    app = deck("ready\nwait load\nfailed load [@click=app.quit]a[/]b \x1b]52;c;QUJD", catalog=FakeCatalog())
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.FAILED)
        await wait_until(pilot, lambda: "[@click=app.quit]a[/]b" in screen_text(pilot.app))
        assert_harmless(app)
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        await pilot.pause()
        assert_harmless(app)


async def test_the_last_guard_lets_no_control_character_pass() -> None:
    from rich.segment import Segment
    from textual.color import Color

    from modeldeck.tui.control_guard import ControlGuard

    line = [Segment("plain"), Segment("\x1b]52;c;QUJD\x07\x9b\u202e\n")]
    text = "".join(segment.text for segment in ControlGuard().apply(line, Color(0, 0, 0)))
    assert text.startswith("plain")
    assert not {char for char in text if ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char == "\u202e"}
    clean = [Segment("plain")]
    assert ControlGuard().apply(clean, Color(0, 0, 0)) is clean


async def test_without_models_the_screen_says_where_it_looked_and_what_to_do() -> None:
    app = deck(catalog=FakeCatalog([]))
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot, rows=0)
        await wait_until(pilot, lambda: "No models found. Looked in ~/models (not there)" in screen_text(pilot.app))
        assert "press a and type a path or a Hub id" in " ".join(screen_text(pilot.app).split())
        await pilot.press("enter", "l", "j", "u", "e", "G")
        assert app.screen is app.main_screen


async def test_the_details_follow_the_highlight_that_the_filter_moves() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        app.main_screen.go("details")
        await wait_until(pilot, lambda: "/scripted/Qwen3-8B" in screen_text(app))
        await pilot.press("escape", "slash", *"smol")
        await wait_until(pilot, lambda: "/scripted/SmolLM2-135M" in screen_text(app))
