"""What a new user stumbled over, each once."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from modeldeck.backend.models import ModelStatus
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.prompt import Prompt
from tests.fakes.driving import held
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, FakeCatalog, deck, deck_of, model, opened, until_status
from tests.tui.test_residents import load_next

QWEN, LLAMA = MODELS[0].id, MODELS[1].id


async def say(pilot: Pilot[int], word: str) -> None:
    """Ask it, and wait for the whole reply."""
    app = deck_of(pilot)
    await pilot.press(*word, "enter")
    await wait_until(pilot, lambda: f"You said {word}" in screen_text(app) and not app.services.manager.generating)


async def test_after_n_among_the_turns_letters_go_into_the_prompt() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("enter", *"hi", "enter")
        await wait_until(pilot, lambda: "You said hi" in screen_text(app) and not app.services.manager.generating)
        await pilot.press("ctrl+r", "n")
        await wait_until(pilot, lambda: "You said" not in screen_text(app) and isinstance(app.focused, Prompt))
        await pilot.press(*"cup")
        assert app.main_screen.query_one(Prompt).text == "cup"
        assert held(app.services.manager) == [QWEN]


async def test_u_p_and_z_leave_a_model_alone_that_is_not_the_highlighted_one() -> None:
    app = deck()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("j")
        said = "Llama-3.3-70B is not loaded; highlight one that is."
        await pilot.press(*"upz")
        await wait_until(pilot, lambda: app.services.log.newest(0).count(said) == 3)
        resident = app.services.manager.residents.find(QWEN)
        assert resident is not None
        assert (resident.pinned, resident.status) == (False, ModelStatus.LOADED)


async def test_escape_in_the_list_ends_the_load_that_the_line_names_and_no_reply(tmp_path: Path) -> None:
    gates = tmp_path / "load", tmp_path / "reply"
    app = deck(f"reply-gate {gates[1]}\nserve", f"load-gate {gates[0]}\nserve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("enter", *"hi", "enter")
        await wait_until(pilot, lambda: app.services.manager.generating)
        await pilot.press("tab", "tab", "tab", "tab", "j")
        await wait_until(pilot, lambda: app.main_screen.pane == "models")
        app.main_screen.loads.start(MODELS[1], app.main_screen.loads.request_for(MODELS[1]))
        await until_status(pilot, ModelStatus.LOADING)
        await pilot.press("escape")
        await wait_until(pilot, lambda: not app.services.manager.load_running)
        assert app.services.manager.generating
        gates[1].touch()
        await wait_until(pilot, lambda: not app.services.manager.generating)


async def test_what_b_hides_comes_back() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await load_next(pilot)
        await pilot.press("enter")
        for word in ("one", "two"):
            await say(pilot, word)
        await pilot.press("ctrl+r", "K", "K", "B")
        await wait_until(pilot, lambda: "You said two" not in screen_text(app))
        await pilot.press("ctrl+r", "left_square_bracket")
        await wait_until(pilot, lambda: "You said two" in screen_text(app))


async def test_enter_on_a_model_with_code_of_its_own_asks_before_it_starts_anything(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}')
    (folder / "own.py").write_text("class Config: ...\n")
    own = model("own", id=str(folder), path=str(folder), architecture="own", needs_remote_code=True)
    app = deck(catalog=FakeCatalog([own]))
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await opened(pilot, 1)
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        assert app.services.manager.status is ModelStatus.NOT_LOADED
        assert app.services.manager.model_pids == ()
