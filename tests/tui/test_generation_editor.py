from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input, OptionList, TextArea

from modeldeck.backend.model_shape import ModelShape
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.paths import Paths
from modeldeck.config.store import GenerationStore, SaveError
from modeldeck.tui.generation_desk import GenerationDesk
from modeldeck.tui.generation_draft import SETTINGS
from modeldeck.tui.screens.generation_editor import GenerationEditor
from modeldeck.tui.screens.preset_dialog import PresetDialog
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
        self.desk = GenerationDesk(self.store)
        self.push_screen(GenerationEditor(self.desk, self.model_id, "Qwen [/x]", 8192), self.results.append)


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
            assert "512" in lines["Max new tokens"]
            assert "built-in" in lines["Max new tokens"]
            assert "1000000 tokens" in lines["Max new tokens"]
            await pilot.press("tab", "tab")
            await wait_until(pilot, lambda: "Higher is more varied; 0 is greedy · default 0.7" in screen_text(app))
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
            row(app, "stop").focus_field()
            await pilot.press("tab", "enter")  # unfolds the rest
            await wait_until(pilot, lambda: "fewer" in screen_text(app))
            for _ in range(len(SETTINGS) + 7):
                focused = app.screen.focused
                assert focused is not None
                await wait_until(pilot, partial(is_seen, app, focused))
                parent = next((node for node in focused.ancestors if isinstance(node, SettingRow)), None)
                seen.add(parent.setting.name if parent else focused.id or type(focused).__name__)
                await pilot.press("tab")
            buttons = {"save-here", "save-all", "save-now", "presets", "reset", "reset-all"}
            assert seen == {setting.name for setting in SETTINGS} | buttons | {"FoldRow"}


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

    async def test_f20_a_failed_save_is_shown_and_nothing_typed_is_lost(
        self, store: GenerationStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(model_id: str | None, changes: object) -> None:
            raise SaveError("Nothing was saved: the disk [/] is full")

        monkeypatch.setattr(store, "change", refuse)
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
        change = store.change

        def slow(model_id: str | None, changes: dict[str, Any]) -> None:
            assert gate.wait(30)
            change(model_id, changes)

        monkeypatch.setattr(store, "change", slow)
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
            await wait_until(
                pilot, lambda: "Sampling is off, so Temperature and Top p have no effect" in screen_text(app)
            )
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

    async def test_the_rest_is_folded_but_for_what_is_set(self, store: GenerationStore) -> None:
        store.save("m", GenerationSettings(num_beams=4))
        async with editing(store, size=(100, 40)) as (app, pilot):
            text = screen_text(app)
            assert "10 more" in text
            assert "Beams" in text
            assert "With 4 Beams the reply comes at its end, not word by word." in text
            assert "Guidance scale" not in text
            row(app, "stop").focus_field()
            await pilot.press("tab", "space")
            await wait_until(pilot, lambda: "Guidance scale" in screen_text(app))

    async def test_a_choice_takes_its_next_value(self, store: GenerationStore) -> None:
        async with editing(store, size=(100, 40)) as (app, pilot):
            row(app, "stop").focus_field()
            await pilot.press("tab", "enter", "up")
            row(app, "cache_implementation").focus_field()
            await pilot.press("space")
            await wait_until(pilot, lambda: row(app, "cache_implementation").text == "static")
            await pilot.press("ctrl+s")
            await wait_until(pilot, lambda: app.results == [True])
            assert store.overrides("m").cache_implementation == "static"


class TestLayers:
    async def test_for_now_holds_without_being_written_and_reset_takes_it_back(
        self, store: GenerationStore, paths: Paths
    ) -> None:
        before = paths.generation_file.read_bytes()
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "temperature", "1.5")
            await pilot.press("ctrl+n")
            await wait_until(pilot, lambda: app.results == [True])
            assert app.desk.effective("m").temperature == 1.5
            assert paths.generation_file.read_bytes() == before
            app.push_screen(GenerationEditor(app.desk, "m", "Qwen"))
            await wait_until(pilot, lambda: "this session" in screen_text(app))
            row(app, "temperature").focus_field()
            await pilot.press("ctrl+r")
            await wait_until(pilot, lambda: row(app, "temperature").text == "0.5")
            await pilot.press("ctrl+r")
            await wait_until(pilot, lambda: row(app, "temperature").text == "")

    async def test_the_models_own_file_is_a_layer(self, store: GenerationStore, tmp_path: Path) -> None:
        (tmp_path / "generation_config.json").write_text(json.dumps({"top_k": 20}))
        app = Host(store, "m")
        async with app.run_test(size=(80, 24)) as pilot:
            await wait_until(pilot, lambda: isinstance(app.screen, GenerationEditor))
            await app.desk.learn("m", str(tmp_path), None, "cpu")
            app.push_screen(GenerationEditor(app.desk, "m", "Qwen"))
            await wait_until(pilot, lambda: "model file" in screen_text(app))
            line = next(line for line in screen_text(app).splitlines() if "Top k" in line)
            assert "20" in line
            assert "model file" in line

    async def test_what_the_model_cannot_do_is_not_offered(self, store: GenerationStore, tmp_path: Path) -> None:
        app = Host(store, "m")
        state_space = ModelShape(layer_types={"linear_attention": 4})
        async with app.run_test(size=(100, 40)) as pilot:
            await wait_until(pilot, lambda: isinstance(app.screen, GenerationEditor))
            await app.desk.learn("m", str(tmp_path), state_space, "cpu")
            app.push_screen(GenerationEditor(app.desk, "m", "Mamba"))
            await wait_until(pilot, lambda: "Mamba" in screen_text(app))
            names = {row.setting.name for row in app.screen.query(SettingRow)}
            assert not names & {"prompt_lookup_num_tokens", "guidance_scale", "cache_implementation"}
            assert "num_beams" in names

    async def test_what_was_written_elsewhere_is_shown_and_what_was_typed_stays(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "seed", "5")
            store.save("m", GenerationSettings(top_k=33))
            screen = app.screen
            assert isinstance(screen, GenerationEditor)
            screen.refresh_from_file()
            await wait_until(pilot, lambda: "changed by somebody else" in screen_text(app))
            assert row(app, "top_k").text == "33"
            assert row(app, "seed").text == "5"


