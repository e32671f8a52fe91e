"""The keys: none that a terminal cannot send, all with an id and a tooltip, all in the help and the palette."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from textual.binding import Binding
from textual.command import CommandPalette
from textual.dom import DOMNode

from modeldeck import tui
from modeldeck.backend.models import ModelStatus
from modeldeck.config.settings import Settings
from modeldeck.tui.actions import all_actions
from modeldeck.tui.commands import DeckCommands
from modeldeck.tui.screens.confirm import Confirm
from modeldeck.tui.screens.help import HelpScreen
from modeldeck.tui.screens.main import MainScreen
from modeldeck.tui.widgets.pane_bar import PANES
from modeldeck.tui.widgets.prompt import Prompt
from tests.helpers import eventually, screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, opened, until_status

FORBIDDEN = {
    "ctrl+i": "is tab",
    "ctrl+m": "is enter",
    "ctrl+h": "is backspace",
    "ctrl+left_square_bracket": "is escape",
    "ctrl+b": "belongs to tmux",
    "ctrl+a": "belongs to screen",
    "ctrl+circumflex_accent": "belongs to mosh",
    "tilde": "belongs to ssh",
    "~": "belongs to ssh",
    "ctrl+tab": "does not come over plain ssh",
    "ctrl+backspace": "does not come over plain ssh",
}


def node_classes() -> list[type[DOMNode]]:
    """Every widget and screen that modeldeck declares."""
    found: dict[str, type[DOMNode]] = {}
    for info in pkgutil.walk_packages(tui.__path__, f"{tui.__name__}."):
        for _, cls in inspect.getmembers(importlib.import_module(info.name), inspect.isclass):
            if issubclass(cls, DOMNode) and cls.__module__.startswith("modeldeck."):
                found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return list(found.values())


DECLARED = [
    (cls.__name__, binding)
    for cls in node_classes()
    for declared in cls.__dict__.get("BINDINGS", ())
    for binding in Binding.make_bindings([declared])
]


def test_there_are_bindings_to_look_at() -> None:
    assert len(DECLARED) > 40


@pytest.mark.parametrize(("owner", "binding"), DECLARED, ids=lambda value: getattr(value, "key", value))
def test_a_binding_has_an_id_a_tooltip_and_a_key_that_every_terminal_sends(owner: str, binding: Binding) -> None:
    assert binding.id, f"{owner}: {binding.key} has no id"
    assert binding.tooltip, f"{owner}: {binding.key} has no tooltip"
    assert binding.key not in FORBIDDEN, f"{owner}: {binding.key} {FORBIDDEN.get(binding.key)}"


def test_one_id_is_one_action() -> None:
    actions: dict[str, set[str]] = {}
    for _, binding in DECLARED:
        assert binding.id is not None
        actions.setdefault(binding.id, set()).add(binding.action)
    assert not {key: found for key, found in actions.items() if len(found) > 1}


def test_a_function_key_has_a_twin_that_every_keyboard_has() -> None:
    of_action: dict[str, set[str]] = {}
    for _, binding in DECLARED:
        of_action.setdefault(binding.action.removeprefix("app."), set()).add(binding.key)
    for keys in of_action.values():
        assert not keys or not all(key.startswith("f") and key[1:].isdigit() for key in keys)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
async def test_the_footer_offers_at_most_eight_keys_and_follows_the_state(size: tuple[int, int]) -> None:
    app = deck()
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        for _ in PANES:
            shown = {b.binding.action for b in app.screen.active_bindings.values() if b.binding.show}
            assert len(shown) <= 8
            await pilot.press("tab")
        assert "u Unload" not in screen_text(app)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await wait_until(pilot, lambda: "u Unload" in screen_text(app) and "^p Palette" in screen_text(app))
        shown = {b.binding.action for b in app.screen.active_bindings.values() if b.binding.show}
        assert len(shown) <= 8


async def test_the_help_lists_every_key_with_what_it_does() -> None:
    app = deck()
    async with app.run_test(size=(120, 120)) as pilot:
        await opened(pilot)
        await pilot.press("question_mark")
        await wait_until(pilot, lambda: isinstance(app.screen, HelpScreen))
        actions = all_actions(app, app.main_screen, {})
        await wait_until(pilot, lambda: "Load the highlighted model" in screen_text(app))
        text = str(app.screen.query_one("#help-keys Static").render())
        for action in actions:
            assert action.tooltip in text
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        await pilot.press("f1")
        await wait_until(pilot, lambda: isinstance(app.screen, HelpScreen))


@pytest.mark.parametrize("key", ["ctrl+p", "colon"])
async def test_the_palette_opens(key: str) -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press(key)
        await wait_until(pilot, lambda: isinstance(app.screen, CommandPalette))


async def test_the_palette_has_every_action_and_runs_it() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        provider = DeckCommands(app.screen)
        titles = [str(hit.text) async for hit in provider.discover()]
        wanted = {action.title for action in all_actions(app, app.main_screen, {}) if action.is_command}
        assert {title.split(" (")[0] for title in titles} >= wanted
        assert {"Load", "Options", "Unload", "Config", "Add", "Filter", "Rescan", "Quit", "Stop", "Help"} <= wanted
        await pilot.press("tab", "ctrl+p")
        await wait_until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"Load the", "enter")
        await until_status(pilot, ModelStatus.LOADED)


async def test_the_users_keys_replace_ours_in_the_footer_the_help_and_the_deed() -> None:
    app = deck(settings=Settings(spare_engine=False, keys={"model.load": "ctrl+l", "model.options": "o"}))
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "^l Load" in screen_text(app))
        await pilot.press("ctrl+l")
        await until_status(pilot, ModelStatus.LOADED)


async def test_keys_that_name_no_action_or_clash_are_reported() -> None:
    app = deck(settings=Settings(spare_engine=False, keys={"engine.explode": "x", "model.unload": "c"}))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: any("engine.explode is no action" in line for line in app.services.log.lines))
        await wait_until(pilot, lambda: any("generation.edit" in line for line in app.services.log.lines))


async def test_a_key_of_any_pane_or_dialog_may_be_another() -> None:
    keys = {"prompt.send": "f5", "details.down": "n", "log.down": "n", "form.save": "f6", "dialog.close": "f7"}
    app = deck(settings=Settings(spare_engine=False, keys=keys, theme="no-such-theme"))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: any("no-such-theme" in line for line in app.services.log.lines))
        await pilot.pause()
        assert not any("is no action" in line for line in app.services.log.lines)


async def test_letters_in_the_prompt_are_text() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("tab")
        await wait_until(pilot, lambda: isinstance(app.focused, Prompt))
        await pilot.press(*"qulcae", "question_mark", "colon", "slash")
        assert app.screen is app.main_screen
        assert app.main_screen.query_one(Prompt).text == "qulcae?:/"


async def test_quitting_asks_only_when_a_reply_would_be_lost_and_leaves_no_process(tmp_path: object) -> None:
    app = deck(f"reply-gate {tmp_path}/gate\nserve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.focused, Prompt))
        await pilot.press(*"hello", "enter")
        await wait_until(pilot, lambda: app.services.manager.generating)
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        assert app.services.manager.generating
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.return_code == 0)
    assert app.services.manager.engine_pids == ()


async def test_ctrl_c_stops_the_reply_and_otherwise_says_how_to_leave(tmp_path: object) -> None:
    app = deck(f"reply-gate {tmp_path}/gate\nserve")
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: "Ctrl+q quits" in screen_text(app))
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.focused, Prompt))
        await pilot.press(*"hello", "enter")
        await wait_until(pilot, lambda: app.services.manager.generating)
        await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: not app.services.manager.generating)
        assert app.services.manager.status is ModelStatus.LOADED


async def test_an_escape_that_comes_just_after_the_reply_ended_stays_in_the_chat() -> None:
    """It was meant to stop the reply; in the list the words typed next would be commands."""
    app = deck("reply one two\nserve")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(app.focused, Prompt))
        await pilot.press(*"hello", "enter")
        await wait_until(pilot, lambda: app.services.manager.generating or "one two" in screen_text(app))
        await wait_until(pilot, lambda: not app.services.manager.generating and "stop" in screen_text(app))
        await pilot.press("escape")
        assert app.main_screen.pane == "chat"
        await wait_until(pilot, lambda: "esc Models" in screen_text(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.main_screen.pane == "models")


async def test_q_leaves_at_once_when_nothing_runs() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("q")
        await wait_until(pilot, lambda: app.return_code == 0)


async def test_leaving_while_the_other_panes_are_still_being_made_is_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = MainScreen.mount_other_panes

    async def late(screen: MainScreen) -> None:
        await screen.app.run_action("quit")
        panes = screen.query_one("#panes")
        await eventually(lambda: not panes.is_attached, 10, "the end of the panes")
        await mount(screen)

    monkeypatch.setattr(MainScreen, "mount_other_panes", late)
    app = deck()
    await app.run_async(headless=True, size=WIDE)
    assert (app.return_code, app.crashed) == (0, False)
