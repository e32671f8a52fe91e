"""The status bar's own work: memory as the feed tells it, and clocks that do not disturb each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldeck.backend.load_follower import Outlook
from modeldeck.backend.load_times import PastLoads, StageTime
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.models import LoadStage, ModelStatus
from modeldeck.backend.nvml import Nvml
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.widgets import status_bar
from tests.fakes.gpu_drivers import FakePynvml
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, opened, until_status


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
async def test_the_gpus_are_told_at_the_feeds_pace(size: tuple[int, int]) -> None:
    ml = FakePynvml()
    app = deck(monitor=MemoryMonitor([Nvml(lambda: ml)], environ={}))
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: "10.7/85.9 GB" in screen_text(app))
        ml.used[ml.devices[0]] *= 2
        await wait_until(pilot, lambda: "21.5/85.9 GB" in screen_text(app))


async def test_the_feed_is_the_only_reader() -> None:
    ml = FakePynvml()
    app = deck(monitor=MemoryMonitor([Nvml(lambda: ml)], environ={}))
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: app.services.memory.reading is not None)
        assert ml.called.count("nvmlInit") == 1


async def test_a_download_does_not_restart_the_clock_of_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(status_bar, "monotonic", lambda: now)
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        bar = app.main_screen.status
        assert bar is not None
        bar.engine = EngineView(ModelStatus.LOADING, "q", "Qwen3-8B")
        now = 130.0
        bar.download_name = "org/name"
        now = 135.0
        await wait_until(pilot, lambda: (bar.elapsed, bar.download_elapsed) == (35, 5))


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
async def test_a_second_load_says_how_long_it_will_take(size: tuple[int, int], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    app = deck(f"ready\nwait load\nprogress warming_up 0 0\ngate {gate}\nfinished\nserve")
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "warming up · 0 s so far · esc cancels" in screen_text(app))
        gate.touch()
        await until_status(pilot, ModelStatus.LOADED)
        request = app.services.manager.request
        assert request is not None
        file = app.services.paths.load_times
        await wait_until(pilot, lambda: LoadStage.WARMING_UP in PastLoads(file).find(request))
        await pilot.press("u")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        gate.unlink()
        for _ in range(5):  # as if it had taken long
            app.services.past_loads.keep(request, {LoadStage.WARMING_UP: StageTime(320.0)})
        await pilot.press("enter")
        await wait_until(pilot, lambda: "warming up · " in screen_text(app) and "about 5 min" in screen_text(app))
        assert "esc cancels" in screen_text(app)


async def test_what_is_left_is_shown_in_whole_seconds_and_goes_with_the_load() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        bar = app.main_screen.status
        assert bar is not None
        bar.look_ahead = lambda: Outlook(2.9e9, 0.6)
        bar.engine = EngineView(ModelStatus.LOADING, "q", "Qwen3-8B")
        await wait_until(pilot, lambda: (bar.rate, bar.seconds_left) == (2.9e9, 1))
        bar.look_ahead = Outlook
        bar.engine = EngineView()
        assert (bar.rate, bar.seconds_left) == (None, None)