class TestPresets:
    async def test_taken_by_key_and_its_origin_shown(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await pilot.press("ctrl+l")
            await wait_until(pilot, lambda: "Presets · for Qwen [/x]" in screen_text(app))
            await pilot.press("down", "enter")
            await wait_until(pilot, lambda: "Generation · precise* · for" in screen_text(app))
            assert "but for what is set here: Temperature" in " ".join(screen_text(app).split())
            assert store.preset("m") == "precise"
            assert store.preset(None) is None
            line = next(line for line in screen_text(app).splitlines() if "Top k" in line)
            assert "preset" in line
            await pilot.press("escape")
            await wait_until(pilot, lambda: app.results == [True])

    async def test_what_it_decides_is_told_where_all_models_say_otherwise(self, store: GenerationStore) -> None:
        store.choose_preset("precise", None)
        async with editing(store, None) as (app, pilot):
            await wait_until(pilot, lambda: "The preset precise decides about Top p." in screen_text(app))
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "top_p", "0.4")
            await pilot.press("ctrl+g")
            await wait_until(pilot, lambda: "Saved for all models; the preset decides here" in screen_text(app))
            assert store.overrides(None).top_p == 0.4
            assert app.results == []

    async def test_saved_renamed_and_deleted_by_key(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await enter(app, pilot, "top_k", "7")
            await pilot.press("ctrl+l")
            await wait_until(pilot, lambda: isinstance(app.screen, PresetDialog))
            await pilot.press("s", *"poems", "enter")
            await wait_until(pilot, lambda: "poems" in store.preset_names)
            assert store.preset_values("poems") == GenerationSettings(temperature=0.5, top_p=0.8, top_k=7)
            await wait_until(pilot, lambda: "yours" in screen_text(app))
            await pilot.press("r", *"2", "enter")
            await wait_until(pilot, lambda: "poems2" in store.preset_names)
            await wait_until(pilot, lambda: isinstance(app.screen.focused, OptionList))
            await pilot.press("d")
            await wait_until(pilot, lambda: "d again deletes poems2" in screen_text(app))
            await pilot.press("d")
            await wait_until(pilot, lambda: "poems2" not in store.preset_names)
            await pilot.press("escape")
            await wait_until(pilot, lambda: isinstance(app.screen, GenerationEditor))

    async def test_what_cannot_be_done_is_one_sentence_and_what_was_typed_stays(self, store: GenerationStore) -> None:
        async with editing(store) as (app, pilot):
            await pilot.press("ctrl+l")
            await wait_until(pilot, lambda: isinstance(app.screen, PresetDialog))
            await pilot.press("s", *"precise", "enter")
            await wait_until(pilot, lambda: "“precise” is built in; take another name" in screen_text(app))
            field = app.screen.focused
            assert isinstance(field, Input)
            assert field.value == "precise"
            await pilot.press("escape", "down", "d")
            await wait_until(pilot, lambda: "precise is built in" in screen_text(app))

    async def test_handed_on_as_a_file(self, store: GenerationStore, tmp_path: Path) -> None:
        store.save_preset("poems", GenerationSettings(temperature=1.3))
        file = tmp_path / "poems.toml"
        async with editing(store) as (app, pilot):
            await pilot.press("ctrl+l")
            await wait_until(pilot, lambda: isinstance(app.screen, PresetDialog))
            await pilot.press("end", "x")
            field = app.screen.query_one("#typed", Input)
            await wait_until(pilot, lambda: field.value.endswith("poems.toml"))
            field.value = str(file)
            await pilot.press("enter")
            await wait_until(pilot, file.exists)
            store.delete_preset("poems")
            await wait_until(pilot, lambda: isinstance(app.screen.focused, OptionList))
            await pilot.press("o")
            field.value = str(file)
            await pilot.press("enter")
            await wait_until(pilot, lambda: store.preset_values("poems") == GenerationSettings(temperature=1.3))
