"""Two modeldecks on one machine: what one of them uses, the other tells (F23)."""

from __future__ import annotations

from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.nvml import Nvml
from tests.fakes.driving import load, managing
from tests.fakes.gpu_drivers import GB, FakePynvml
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import screen_text, wait_until
from tests.tui.deck import WIDE, deck, opened


async def test_f23_a_gpu_that_another_modeldeck_uses_is_told_with_its_pid_before_a_load() -> None:
    ml = FakePynvml()
    async with managing(scripted_starter()) as first:
        await load(first)
        (pid,) = first.engine_pids
        ml.run(pid, 17 * GB)
        app = deck(monitor=MemoryMonitor([Nvml(lambda: ml)], environ={}))
        async with app.run_test(size=WIDE) as pilot:
            await opened(pilot)
            await pilot.press("l")
            await wait_until(pilot, lambda: f"Held by others on cuda:0: pid {pid} (" in screen_text(app))
            await pilot.press("escape", "m")
            await wait_until(pilot, lambda: f"{pid}  " in screen_text(app))
            assert "this modeldeck" not in screen_text(app)
