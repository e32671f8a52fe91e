from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input, TextArea

from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.config.store import GenerationStore, SaveError
from modeldeck.tui.generation_draft import SETTINGS
from modeldeck.tui.screens.generation_editor import GenerationEditor
from modeldeck.tui.widgets.setting_row import SettingRow
from tests.helpers import screen_text, wait_until


@pytest.fixture
def store(paths: Paths) -> GenerationStore:
    store = GenerationStore(paths.generation_file)
    store.save(None, GenerationSettings(top_p=0.8))
    store.save("m", GenerationSettings(temperature=0.5))
    return store


class Host(App[object]):
    """Opens the form and keeps its result."""

    results: list[bool | None]

    def __init__(self, store: GenerationStore, model_id: str | None) -> None:
        super().__init__()
        self.results = []
        self.store = store
        self.model_id = model_id

    def on_mount(self) -> None:
        self.push_screen(GenerationEditor(self.store, self.model_id, "Qwen [/x]"), self.results.append)


@asynccontextmanager
async def editing(
    store: GenerationStore, model_id: str | None = "m", size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Host, Pilot[object]]]:
    app = Host(store, model_id)
    async with app.run_test(size=size) as pilot:
        await wait_until(pilot, lambda: isinstance(app.screen, GenerationEditor) and app.screen.focused is not None)
        yield app, pilot


def row(app: Host, name: str) -> SettingRow:
    return next(row for row in app.screen.query(SettingRow) if row.setting.name == name)


async def enter(app: Host, pilot: Pilot[object], name: str, text: str) -> None:
    """Type into a row, replacing what is there."""
    row(app, name).focus_field()
    field = app.screen.focused
    assert isinstance(field, Input | TextArea)
    await pilot.press("end", *(["backspace"] * 8), *text)


def is_seen(app: Host, widget: Widget) -> bool:
    return bool(app.screen.find_widget(widget).visible_region)


