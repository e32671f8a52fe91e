"""Every screen that shows text from outside, with text that attacks, drawn as the driver would write it (S1, S2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.style import Style
from rich.text import Text
from textual import events, markup
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static, TextArea

from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.screens.add_dialog import AddDialog
from modeldeck.tui.screens.chats_dialog import ChatsDialog
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.screens.text_dialog import TextDialog
from modeldeck.tui.widgets.card_view import CardView
from modeldeck.tui.widgets.chat_panel import ChatPanel
from tests.faults.control_sequences import MARKUP, SEQUENCES, SURROGATES, is_quoted, spelled, strangers
from tests.faults.test_hostile_text import assert_only_shown
from tests.helpers import screen_text, wait_until
from tests.tui.conftest import RoomyMachine
from tests.tui.deck import WIDE, FakeCatalog, model, opened, services, until_status

CORPUS = " ".join(SEQUENCES.values())
CANARY = "zqx["
"""Stands in every hostile text; the bracket makes a parser of markup look closer."""
ANY = st.lists(
    st.one_of(st.text(max_size=20), st.sampled_from([*SEQUENCES.values(), *MARKUP])), min_size=3, max_size=8
).map(" ".join)
_numbers = count()


def assert_harmless(app: App[Any]) -> None:
    """The screen, whole, as the driver would write it."""
    compositor = app.screen._compositor
    update: Any = compositor.render_update(full=True, screen_stack=app._background_screens)
    written = update.render_segments(app.console)
    assert not strangers(written)
    assert not is_quoted(written)
    for strip in compositor.render_strips():
        assert_only_shown(strip)


@contextmanager
def no_markup_of_strangers() -> Iterator[None]:
    """Whoever parses the canary as markup is told on."""
    parsed: list[str] = []

    def noting(parse: Callable[..., Any]) -> Callable[..., Any]:
        def noted(source: str, *arguments: Any, **options: Any) -> Any:
            if CANARY in source:
                parsed.append(source)
            return parse(source, *arguments, **options)

        return noted

    with (
        patch.object(markup, "to_content", noting(markup.to_content)),
        patch.object(Text, "from_markup", noting(Text.from_markup)),
    ):
        yield
    assert not parsed


def hostile_model(folder: Path, text: str) -> ModelInfo:
    return model(
        text,
        id=f"/scripted/{text}",
        path=str(folder),
        architecture=text,
        architecture_class=text,
        dtype=text,
        quantization=text,
        quantization_details=text,
        licence=text,
        tags=(text, text),
        revision=text,
        refs=(text,),
        base_model=text,
        modality=text,
        shape=ModelShape(layers=2, hidden_size=8, layer_types={text: 2}),
    )


class Walk:
    """Goes through the program as a user would, and looks at every screen."""

    def __init__(self, app: ModeldeckApp, pilot: Pilot[int], text: str) -> None:
        self.app, self.pilot, self.text = app, pilot, text

    async def all(self) -> None:
        await opened(self.pilot, 2)
        self.look()
        await self.details()
        await self.loads()
        await self.talks()
        await self.dialogs()
        await self.fails()

    def look(self) -> None:
        assert_harmless(self.app)

    async def dialog(self, *keys: str, kind: str) -> Screen[Any]:
        """Open a dialog, look at it and go back."""
        await self.pilot.press(*keys)
        await wait_until(self.pilot, lambda: type(self.app.screen).__name__ == kind)
        await self.pilot.pause()
        self.look()
        return self.app.screen

    async def leave(self) -> None:
        await self.pilot.press("escape")
        await wait_until(self.pilot, lambda: self.app.screen is self.app.main_screen)

    async def details(self) -> None:
        self.app.main_screen.go("details")
        card = self.app.main_screen.query_one(CardView)
        await wait_until(self.pilot, lambda: len(card._rows) > 2)
        await self.pilot.pause()
        self.look()
        card.scroll_visible(animate=False, immediate=True, top=True)
        await self.pilot.pause()
        self.look()
        self.app.main_screen.go("models")

    async def loads(self) -> None:
        await self.dialog("l", kind="LoadDialog")
        await self.leave()
        await self.dialog("D", kind="DeleteDialog")
        await self.leave()
        await self.pilot.press("enter")
        await until_status(self.pilot, ModelStatus.LOADED)
        self.look()
        for pane in ("log", "devices"):
            self.app.main_screen.go(pane)
            await self.pilot.pause()
            self.look()

    async def talks(self) -> None:
        panel = self.app.main_screen.query_one(ChatPanel)
        for _ in range(2):
            await self.say(panel)
        self.app.main_screen.go("chat")
        await self.pilot.press("ctrl+r", "f")
        await self.pilot.pause()
        self.look()
        chats = await self.dialog("o", kind=ChatsDialog.__name__)
        await wait_until(self.pilot, lambda: chats.query_one("#chats").option_count > 0)  # type: ignore[attr-defined]  # an OptionList
        self.look()
        await self.leave()
        for key in ("r", "w", "P"):
            await self.dialog(key, kind=TextDialog.__name__)
            for field in (*self.app.screen.query(Input), *self.app.screen.query(TextArea)):
                field.focus()
                await self.paste(self.text)
            self.look()
            await self.leave()
        await self.dialog("equals_sign", kind="CompareScreen")
        await self.leave()

    async def paste(self, text: str) -> None:
        """Into the field that has the keys, as a terminal does it."""
        self.app.post_message(events.Paste(text))
        await self.pilot.pause()

    async def say(self, panel: ChatPanel) -> None:
        self.app.main_screen.go("chat")
        panel.focus_prompt()
        await self.paste(f"{self.text} ?")
        self.look()
        turns = len(panel.conversation.turns)
        await self.pilot.press("enter")
        await wait_until(self.pilot, lambda: len(panel.conversation.turns) > turns and not panel.replying)
        await self.pilot.pause(0.2)
        self.look()

    async def dialogs(self) -> None:
        self.app.main_screen.go("models")
        await self.dialog("t", kind="PresetDialog")
        await self.leave()
        await self.dialog("c", kind="GenerationEditor")
        await self.leave()
        await self.dialog("question_mark", kind="HelpScreen")
        await self.leave()
        await self.dialog("ctrl+p", kind="CommandPalette")
        await self.pilot.press(*"talk")
        await wait_until(self.pilot, lambda: "Talk to" in screen_text(self.app))
        self.look()
        await self.leave()
        await self.dialog("a", kind=AddDialog.__name__)
        await self.paste(f"/{self.text.replace(chr(0), '')}")
        await self.pilot.press("enter")
        await wait_until(self.pilot, lambda: bool(self.app.screen.query_one("#problem", Static).display))
        self.look()
        await self.leave()

    async def fails(self) -> None:
        await self.pilot.press("j", "enter")
        await wait_until(self.pilot, lambda: "zzz failed" in screen_text(self.app))
        self.look()
        await self.dialog("e", kind=ErrorDialog.__name__)


def write_card(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "README.md").write_text(f"---\nlicense: mit\n---\n{text}\n\n# {text}\n", errors="replace")


async def walk(text: str, folder: Path, paths: Paths) -> None:
    write_card(folder, text)
    said = spelled(text)
    script = f"log {said}\nstderr {said}\npace 0\nthinks {said}\nreply {said}\nready\nwait load\nfinished"
    script += (
        f"\nwait generate\nthought {said}\ntokens {said}\nend\nwait generate\ntokens {said}\nreply-failed {said}\nserve"
    )
    catalog = FakeCatalog([hostile_model(folder, text), model("zzz")])
    built = services(
        script, f"stderr {said}\nfail-load load {said}\nserve", catalog=catalog, monitor=RoomyMachine(), paths=paths
    )
    built.generation.save_preset("yours", GenerationSettings(stop=(text[:50],)))
    built.generation.change(None, {"system_prompt": text[:2000]})
    app = ModeldeckApp(built)
    with no_markup_of_strangers():
        async with app.run_test(size=WIDE, notifications=True) as pilot:
            app.notify(text, title="Hostile", markup=False)
            await Walk(app, pilot, text).all()
            assert app.is_running


@pytest.mark.timeout(180)
@settings(
    max_examples=1,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # a walk takes seconds, and making a failure smaller hundreds of them
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ANY)
def test_s1_s2_no_screen_draws_more_than_text(tmp_path: Path, paths: Paths, text: str) -> None:
    asyncio.run(walk(f"{CANARY}{text}", tmp_path / f"model-{next(_numbers)}", paths))


async def test_s1_s2_every_screen_cleans_what_it_shows_before_the_guard_has_to(
    tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModeldeckApp, "get_line_filters", App.get_line_filters)
    await walk(f"{CANARY}{CORPUS} {' '.join(MARKUP)}", tmp_path / "model", paths)


@pytest.mark.parametrize("text", [CORPUS, "".join(MARKUP)], ids=["sequences", "markup"])
async def test_s1_the_guard_stands_behind_a_screen_that_forgot_to_clean(text: str) -> None:
    app = ModeldeckApp(services(catalog=FakeCatalog(), monitor=RoomyMachine()))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        forgotten = Static(Text(f"seen{text}", style=Style(link=f"file:///{text}")))
        forgotten.styles.dock = "top"
        await app.main_screen.mount(forgotten)
        app.notify(f"told{text}", markup=False)
        await wait_until(pilot, lambda: "seen" in screen_text(app) and "told" in screen_text(app))
        assert_harmless(app)


async def test_s1_what_is_copied_holds_nothing_that_a_shell_obeys() -> None:
    app = ModeldeckApp(services(catalog=FakeCatalog(), monitor=RoomyMachine()))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        app.copy_to_clipboard(CORPUS + SURROGATES)
        assert "owned" in app.clipboard
        assert not strangers(app.clipboard, full_screen=False)
