"""Random things that a person may do, one after the other, and none of them breaks the app.

``make soak`` runs a thousand of them against the scripted engine and fifty against a real model, from a seed of its
own, which a failure prints; ``SOAK_SEED=7 make soak`` replays one. ``make test`` runs a short one from a seed that
stays.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path, PurePath
from random import Random
from time import monotonic
from typing import ClassVar

import psutil
import pytest
from textual.pilot import Pilot

import modeldeck.tui
from benchmarks.sides import make_llama
from modeldeck.backend.models import ModelStatus
from modeldeck.config.paths import Paths
from modeldeck.tui import memory_feed
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.services import build_services
from tests.helpers import screen_text
from tests.soak.doings import Doing, random_doings
from tests.tui.conftest import RoomyMachine
from tests.tui.deck import FakeCatalog, services

ACTIONS = int(os.environ.get("SOAK_ACTIONS", "80"))
REAL_ACTIONS = int(os.environ.get("SOAK_REAL_ACTIONS", "0"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
ON_THE_WAY = {ModelStatus.LOADING, ModelStatus.UNLOADING, ModelStatus.PARKING, ModelStatus.WAKING}
SCRIPTS = (
    *("serve",) * 6,
    "thinks Let me see.\nserve",
    "pace 0\nreply " + "word " * 400 + "\nserve",
    "ready\nwait load\nprogress reading_weights 1 2\nstderr CUDA error: out of memory\nexit 9",
    "ready\nwait load\nfailed memory There is not enough memory.",
    "ready\nwait load\nfinished\nwait generate\ntokens half a rep\nsignal SEGV",
    "ready\nwait load\nfinished\nwait generate\nreply-failed The device ran out of memory for this reply.",
    "ready\nsignal KILL",
    "flood log 300\nserve",
)
_TUI = Path(modeldeck.tui.__file__ or "").parent
KEPT_BYTES = 8 * 2**20
"""Whatever is done for the first time imports something."""
KEPT_BYTES_EACH = 50_000
"""Of a doing: a turn of a conversation, a row of the list, lines of the log."""


class Staying(ModeldeckApp):
    """The app, which a random choice in the palette cannot end."""

    CSS_PATH: ClassVar[list[str | PurePath]] = [_TUI / name for name in ModeldeckApp.CSS_PATH]
    may_leave = False

    async def action_quit(self) -> None:
        """Only at the end."""
        if self.may_leave:
            await super().action_quit()


class Weariness:
    """What must not grow: descriptors, threads, tasks and widgets."""

    def __init__(self, app: ModeldeckApp) -> None:
        gc.collect()
        process = psutil.Process()
        self.descriptors = process.num_fds()
        self.threads = process.num_threads()
        self.tasks = len(asyncio.all_tasks())
        self.widgets = sum(1 for _ in app.main_screen.walk_children())
        self.bytes = process.memory_info().rss

    def __str__(self) -> str:
        return (
            f"{self.descriptors} descriptors, {self.threads} threads, {self.tasks} tasks, {self.widgets} widgets, "
            f"{self.bytes / 2**20:.0f} MB"
        )


def assert_no_leak(before: Weariness, after: Weariness, actions: int) -> None:
    """What is said and listed may have grown, and nothing else."""
    story = f"before: {before}; after {actions} actions: {after}"
    assert after.descriptors <= before.descriptors + 8, story
    assert after.threads <= before.threads + 8, story
    assert after.tasks - after.widgets <= before.tasks - before.widgets + 8, story  # each widget has a task
    assert after.bytes <= before.bytes + KEPT_BYTES + actions * KEPT_BYTES_EACH, story


def on_the_way(app: ModeldeckApp) -> bool:
    """Whether something has not come to its end yet."""
    manager = app.services.manager
    return manager.status in ON_THE_WAY or manager.generating


async def settle(pilot: Pilot[int], app: ModeldeckApp) -> None:
    """Close whatever is open and stop whatever runs; what does not come to rest is stuck."""
    deadline = monotonic() + 60
    await pilot.resize_terminal(120, 40)
    while len(app.screen_stack) > 1 or on_the_way(app):
        assert monotonic() < deadline, f"stuck in {app.services.manager.status}:\n{screen_text(app)}"
        await pilot.press("escape")
        await pilot.pause(0.02)
    for resident in tuple(app.services.manager.residents):
        await app.services.manager.unload(resident.model_id)
    await pilot.pause()


async def live(app: Staying, random: Random, doings: list[Doing], actions: int) -> None:
    """Do them all, and look after each whether the app still lives."""
    done: list[str] = []
    before = None
    try:
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await pilot.pause()
            for number in range(actions):
                doing = random.choices(doings, [one.weight for one in doings])[0]
                done.append(doing.name)
                start = monotonic()
                await doing.do(pilot, random)
                await pilot.pause()
                assert monotonic() - start < 20, f"{doing.name} took {monotonic() - start:.0f} s"
                assert app.is_running, f"{doing.name} ended the app"
                if number == actions // 2:
                    await settle(pilot, app)
                    before = Weariness(app)
            await settle(pilot, app)
            assert before is not None
            assert_no_leak(before, Weariness(app), actions // 2)
            app.may_leave = True
            await app.action_quit()
            await pilot.pause()
    except BaseException:
        sys.stderr.write(f"SOAK_SEED={SEED}: after {len(done)} actions; the last ones: {', '.join(done[-30:])}\n")
        raise
    assert not app.crashed


@pytest.mark.timeout(0)
async def test_nothing_that_a_person_does_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_feed, "open_monitor", RoomyMachine)
    random, of_engines = Random(SEED), Random(SEED + 1)

    catalog = FakeCatalog()
    built = services(*(of_engines.choice(SCRIPTS) for _ in range(20 * ACTIONS)), catalog=catalog)
    await live(Staying(built), random, random_doings(catalog, built.paths), ACTIONS)


@pytest.mark.real_model
@pytest.mark.timeout(0)
@pytest.mark.skipif(not REAL_ACTIONS, reason="make soak runs it")
async def test_nothing_breaks_it_with_a_real_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_llama(tmp_path / "models" / "llama")
    monkeypatch.setenv("MODELDECK_MODEL_DIRS", str(tmp_path / "models"))
    paths = Paths.from_environment()
    await live(Staying(build_services(paths)), Random(SEED), random_doings(None, paths), REAL_ACTIONS)
