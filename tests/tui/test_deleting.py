"""Stories of deleting a model: what is refused, what is asked, what is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo, ModelSource, ModelStatus
from modeldeck.config.settings import Settings
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.delete_flow import DeleteFlow, DiskDeleter
from modeldeck.tui.screens.delete_dialog import DeleteDialog
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, FakeCatalog, deck, deck_of, model, opened, until_status
from tests.unit.catalog.trees import model_folder


@dataclass(frozen=True)
class Plan:
    """Two files of a model."""

    paths: tuple[str, ...] = ("/scripted/a/model.safetensors", "/scripted/\x1b[31mb/config.json")
    freed_bytes: int = 16_400_000_000
    notes: tuple[str, ...] = ("1 of its files is a link; what it leads to stays.",)


class Deleter:
    """Deletes nothing; ``gate`` holds both up, ``error`` is what the disk says."""

    def __init__(self, error: str = "", refusal: str = "") -> None:
        self.error, self.refusal = error, refusal
        self.gate = Event()
        self.gate.set()
        self.deleted: list[Plan] = []

    def plan(self, found: ModelInfo) -> Plan:
        assert self.gate.wait(30)
        if self.refusal:
            raise CatalogError(self.refusal)
        return Plan()

    def delete(self, plan: Plan) -> None:
        assert self.gate.wait(30)
        if self.error:
            raise CatalogError(self.error)
        self.deleted.append(plan)

    @contextmanager
    def held(self) -> Iterator[None]:
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()


def use(app: ModeldeckApp, deleter: Deleter) -> None:
    screen = app.main_screen
    screen.deletions = DeleteFlow(
        screen, app.services, deleter, lambda gone: screen.browser.model_list.drop([gone]), screen.browser.search
    )


async def asked(pilot: Pilot[int]) -> DeleteDialog:
    await pilot.press("D")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, DeleteDialog))
    dialog = pilot.app.screen
    assert isinstance(dialog, DeleteDialog)
    return dialog


async def test_the_dialog_shows_what_goes_and_what_that_frees_and_the_row_disappears() -> None:
    app, deleter = deck(), Deleter()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        use(app, deleter)
        dialog = await asked(pilot)
        await wait_until(pilot, lambda: "That frees 16.4 GB" in screen_text(app))
        text = screen_text(app)
        assert "Delete Qwen3-8B from the disk?" in text
        assert "/scripted/a/model.safetensors" in text
        assert "1 of its files is a link" in text
        assert "/scripted/␛[31mb/config.json" in text
        assert app.focused is dialog.query_one("#cancel", Button)
        await pilot.press("tab", "enter")
        await wait_until(pilot, lambda: "Qwen3-8B was deleted; 16.4 GB are free again." in screen_text(app))
        assert len(deleter.deleted) == 1
        browser = deck_of(pilot).main_screen.browser
        assert browser.shelf.get(MODELS[0].id) is None
        assert browser.model_list.row_count == 3


async def test_enter_escape_and_a_plan_that_is_not_ready_delete_nothing() -> None:
    app, deleter = deck(), Deleter()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        use(app, deleter)
        with deleter.held():
            dialog = await asked(pilot)
            assert dialog.query_one("#delete", Button).disabled
            await pilot.press("escape")
            await wait_until(pilot, lambda: app.screen is app.main_screen)
        await asked(pilot)
        await wait_until(pilot, lambda: "That frees" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.screen is app.main_screen)
        assert deleter.deleted == []
        assert app.main_screen.browser.model_list.row_count == 4


async def test_left_and_right_move_between_cancel_and_delete() -> None:
    app, deleter = deck(), Deleter()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        use(app, deleter)
        with deleter.held():
            dialog = await asked(pilot)
            cancel, delete = dialog.query_one("#cancel", Button), dialog.query_one("#delete", Button)
            await pilot.press("right")
            assert app.focused is cancel  # nothing is known of the disk yet
        await wait_until(pilot, lambda: not delete.disabled)
        await pilot.press("left")
        assert app.focused is cancel
        await pilot.press("right")
        assert app.focused is delete
        await pilot.press("right", "left")
        assert app.focused is cancel
        await pilot.press("right", "enter")
        await wait_until(pilot, lambda: len(deleter.deleted) == 1)


def test_a_model_that_is_loaded_while_the_dialog_is_open_is_not_deleted(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    loaded: list[str] = []
    deleter = DiskDeleter([tmp_path], tmp_path / "hub", lambda: loaded)
    plan = deleter.plan(model("mine", id=str(folder), path=str(folder)))
    loaded.append(str(folder))
    with pytest.raises(CatalogError, match="mine is loaded"):
        deleter.delete(plan)
    assert (folder / "model.safetensors").exists()


async def test_a_model_outside_of_what_is_searched_is_refused_in_the_dialog() -> None:
    app, deleter = deck(), Deleter(refusal="It lies in no folder that is searched for models.")
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        use(app, deleter)
        dialog = await asked(pilot)
        await wait_until(pilot, lambda: "It lies in no folder that is searched" in screen_text(app))
        assert dialog.query_one("#delete", Button).disabled


async def test_the_loaded_and_the_loading_model_and_the_starter_are_refused_in_one_sentence() -> None:
    starter = model("starter", id="starter", source=ModelSource.STARTER)
    app, deleter = deck("ready\nwait load\nhang", catalog=FakeCatalog([*MODELS, starter])), Deleter()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, rows=5)
        use(app, deleter)
        assert app.main_screen.browser.model_list.select("starter")
        await pilot.press("D")
        await wait_until(pilot, lambda: "is the starter" in screen_text(app))
        await pilot.press("g", "enter")
        await until_status(pilot, ModelStatus.LOADING)
        await pilot.press("D")
        await wait_until(pilot, lambda: "Qwen3-8B is being loaded. Stop that with escape" in screen_text(app))
        assert app.screen is app.main_screen
        await pilot.press("escape")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        await asked(pilot)


async def test_the_loaded_model_is_refused_until_it_is_unloaded() -> None:
    app, deleter = deck(), Deleter()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        use(app, deleter)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("D")
        await wait_until(pilot, lambda: "Qwen3-8B is loaded. Unload it with u" in screen_text(app))
        assert app.screen is app.main_screen


async def test_a_deletion_that_fails_is_told_in_one_sentence_and_the_row_stays() -> None:
    app, deleter = deck(), Deleter(error="Qwen3-8B is not wholly deleted: Permission denied.")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        use(app, deleter)
        await asked(pilot)
        await wait_until(pilot, lambda: "That frees" in screen_text(app))
        await pilot.press("tab", "enter")
        await wait_until(pilot, lambda: "is not wholly deleted" in screen_text(app))
        assert "Qwen3-8B is not wholly deleted: Permission denied." in app.services.log.newest(0)
        await opened(pilot)
        assert app.main_screen.browser.shelf.get(MODELS[0].id) is not None


async def test_while_it_runs_it_is_not_begun_again() -> None:
    app, deleter = deck(), Deleter()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        use(app, deleter)
        await asked(pilot)
        await wait_until(pilot, lambda: "That frees" in screen_text(app))
        with deleter.held():
            await pilot.press("tab", "enter")
            await wait_until(pilot, lambda: app.screen is app.main_screen)
            await pilot.press("D")
            await wait_until(pilot, lambda: "Qwen3-8B is being deleted." in screen_text(app))
        await wait_until(pilot, lambda: len(deleter.deleted) == 1)


async def test_a_real_folder_is_gone_from_the_disk_and_what_lies_beside_it_stays(tmp_path: Path) -> None:
    folder, beside = tmp_path / "models" / "mine", tmp_path / "models" / "other"
    for each in (folder, beside):
        each.mkdir(parents=True)
        (each / "config.json").write_text("{}")
        (each / "model.safetensors").write_bytes(b"x" * 100_000)
    mine = model("mine", id=str(folder), path=str(folder))
    settings = Settings(model_folders=(str(tmp_path / "models"),), spare_engine=False)
    app = deck(catalog=FakeCatalog([mine]), settings=settings)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        await asked(pilot)
        await wait_until(pilot, lambda: "That frees 1" in screen_text(app))
        await pilot.press("tab", "enter")
        await wait_until(pilot, lambda: app.main_screen.browser.model_list.row_count == 0)
        assert not folder.exists()
        assert (beside / "model.safetensors").exists()
