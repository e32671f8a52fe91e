"""Stories of adding a model by hand: a path, a download, a mistake."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from modeldeck.backend.engine_client import EngineClient
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from modeldeck.tui.screens.add_dialog import AddDialog
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.widgets.prompt import Prompt
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, FakeCatalog, deck, model, opened

FETCHED = model("org/fetched", id="org/fetched@main")


def event(**fields: object) -> str:
    return f"event {json.dumps({'request_id': 1, **fields})}"


PROGRESS = event(type="download_progress", done_bytes=1_000_000_000, total_bytes=4_000_000_000)
FINISHED = event(type="download_finished", path="/scripted/fetched", model_id=FETCHED.id)


async def type_in(pilot: object, app: object, text: str) -> None:
    from textual.pilot import Pilot

    assert isinstance(pilot, Pilot)
    await pilot.press("a")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, AddDialog))
    pilot.app.screen.query_one(Input).value = text
    await pilot.press("enter")


async def test_a_mistake_gets_one_sentence_and_the_text_is_kept() -> None:
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "/no/such/model")
        await wait_until(pilot, lambda: "/no/such/model is not there." in screen_text(app))
        assert app.screen.query_one(Input).value == "/no/such/model"
        app.screen.query_one(Input).value = "what is this"
        await pilot.press("enter")
        await wait_until(pilot, lambda: "neither a path nor a Hub id" in screen_text(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.main_screen)


@pytest.mark.parametrize(
    ("path", "why"),
    [("/tmp/" + "n" * 300, "File name too long"), ("/a\0b/model", "null"), ("~nobody-here/model", "home")],
    ids=["too long", "NUL", "unknown user"],
)
async def test_a_path_that_cannot_be_asked_for_gets_a_sentence_too(path: str, why: str) -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await type_in(pilot, app, path)
        await wait_until(pilot, lambda: why in screen_text(app))
        assert isinstance(app.screen, AddDialog)
        assert app.screen.query_one(Input).value == path


async def test_a_path_that_the_system_refuses_gets_its_reason() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "/" + "x" * 300)
        await wait_until(pilot, lambda: "File name too long" in " ".join(screen_text(app).split()))
        assert isinstance(app.screen, AddDialog)


async def test_a_folder_with_a_model_becomes_a_highlighted_row_that_outlives_a_rescan(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    (folder / "tokenizer.json").write_text("{}")
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await type_in(pilot, app, str(folder))
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        browser = app.main_screen.browser
        await wait_until(pilot, lambda: browser.highlighted is not None and "my-model" in browser.highlighted.name)
        await pilot.press("r")
        await wait_until(pilot, lambda: not browser.searching)
        assert browser.highlighted is not None
        assert "my-model" in browser.highlighted.name


async def test_a_download_shows_its_progress_and_its_model_is_in_the_list(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"ready\n{PROGRESS}\ngate {gate}\n{FINISHED}\nhang"
    catalog = FakeCatalog()
    app = deck(catalog=catalog, start_download=scripted_starter(script))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "org/fetched")
        await wait_until(pilot, lambda: "DOWNLOADING org/fetched · 25% · 1.0 of 4.0 GB" in screen_text(app))
        catalog.models.append(FETCHED)
        gate.touch()
        browser = app.main_screen.browser
        await wait_until(pilot, lambda: browser.shelf.get(FETCHED.id) == FETCHED and browser.model_list.row_count == 5)
        await wait_until(pilot, lambda: "NOT LOADED" in screen_text(app))


async def test_a_finished_download_leaves_the_keys_to_who_is_typing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    catalog = FakeCatalog()
    app = deck(catalog=catalog, start_download=scripted_starter(f"ready\n{PROGRESS}\ngate {gate}\n{FINISHED}\nhang"))
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "org/fetched")
        await wait_until(pilot, lambda: app.main_screen.downloads.running)
        await pilot.press("tab", *"a")
        catalog.models.append(FETCHED)
        gate.touch()
        await wait_until(pilot, lambda: "org/fetched is downloaded" in screen_text(app))
        await pilot.press(*" quick q")
        assert app.main_screen.query_one(Prompt).text == "a quick q"
        assert app.main_screen.browser.highlighted == MODELS[0]
        assert app.return_code is None


async def test_a_failed_download_takes_no_key_from_who_is_typing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    failed = event(type="download_failed", message="There is no org/fetched on the Hub.", detail="404 [/]")
    app = deck(start_download=scripted_starter(f"ready\n{PROGRESS}\ngate {gate}\n{failed}\nhang"))
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "org/fetched")
        await wait_until(pilot, lambda: app.main_screen.downloads.running)
        await pilot.press("tab", *"a")
        gate.touch()
        await wait_until(pilot, lambda: "There is no org/fetched" in screen_text(app))
        await pilot.press(*" quick q")
        assert app.screen is app.main_screen
        assert app.main_screen.query_one(Prompt).text == "a quick q"
        assert "404 [/]" in app.services.log.lines


async def test_escape_cancels_a_download_and_its_child_is_gone() -> None:
    app = deck(start_download=scripted_starter(f"ready\n{PROGRESS}\nhang"))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "org/fetched")
        await wait_until(pilot, lambda: "esc Stop" in screen_text(app) and "25%" in screen_text(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: not app.main_screen.downloads.running)
        await wait_until(pilot, lambda: "NOT LOADED" in screen_text(app))


async def test_a_failed_download_says_why() -> None:
    failed = event(type="download_failed", message="There is no org/fetched on the Hub.", detail="404 [/]")
    app = deck(start_download=scripted_starter(f"ready\n{failed}\nhang"))
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "org/fetched")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        await wait_until(pilot, lambda: "There is no org/fetched on the Hub." in screen_text(app))
        assert "404 [/]" in screen_text(app)


async def test_what_is_wrong_with_the_users_files_is_said_once_the_app_is_up() -> None:
    from modeldeck.config.store import ConfigProblem
    from modeldeck.tui.app import ModeldeckApp
    from tests.tui.deck import services

    built = services()
    problem = ConfigProblem(path=built.paths.config_file, key="thme", message="is no setting; did you mean theme?")
    app = ModeldeckApp(replace(built, problems=(problem,)))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "did you mean theme?" in screen_text(app))
        assert any("did you mean theme?" in line for line in app.services.log.lines)


async def test_an_error_that_nobody_expected_in_a_worker_is_said_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> EngineClient:
        raise KeyError("a bug")

    app = deck(start_download=broken)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await type_in(pilot, app, "org/fetched")
        await wait_until(pilot, lambda: "The download ended by an error in modeldeck (KeyError)" in screen_text(app))
        assert any(record.exc_info and record.exc_info[0] is KeyError for record in caplog.records)


async def test_a_spare_engine_that_dies_is_said_once() -> None:
    settings = Settings(spare_engine=True)
    config = Paths.from_environment().config_file
    config.parent.mkdir(parents=True)
    config.write_text("spare_engine = true\n")
    app = deck("silent\nstderr no such module\nexit 1", settings=settings)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "The engine in waiting died" in screen_text(app))
        assert len([line for line in app.services.log.lines if "engine in waiting died" in line]) == 1
