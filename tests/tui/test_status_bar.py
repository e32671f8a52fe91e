"""The status bar's own work: it reads the memory at one pace, however often the reading changes."""

from __future__ import annotations

import pytest

from modeldeck.backend.memory import DeviceMemory, MemoryReading
from modeldeck.backend.models import ModelStatus
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.widgets import status_bar
from tests.helpers import wait_until
from tests.tui.deck import WIDE, deck, opened


def reading(used_bytes: int) -> MemoryReading:
    ram = DeviceMemory(name="ram", label="RAM", used_bytes=used_bytes, total_bytes=2**34)
    return MemoryReading(devices=(), ram=ram)


async def test_a_changed_reading_starts_no_other_reader() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        status = app.main_screen.status
        assert status is not None
        for used_bytes in range(5):
            status.memory = reading(used_bytes * 2**30)
            await pilot.pause()
        await wait_until(pilot, lambda: [worker.group for worker in app.workers].count("memory") == 1)


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