class TestTheForm:
    async def test_shows_values_origins_limits_and_help(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            text = screen_text(app)
            assert "Generation · for Qwen [/x]" in text
            lines = {line.strip("│ ")[:18].strip(): line for line in text.splitlines()}
            assert "0.5" in lines["Temperature"]
            assert "this model" in lines["Temperature"]
            assert "0.8" in lines["Top p"]
            assert "all models" in lines["Top p"]
            assert "0 to 2" in lines["Temperature"]
            await pilot.press("tab", "tab")
            await wait_until(pilot, lambda: "Higher is more varied; 0 is greedy" in screen_text(app))
            assert "· must be 0 to 2" not in screen_text(app)  # the row says it

    async def test_limits_that_a_narrow_row_cuts_off_stand_in_the_help(self, store: GenerationStore) -> None:
        async with editing(store, size=(60, 16)) as (app, pilot):
            await pilot.press("tab", "tab")
            await wait_until(pilot, lambda: "0 is greedy · must be 0 to 2" in screen_text(app))

    @pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
    async def test_every_field_and_button_is_reached_by_keyboard_and_seen(
        self, store: GenerationStore, size: tuple[int, int]
    ) -> None:
        async with editing(store, size=size) as (app, pilot):
            seen: set[str] = set()
            for _ in range(len(SETTINGS) + 4):
                focused = app.screen.focused
                assert focused is not None
                await wait_until(pilot, partial(is_seen, app, focused))
                parent = next((node for node in focused.ancestors if isinstance(node, SettingRow)), None)
                seen.add(parent.setting.name if parent else focused.id or "")
                await pilot.press("tab")
            assert seen == {setting.name for setting in SETTINGS} | {"save-here", "save-all", "reset-all", "close"}


class TestSaving:
    async def test_for_this_model(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "temperature", "1.25")
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: app.results == [True])
            assert store.overrides("m") == GenerationSettings(temperature=1.25)
            assert store.overrides(None) == GenerationSettings(top_p=0.8)

    async def test_for_all_models(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "top_k", "7")
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: app.results == [True])
            assert store.overrides(None) == GenerationSettings(top_p=0.8, top_k=7)

    async def test_the_form_for_all_models_saves_there(self, store: GenerationStore) -> None:
        async with editing(store, None) as (app, pilot):
            assert "for all models" in screen_text(app)
            await enter(app, pilot, "seed", "42")
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: app.results == [True])
            assert store.overrides(None).seed == 42

    async def test_an_invalid_value_is_marked_and_the_others_save(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "temperature", "7")
            await wait_until(pilot, lambda: "! must be 0 to 2, not 7" in screen_text(app))
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: "Nothing was saved: Temperature must be" in screen_text(app))
            await enter(app, pilot, "top_k", "9")
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: "Saved for this model, but not what is marked" in screen_text(app))
            assert store.overrides("m") == GenerationSettings(temperature=0.5, top_k=9)
            assert app.results == []
            await enter(app, pilot, "temperature", "1")
            await wait_until(pilot, lambda: "must be 0 to 2, not" not in screen_text(app))
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: app.results == [True])

    async def test_a_failed_save_is_shown_and_nothing_typed_is_lost(
        self, store: GenerationStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(model_id: str | None, overrides: GenerationSettings) -> None:
            raise SaveError("Nothing was saved: the disk [/] is full")

        monkeypatch.setattr(store, "save", refuse)
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "temperature", "1")
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: "Nothing was saved: the disk [/] is full" in screen_text(app))
            field = app.screen.focused
            assert isinstance(field, Input)
            assert field.value == "1"

    async def test_while_a_save_waits_the_form_waits_too(
        self, store: GenerationStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = threading.Event()
        save = store.save

        def slow(model_id: str | None, overrides: GenerationSettings) -> None:
            assert gate.wait(30)
            save(model_id, overrides)

        monkeypatch.setattr(store, "save", slow)
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "temperature", "1")
            try:
                await pilot.press("ctrl+s")
                await wait_until(pilot, lambda: "Saving ..." in screen_text(app))
                await pilot.press("5", "ctrl+r", "escape", "escape", "ctrl+s")
                assert row(app, "temperature").text == "1"
                assert app.results == []
            finally:
                gate.set()
            await wait_until(pilot, lambda: app.results == [True])
            assert store.overrides("m").temperature == 1

    @pytest.mark.parametrize(("scope", "key"), [("m", "ctrl+s"), (None, "ctrl+g")])
    async def test_reset_takes_back_only_overrides(
        self, store: GenerationStore, scope: Literal["m"] | None, key: str
    ) -> None:
        async with editing(store) as (app, pilot):
            await pilot.click("#reset-all")
            await wait_until(pilot, lambda: "goes back to its default" in screen_text(app))
            await pilot.press(key)
            await wait_until(pilot, lambda: app.results == [True])
            assert store.overrides(scope) == GenerationSettings()


class TestEditing:
    async def test_sampling_is_switched_and_reset_by_key_and_conflicts_are_said(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            row(app, "do_sample").focus_field()
            await pilot.press("space")
            await wait_until(pilot, lambda: "Sampling is off, so Temperature, Top p and Top k" in screen_text(app))
            await pilot.press("backspace")
            await wait_until(pilot, lambda: "Sampling is off" not in screen_text(app))
            await pilot.press("escape")
            await wait_until(pilot, lambda: app.results == [False])

    async def test_one_value_goes_back_to_the_layer_below(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            row(app, "temperature").focus_field()
            await pilot.press("ctrl+r")
            await wait_until(pilot, lambda: "0.5" not in screen_text(app))
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: app.results == [True])
            assert store.effective("m").temperature == 0.7

    async def test_escape_asks_once_when_something_is_not_saved(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "temperature", "1")
            await pilot.press("escape")
            await wait_until(pilot, lambda: "Unsaved changes: escape again drops them" in screen_text(app))
            assert app.results == []
            await pilot.press("escape")
            await wait_until(pilot, lambda: app.results == [False])
            assert store.overrides("m").temperature == 0.5

    async def test_system_prompt_and_stop_strings_take_lines(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "system_prompt", "a")
            await pilot.press("enter", "b")
            await enter(app, pilot, "stop", "x")
            await pilot.press("enter", "y", "ctrl+s")
            await wait_until(pilot, lambda: app.results == [True])
            assert store.overrides("m").system_prompt == "a\nb"
            assert store.overrides("m").stop == ("x", "y")
