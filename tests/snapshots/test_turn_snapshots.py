"""How conversations look: versions and reasoning, the list, the choices, the tokens, the comparison."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Select

from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.errors import GenerationError
from modeldeck.backend.protocol import TokensGenerated
from modeldeck.config.generation import BUILT_IN
from modeldeck.config.paths import Paths
from modeldeck.tui.chats.store import ChatStore
from modeldeck.tui.screens import chats_dialog
from modeldeck.tui.screens.choice_dialog import ChoiceDialog
from modeldeck.tui.screens.compare_screen import CompareScreen, Contender
from modeldeck.tui.screens.look_screen import LookScreen
from modeldeck.tui.widgets.prompt import Prompt
from tests.fakes.in_process import LOADED, FakeReplier
from tests.helpers import screen_text, wait_until
from tests.tui.test_chat_panel import ChatApp, ask, say
from tests.tui.test_conversations import key
from tests.tui.test_looking import TOKENS

SnapCompare = Callable[..., bool]
SIZE = (80, 24)


def _chat(*pieces: str, chats: ChatStore | None = None) -> ChatApp:
    app = ChatApp(FakeReplier(*pieces), chats)
    app.model = structs.replace(LOADED, can_think=True)
    return app


def _run(steps: Callable[[ChatApp, Pilot[object]], Awaitable[None]]) -> Callable[[Pilot[object]], Awaitable[None]]:
    async def run(pilot: Pilot[object]) -> None:
        assert isinstance(pilot.app, ChatApp)
        pilot.app.query_one(Prompt).cursor_blink = False
        await steps(pilot.app, pilot)

    return run


def test_versions_reasoning_and_the_gauge(snap_compare: SnapCompare) -> None:
    async def steps(app: ChatApp, pilot: Pilot[object]) -> None:
        app.replier.before = (TokensGenerated(1, "Two and two are four, since", 5, reasoning=True),)
        app.replier.figures = {"prompt_tokens": 3_000, "peaks": {"cuda:0": 18_400_000_000}}
        await ask(app, pilot, "What is 2 + 2?")
        await key(app, pilot, "R")
        await wait_until(pilot, lambda: "2/2" in screen_text(app) and not app.panel.replying)
        await key(app, pilot, "f")
        await ask(app, pilot, "And one more?")
        await key(app, pilot, "T", "K")
        await wait_until(pilot, lambda: "reasoning off" in screen_text(app))

    assert snap_compare(_chat("It is **4**."), terminal_size=SIZE, run_before=_run(steps))


def test_the_list_of_conversations(snap_compare: SnapCompare, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats_dialog, "moment", lambda _seconds: "2026-05-04 12:30")
    store = ChatStore(paths.chats)

    async def steps(app: ChatApp, pilot: Pilot[object]) -> None:
        await ask(app, pilot, "What is a tree?")
        await key(app, pilot, "n")
        await wait_until(pilot, lambda: "Nothing said yet" in screen_text(app))
        await ask(app, pilot, "And [b]a sea[/b]?")
        (store.folder / "notes.jsonl").write_bytes(b"mine\n")
        await key(app, pilot, "o")
        await wait_until(
            pilot, lambda: app.screen.query(OptionList) and app.screen.query_one(OptionList).option_count == 3
        )
        app.screen.query_one(Input).cursor_blink = False

    assert snap_compare(_chat("Leaves.", chats=store), terminal_size=SIZE, run_before=_run(steps))


def test_the_choices_when_memory_ran_out(snap_compare: SnapCompare) -> None:
    async def steps(app: ChatApp, pilot: Pilot[object]) -> None:
        await ask(app, pilot, "one")
        app.replier.error = GenerationError("The device ran out of memory for this reply: 1.2 GB were asked for.")
        await say(pilot, "two")
        await wait_until(pilot, lambda: "Out of memory" in screen_text(app))
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: isinstance(app.screen, ChoiceDialog) and "Leave out" in screen_text(app))

    assert snap_compare(_chat("Half of"), terminal_size=SIZE, run_before=_run(steps))


def test_the_tokens_of_a_reply(snap_compare: SnapCompare) -> None:
    async def steps(app: ChatApp, pilot: Pilot[object]) -> None:
        app.push_screen(LookScreen(TOKENS, "SmolLM2-135M"))
        await wait_until(pilot, lambda: "token 1 of" in screen_text(app))
        await pilot.press("l")
        await wait_until(pilot, lambda: "token 2 of" in screen_text(app))

    assert snap_compare(_chat(), terminal_size=SIZE, run_before=_run(steps))


def test_two_replies_side_by_side(snap_compare: SnapCompare) -> None:
    async def steps(app: ChatApp, pilot: Pilot[object]) -> None:
        contenders = [Contender("Qwen3-8B", "q", BUILT_IN), Contender("Llama-3-8B · precise", "l", BUILT_IN)]
        app.push_screen(CompareScreen(app.replier, contenders, (), ChatMessage("user", "What is 2 + 2?")))
        await wait_until(pilot, lambda: app.screen.query(Select))
        for field in app.screen.query(Input):
            field.cursor_blink = False
        await pilot.press("enter")
        await wait_until(pilot, lambda: "Enter asks both again" in screen_text(app))

    assert snap_compare(_chat("It is **4**."), terminal_size=SIZE, run_before=_run(steps))
