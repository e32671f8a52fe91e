"""The status bar's own work: memory as the feed tells it, and clocks that do not disturb each other."""

from __future__ import annotations

import pytest

from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.nvml import Nvml
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.widgets import status_bar
from tests.fakes.gpu_drivers import FakePynvml
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, opened


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
