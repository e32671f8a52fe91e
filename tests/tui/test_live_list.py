"""The list follows the disk by the real catalog and its child, and nothing moves under the user's hands."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot

from modeldeck.backend.catalog.live_catalog import LiveCatalog
from modeldeck.backend.catalog.places import Places
from modeldeck.config.paths import Paths
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.widgets.model_browser import ModelBrowser
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, deck_of, services
from tests.unit.catalog.following import Scanners
from tests.unit.catalog.trees import model_folder

NAMES = [f"m{number:02}" for number in range(12)]


@pytest.fixture
def root(home: Path) -> Path:
    folder = home / "models"
    for name in NAMES:
        model_folder(folder / name)
    return folder


def following(root: Path, scanners: Scanners | None = None, stall_seconds: float = 5.0) -> ModeldeckApp:
    """The app with everything real but the engine."""
    places = Places.of([root], root.parent / "hub", starter=False)
    index = Paths.from_environment().catalog_index
    catalog = LiveCatalog(places, index, scanners or Scanners(), stall_seconds=stall_seconds)
    return ModeldeckApp(replace(services("ready\nhang"), catalog=catalog))


async def listed(pilot: Pilot[int], count: int) -> None:
    browser = browser_of(pilot)
    await wait_until(pilot, lambda: not browser.searching and browser.model_list.row_count == count)


def browser_of(pilot: Pilot[int]) -> ModelBrowser:
    return deck_of(pilot).main_screen.browser


def highlighted(pilot: Pilot[int]) -> str | None:
    model = browser_of(pilot).highlighted
    return None if model is None else model.name


async def test_what_comes_and_goes_on_the_disk_comes_and_goes_in_the_list_and_the_selection_stays(root: Path) -> None:
    app = following(root)
    async with app.run_test(size=NARROW) as pilot:
        await listed(pilot, 12)
        await pilot.press(*["j"] * 5)
        assert highlighted(pilot) == "m05"
        model_folder(root / "a-new-one")
        await wait_until(pilot, lambda: "a-new-one" in screen_text(app))
        assert highlighted(pilot) == "m05"
        shutil.rmtree(root / "m02")
        await wait_until(pilot, lambda: "m02" not in screen_text(app))
        assert highlighted(pilot) == "m05"


async def test_f26_the_second_start_shows_the_list_while_the_disk_does_not_answer(root: Path) -> None:
    app = following(root)
    async with app.run_test(size=NARROW) as pilot:
        await listed(pilot, 12)
    dead = """
import modeldeck.backend.catalog.reader as r, modeldeck.backend.catalog.scanner.watch as w, time
r.list_folder = w.look = lambda path: time.sleep(600)
"""
    app = following(root, Scanners(dead))
    async with app.run_test(size=NARROW) as pilot:
        await wait_until(pilot, lambda: browser_of(pilot).model_list.row_count == 12)
        assert browser_of(pilot).searching  # and the keys work all the same
        await pilot.press("j", "j")
        assert highlighted(pilot) == "m02"


async def test_f26_two_thousand_models_come_piece_by_piece_and_keys_do_not_wait_for_the_last(home: Path) -> None:
    root = home / "models"
    first = model_folder(root / "m0000")
    for number in range(1, 2000):
        shutil.copytree(first, root / f"m{number:04}", copy_function=os.link)
    slow = """
import modeldeck.backend.catalog.scanner.tracked_reader as t, os, time
real = t.read_folder
def read(folder, identity, **options):
    while folder.path.endswith("m1900") and os.path.exists(os.environ["HOME"] + "/gate"):
        time.sleep(0.01)
    return real(folder, identity, **options)
t.read_folder = read
"""
    (home / "gate").touch()
    app = following(root, Scanners(slow), stall_seconds=60)
    async with app.run_test(size=NARROW) as pilot:
        await wait_until(pilot, lambda: browser_of(pilot).model_list.row_count > 100)
        assert browser_of(pilot).searching
        await pilot.press("g", "j", "j")
        assert highlighted(pilot) == "m0002"
        (home / "gate").unlink()
        await listed(pilot, 2000)
        assert highlighted(pilot) == "m0002"


async def test_f26_a_model_that_hangs_is_a_row_that_says_so_and_the_app_lives(root: Path) -> None:
    hangs = """
import modeldeck.backend.catalog.scanner.tracked_reader as t, time
real = t.read_folder
t.read_folder = lambda f, i, **k: time.sleep(600) if f.path.endswith("m05") else real(f, i, **k)
"""
    app = following(root, Scanners(hangs), stall_seconds=1.5)
    async with app.run_test(size=NARROW) as pilot:
        await listed(pilot, 12)
        await pilot.press(*["j"] * 5)
        model = browser_of(pilot).highlighted
        assert model is not None
        assert model.problems == ("Its header took longer than 2 s to read, so it was given up.",)


async def test_a_scanner_that_is_killed_takes_no_row_with_it_and_r_looks_again(root: Path) -> None:
    scanners = Scanners()
    app = following(root, scanners)
    async with app.run_test(size=NARROW) as pilot:
        await listed(pilot, 12)
        os.kill(scanners.pids[0], signal.SIGKILL)
        await wait_until(pilot, lambda: len(scanners.pids) == 2)
        await listed(pilot, 12)
        model_folder(root / "z")
        await pilot.press("r")
        await listed(pilot, 13)


async def test_quitting_leaves_no_scanner(root: Path) -> None:
    scanners = Scanners()
    app = following(root, scanners)
    async with app.run_test(size=NARROW) as pilot:
        await listed(pilot, 12)
        assert psutil.pid_exists(scanners.pids[0])
        await pilot.press("ctrl+q")
    assert not psutil.pid_exists(scanners.pids[0])
