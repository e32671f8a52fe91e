"""Stories of models that bring code along: it runs only after consent, and only the code that was looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from modeldeck.backend.models import ModelInfo, ModelStatus
from modeldeck.tui.screens.load_dialog import LoadDialog
from modeldeck.tui.widgets.tick import Tick
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, FakeCatalog, deck, deck_of, model, opened, until_status

CODE = "class Config:\n    pass\n"


@pytest.fixture
def custom(tmp_path: Path) -> ModelInfo:
    """A model whose configuration is read by code of its own."""
    folder = tmp_path / "custom"
    folder.mkdir()
    config = {"model_type": "custom", "auto_map": {"AutoConfig": "configuration_custom.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "configuration_custom.py").write_text(CODE)
    return model("Custom", path=str(folder), needs_remote_code=True)


async def open_dialog(pilot: Pilot[int]) -> Tick:
    """Open it and wait until the code was looked at."""
    await pilot.press("l")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, LoadDialog))
    await wait_until(pilot, lambda: "configuration_custom.py of" in screen_text(pilot.app))
    return pilot.app.screen.query_one("#remote-code", Tick)


async def load_trusting(pilot: Pilot[int]) -> bool:
    """Wait for the load; returns whether the engine was told to trust the code, and unloads again."""
    await until_status(pilot, ModelStatus.LOADED)
    request = deck_of(pilot).services.manager.request
    assert request is not None
    await pilot.press("u")
    await until_status(pilot, ModelStatus.NOT_LOADED)
    return request.trust_remote_code


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
async def test_s4_consent_names_the_files_and_holds_until_the_code_is_another(
    size: tuple[int, int], custom: ModelInfo
) -> None:
    app = deck(catalog=FakeCatalog([custom]))
    async with app.run_test(size=size) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("enter")
        assert not await load_trusting(pilot)
        tick = await open_dialog(pilot)
        assert not tick.value
        await wait_until(pilot, lambda: "configuration_custom.py of the model's own folder" in screen_text(app))
        tick.value = True
        app.screen.query_one("#load", Button).press()
        assert await load_trusting(pilot)
        await pilot.press("enter")  # it was allowed
        assert await load_trusting(pilot)
        (Path(custom.path) / "configuration_custom.py").write_text(CODE + "# and more\n")
        await pilot.press("enter")  # this was not
        assert not await load_trusting(pilot)
        assert not (await open_dialog(pilot)).value


async def test_s4_the_next_run_knows_the_consent_and_it_can_be_taken_back(custom: ModelInfo) -> None:
    app = deck(catalog=FakeCatalog([custom]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        (await open_dialog(pilot)).value = True
        app.screen.query_one("#load", Button).press()
        assert await load_trusting(pilot)
    app = deck(catalog=FakeCatalog([custom]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        tick = await open_dialog(pilot)
        assert tick.value
        tick.value = False
        app.screen.query_one("#load", Button).press()
        assert not await load_trusting(pilot)
        await pilot.press("enter")
        assert not await load_trusting(pilot)


async def test_s4_code_that_changes_after_it_was_looked_at_does_not_run(custom: ModelInfo) -> None:
    app = deck(catalog=FakeCatalog([custom]))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, rows=1)
        (await open_dialog(pilot)).value = True
        (Path(custom.path) / "configuration_custom.py").write_text("import os\n")
        app.screen.query_one("#load", Button).press()
        await wait_until(pilot, lambda: "The code of Custom is not what you allowed" in screen_text(app))
        assert app.services.manager.request is None


async def test_s4_code_that_cannot_be_looked_at_cannot_be_allowed(custom: ModelInfo) -> None:
    (Path(custom.path) / "configuration_custom.py").unlink()
    app = deck(catalog=FakeCatalog([custom]))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot, rows=1)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        await wait_until(pilot, lambda: app.screen.query_one("#remote-code", Tick).disabled)
        app.screen.query_one("#load", Button).press()
        assert not await load_trusting(pilot)
