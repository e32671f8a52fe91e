"""Stories of models whose weights are pickled: they are read, and downloaded, only after consent (S6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from modeldeck.backend.models import ModelFormat, ModelInfo, ModelStatus
from modeldeck.tui.screens.confirm import Confirm
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.tick import Tick
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import screen_text, wait_until
from tests.tui.deck import WIDE, FakeCatalog, deck, deck_of, model, opened, until_status
from tests.tui.test_adding import FINISHED, event, type_in


@pytest.fixture
def pickled(tmp_path: Path) -> ModelInfo:
    """A model with nothing but pickles."""
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"weights")
    return model("Pickled", path=str(tmp_path / "pickled"), format=ModelFormat.PICKLE)


async def dialog(pilot: Pilot[int], key: str) -> Tick:
    """Open it and wait until it was looked at whether they were allowed before."""
    await pilot.press(key)
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, LoadDialog))
    await wait_until(pilot, lambda: not pilot.app.screen.query_one("#pickles", Tick).disabled)
    return pilot.app.screen.query_one("#pickles", Tick)


async def loaded(pilot: Pilot[int]) -> bool:
    """Wait for the load; returns whether the engine was told that it may read pickles, and unloads again."""
    await until_status(pilot, ModelStatus.LOADED)
    request = deck_of(pilot).services.manager.request
    assert request is not None
    await pilot.press("u")
    await until_status(pilot, ModelStatus.NOT_LOADED)
    return request.allow_pickles


async def test_s6_enter_asks_and_the_answer_holds_until_the_files_are_others(pickled: ModelInfo) -> None:
    app = deck(catalog=FakeCatalog([pickled]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        tick = await dialog(pilot, "enter")
        assert app.services.manager.request is None
        assert not tick.value
        tick.value = True
        app.screen.query_one("#load", Button).press()
        assert await loaded(pilot)
        await pilot.press("enter")  # they were allowed
        assert await loaded(pilot)
        (Path(pickled.path) / "pytorch_model.bin").write_bytes(b"other weights")
        assert not (await dialog(pilot, "enter")).value  # these were not


async def test_s6_the_next_run_knows_the_consent_and_it_can_be_taken_back(pickled: ModelInfo) -> None:
    app = deck(catalog=FakeCatalog([pickled]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        (await dialog(pilot, "l")).value = True
        app.screen.query_one("#load", Button).press()
        assert await loaded(pilot)
    app = deck(catalog=FakeCatalog([pickled]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        tick = await dialog(pilot, "l")
        assert tick.value
        tick.value = False
        app.screen.query_one("#load", Button).press()
        assert not await loaded(pilot)
        assert not (await dialog(pilot, "enter")).value


async def test_s6_what_only_the_engine_finds_is_asked_for_the_next_time() -> None:
    app = deck("fail-load pickles They are pickled.\nserve", catalog=FakeCatalog([model("Adapted")]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.FAILED)
        assert not (await dialog(pilot, "l")).value


async def test_s6_a_download_of_nothing_but_pickles_asks_first() -> None:
    refused = event(type="download_failed", message="org/fetched has pickled weights only.", only_pickles=True)
    fetched = model("org/fetched", id="org/fetched@main")
    start = scripted_starter(f"ready\n{refused}\nhang", f"ready\n{FINISHED}\nhang")
    app = deck(catalog=FakeCatalog([fetched]), start_download=start)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, rows=1)
        await type_in(pilot, app, "org/fetched")
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await wait_until(pilot, lambda: "pickled weights only" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: "org/fetched is downloaded" in screen_text(app))
