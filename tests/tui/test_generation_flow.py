"""Generation settings in the running app: presets, edits made elsewhere, conflicts, the model's own file."""

from __future__ import annotations

import json
from pathlib import Path

from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Static, TextArea

from modeldeck.backend.models import ModelStatus
from modeldeck.config.atomic import write_atomically
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.screens.generation_editor import GenerationEditor
from modeldeck.tui.screens.preset_dialog import PresetDialog
from tests.helpers import screen_text, wait_until
from tests.tui.deck import FakeCatalog, deck, model, opened, services, until_status

_SAYS = "reply {temperature} {max_new_tokens}\nserve"
_ROOMY = (160, 40)


async def load(pilot: Pilot[int]) -> None:
    await opened(pilot)
    await pilot.press("enter")
    await until_status(pilot, ModelStatus.LOADED)


async def to_the_list(app: ModeldeckApp, pilot: Pilot[int]) -> None:
    app.main_screen.go("models")
    await pilot.pause()


def says(app: ModeldeckApp, words: str) -> bool:
    return words in " ".join(screen_text(app).split())


def note(app: ModeldeckApp) -> str:
    """The line beside the prompt."""
    return str(app.main_screen.query_one(".chat--note", Static).render())


class TestPresets:
    async def test_opened_by_key_and_taken(self) -> None:
        app = deck()
        async with app.run_test(size=_ROOMY, notifications=True) as pilot:
            await load(pilot)
            await to_the_list(app, pilot)
            await pilot.press("t")
            await wait_until(pilot, lambda: isinstance(app.screen, PresetDialog))
            await wait_until(pilot, lambda: says(app, "Presets · for Qwen3-8B"))
            await pilot.press("end", "enter")
            await wait_until(pilot, lambda: app.screen is app.main_screen)
            await wait_until(pilot, lambda: says(app, "deterministic · greedy · 512 tokens"))
            assert app.services.generation.preset("/scripted/Qwen3-8B") == "deterministic"

    async def test_taken_in_the_palette(self) -> None:
        app = deck()
        async with app.run_test(size=_ROOMY, notifications=True) as pilot:
            await load(pilot)
            await pilot.press("ctrl+p")
            await wait_until(pilot, lambda: isinstance(app.screen, CommandPalette))
            await pilot.press(*"preset: precise")
            await wait_until(pilot, lambda: says(app, "Preset: precise"))
            await pilot.press("enter")
            await wait_until(pilot, lambda: says(app, "precise · temp 0.2 · top p 0.8"))
            await wait_until(pilot, lambda: says(app, "precise for Qwen3-8B."))


class TestEditsMadeElsewhere:
    async def test_are_seen_while_the_app_runs_and_wrong_keys_are_told(self) -> None:
        app = deck()
        async with app.run_test(size=_ROOMY, notifications=True) as pilot:
            await load(pilot)
            await wait_until(pilot, lambda: says(app, "temp 0.7"))
            file = app.services.paths.generation_file
            write_atomically(file, "[all_models]\ntemperature = 0.25\ntop_pp = 0.5\n")
            await wait_until(pilot, lambda: says(app, "temp 0.25"))
            said = "all_models.top_pp: is not a generation setting; did you mean top_p?"
            await wait_until(pilot, lambda: any(said in line for line in app.services.log.lines))

    async def test_are_seen_in_the_open_form(self) -> None:
        app = deck()
        async with app.run_test(size=_ROOMY, notifications=True) as pilot:
            await load(pilot)
            await to_the_list(app, pilot)
            await pilot.press("c")
            await wait_until(pilot, lambda: isinstance(app.screen, GenerationEditor) and says(app, "Top k"))
            write_atomically(app.services.paths.generation_file, "[all_models]\ntop_k = 33\n")
            await wait_until(pilot, lambda: says(app, "changed by somebody else"))
            assert says(app, "Top k 33 all models")


class TestConflicts:
    async def test_are_said_beside_the_prompt_before_anything_is_asked(self) -> None:
        app = deck()
        app.services.generation.save(None, GenerationSettings(do_sample=False, temperature=1.5))
        async with app.run_test(size=_ROOMY, notifications=True) as pilot:
            await load(pilot)
            await wait_until(pilot, lambda: "Sampling is off, so Temperature has no effect." in note(app))

    async def test_a_prompt_that_leaves_no_room_is_told_while_it_is_typed(self) -> None:
        app = deck()
        app.services.generation.save(None, GenerationSettings(max_new_tokens=8000))
        async with app.run_test(size=_ROOMY, notifications=True) as pilot:
            await load(pilot)
            assert "tokens are left" not in note(app)
            app.main_screen.query_one("Prompt", TextArea).text = "word " * 400
            await wait_until(pilot, lambda: "of the model's 8,192 tokens are left" in note(app))


class TestTheModelsOwnFile:
    async def test_holds_from_the_first_reply_on(self, tmp_path: Path) -> None:
        (tmp_path / "generation_config.json").write_text(json.dumps({"temperature": 0.625, "max_new_tokens": 77}))
        own = model("Qwen3-8B", path=str(tmp_path))
        app = ModeldeckApp(services(_SAYS, catalog=FakeCatalog([own])))
        async with app.run_test(size=_ROOMY, notifications=True) as pilot:
            await opened(pilot, rows=1)
            await pilot.press("enter")
            await until_status(pilot, ModelStatus.LOADED)
            await wait_until(pilot, lambda: says(app, "temp 0.625"))
            app.main_screen.go("chat")
            await pilot.press(*"hi", "enter")
            await wait_until(pilot, lambda: says(app, "0.625 77"))
