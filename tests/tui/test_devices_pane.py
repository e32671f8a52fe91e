"""The pane of the devices: what it shows, its keys, and that it rests when nothing changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from modeldeck.backend.memory import DeviceMemory, MemoryMonitor, MemoryReading
from modeldeck.backend.nvml import Nvml
from modeldeck.config.settings import Settings
from modeldeck.tui.actions import all_actions
from modeldeck.tui.memory_history import LENGTH
from modeldeck.tui.widgets.devices_view import DevicesView
from modeldeck.tui.widgets.status_bar import StatusBar
from tests.fakes.gpu_drivers import CODES, GB, FakePynvml
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, deck, deck_of, opened


def monitor(ml: FakePynvml) -> MemoryMonitor:
    return MemoryMonitor([Nvml(lambda: ml)], environ={})


async def at_devices(pilot: Pilot[Any], mark: str) -> None:
    await opened(pilot)
    await pilot.press("m")
    await wait_until(pilot, lambda: mark in screen_text(pilot.app))


async def again(pilot: Pilot[Any]) -> None:
    """Wait for one more reading."""
    feed = deck_of(pilot).services.memory
    trace = feed.history.used("ram")
    before = trace.total
    feed.poll()
    await wait_until(pilot, lambda: trace.total > before)


@pytest.mark.parametrize("size", [NARROW, WIDE, (160, 45)], ids=str)
async def test_m_shows_every_gpu_with_its_processes(size: tuple[int, int]) -> None:
    ml = FakePynvml()
    ml.run(os.getpid(), 3 * GB)
    app = deck(monitor=monitor(ml))
    async with app.run_test(size=size) as pilot:
        await at_devices(pilot, "61°C · 412 of 700 W ·   7% busy")
        shown = screen_text(app)
        assert "cuda:1" in shown
        assert f"{os.getpid()}  " in shown
        assert "3.2 GB" in shown
        assert "10.7 of 85.9 GB   12%" in shown
        assert isinstance(app.focused, DevicesView)


@pytest.mark.parametrize("code", CODES)
async def test_f27_with_every_failure_of_nvml_the_app_works_and_says_why(code: int) -> None:
    app = deck(monitor=monitor(FakePynvml(failing={"nvmlInit": code})))
    async with app.run_test(size=NARROW) as pilot:
        await at_devices(pilot, "RAM")
        shown = " ".join(screen_text(app).split())
        assert ("No NVIDIA or AMD driver answers" if code == 12 else f"({code}). It is tried again") in shown
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Qwen3-8B" in screen_text(app))


async def test_f27_a_lost_gpu_is_told_and_the_other_goes_on() -> None:
    ml = FakePynvml()
    app = deck(monitor=monitor(ml))
    async with app.run_test(size=NARROW) as pilot:
        await at_devices(pilot, "cuda:0  H100")
        ml.failing["nvmlDeviceGetMemoryInfo 0"] = 15
        await wait_until(pilot, lambda: "cuda:0  does not answer: GPU is lost (15)." in screen_text(app))
        assert "cuda:1  H100" in screen_text(app)


class Hanging(FakePynvml):
    """A driver that answers only while ``answers`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()

    def _GetMemoryInfo(self, handle: str, version: int | None = None) -> SimpleNamespace:
        self.answers.wait()
        return super()._GetMemoryInfo(handle, version)


async def test_f27_a_driver_that_does_not_answer_is_told_and_its_last_figures_go() -> None:
    ml = Hanging()
    app = deck(monitor=monitor(ml))
    async with app.run_test(size=NARROW) as pilot:
        await at_devices(pilot, "cuda:0  H100")
        ml.answers.clear()
        for _ in range(20):
            app.services.memory.poll()
        await wait_until(pilot, lambda: "The driver has not answered for" in screen_text(app))
        assert "GPU0" not in screen_text(app)
        ml.answers.set()
        await wait_until(pilot, lambda: "cuda:0  H100" in screen_text(app) and "GPU0" in screen_text(app))


class Still:
    """A machine on which nothing happens but what a test does."""

    def __init__(self) -> None:
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=4 * GB, total_bytes=24 * GB)
        gpu = DeviceMemory(name="cuda:0", label="H100 80 GB", used_bytes=GB, total_bytes=80 * GB, utilization=0)
        self.now = MemoryReading(devices=(gpu,), ram=ram)
        self.count = 0

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        self.count += 1
        return self.now

    def use(self, used_bytes: int) -> None:
        gpu = msgspec.structs.replace(self.now.devices[0], used_bytes=used_bytes)
        self.now = msgspec.structs.replace(self.now, devices=(gpu,))


async def test_nothing_is_drawn_again_while_the_figures_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Still()
    app = deck(monitor=machine)
    async with app.run_test(size=(160, 45)) as pilot:
        await at_devices(pilot, "cuda:0  H100")
        for _ in range(LENGTH):  # the sparklines grow until the two minutes are full
            app.services.memory.history.add(machine.now)
        await again(pilot)
        drawn: list[str] = []
        pane, status = app.query_one(DevicesView).query_one(Static), app.query_one(StatusBar)
        monkeypatch.setattr(pane, "update", lambda *_, **__: drawn.append("pane"))
        monkeypatch.setattr(status, "refresh", lambda *_, **__: drawn.append("status"))
        machine.use(GB + 1000)  # rounded, it is the same
        await again(pilot)
        await again(pilot)
        assert drawn == []
        machine.use(3 * GB)
        await wait_until(pilot, lambda: set(drawn) == {"pane", "status"})


async def test_a_pane_that_nobody_sees_is_not_drawn_and_is_right_when_it_is_seen() -> None:
    ml = FakePynvml()
    app = deck(monitor=monitor(ml))
    async with app.run_test(size=NARROW) as pilot:
        await at_devices(pilot, "10.7 of 85.9 GB")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Qwen3-8B" in screen_text(app))
        lines = app.query_one(DevicesView)._lines
        ml.used[ml.devices[0]] = 40 * GB
        await again(pilot)
        await again(pilot)
        assert app.query_one(DevicesView)._lines is lines
        await pilot.press("m")
        await wait_until(pilot, lambda: "42.9 of 85.9 GB" in screen_text(app))


async def test_many_processes_are_reached_with_j_and_k() -> None:
    ml = FakePynvml()
    for pid in range(2**22 + 1, 2**22 + 60):
        ml.run(pid, GB)
    app = deck(monitor=monitor(ml))
    async with app.run_test(size=NARROW) as pilot:
        await at_devices(pilot, "cuda:0  H100")
        assert "RAM" not in screen_text(app)
        await pilot.press("G")
        await wait_until(pilot, lambda: "RAM" in screen_text(app))
        await pilot.press("g")
        await wait_until(pilot, lambda: "cuda:0  H100" in screen_text(app))
        await pilot.press("j", "j")
        await wait_until(pilot, lambda: "cuda:0  H100" not in screen_text(app))
        await pilot.press("k", "up")
        await wait_until(pilot, lambda: "cuda:0  H100" in screen_text(app))
        await again(pilot)
        assert app.query_one(DevicesView).scroll_offset.y == 0


async def test_ascii_keeps_the_heights_of_the_sparklines() -> None:
    ml = FakePynvml()
    app = deck(monitor=monitor(ml), settings=Settings(spare_engine=False, ascii=True))
    async with app.run_test(size=(160, 45)) as pilot:
        await at_devices(pilot, "cuda:0  H100")
        for busy in (0, 30, 60, 100):
            ml.busy[ml.devices[0]] = busy
            for _ in range(4):  # two readings share a cell, and one may have been asked for before
                await again(pilot)
        await wait_until(pilot, lambda: "100%" in screen_text(app))
        shown = screen_text(app)
        assert shown.isascii()
        line = next(line for line in shown.splitlines() if "busy  " in line and "%" not in line)
        assert [mark for mark in "_:=#" if mark in line] == list("_:=#")
        assert "GPU0 #" in shown


async def test_the_pane_stands_in_the_help_and_in_the_palette() -> None:
    app = deck()
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        actions = {action.id: action for action in all_actions(app, app.main_screen, {})}
        show = actions["devices.show"]
        assert (show.area, show.is_command, show.keys) == ("Devices", True, ("m",))
        assert not actions["devices.down"].is_command
        await app.run_deck_action(show)
        await wait_until(pilot, lambda: app.main_screen.pane == "devices")
