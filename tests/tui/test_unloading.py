"""Stories of a model that goes: what came back is said, and a load that fails leaves the one before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.widgets import Button

from modeldeck.backend.memory import DeviceMemory, DeviceProcess, EngineMemory, MemoryReading
from modeldeck.backend.models import LoadRequest, ModelStatus
from modeldeck.config.settings import Settings
from modeldeck.tui.screens.confirm import Confirm
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.screens.load_dialog import LoadDialog
from tests.helpers import screen_text, wait_until
from tests.tui.deck import MODELS, NARROW, WIDE, deck, opened, until_status

GB = 10**9
ONE = Settings(max_models=1)
"""A second model replaces the first."""
BOTH_SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])


class HeldGpu:
    """A GPU of which an engine takes 14.2 GB; ``stays`` of them are still used when it is gone."""

    def __init__(self, stays: int = 0) -> None:
        self.stays = stays
        self.seen = 0

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        self.seen = pids[0] if pids else self.seen
        used = 14_200_000_000 if pids else self.stays if self.seen else 0
        process = DeviceProcess(pid=self.seen or 1, user="root", name="python", used_bytes=used, ours=bool(pids))
        gpu = DeviceMemory(
            name="cuda:0",
            label="GPU",
            used_bytes=used,
            total_bytes=80 * GB,
            processes=(process,) if used else (),
        )
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=0, total_bytes=GB * 99)
        return MemoryReading(devices=(gpu,), ram=ram, engines=tuple(EngineMemory(pid, 0) for pid in pids))


@BOTH_SIZES
async def test_an_unload_says_what_came_back(size: tuple[int, int]) -> None:
    app = deck(monitor=HeldGpu())
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("u")
        await wait_until(pilot, lambda: "NOT LOADED · freed 14.2 GB of cuda:0" in screen_text(app))
        assert any("Unloaded Qwen3-8B: freed 14.2 GB of cuda:0." in line for line in app.services.log.lines)


async def test_f10_memory_that_does_not_come_back_is_told_with_who_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldeck.backend.unloading.Unloading.finish.__defaults__", (0.0,))
    app = deck(monitor=HeldGpu(stays=12 * GB))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("u")
        await wait_until(pilot, lambda: "freed 2.2 of 14.2 GB of cuda:0" in screen_text(app))
        told = "Only 2.2 of 14.2 GB of cuda:0 came back. On it now: python (pid "
        assert any(told in line for line in app.services.log.lines)


async def test_f8_a_load_that_fails_brings_the_model_before_back_and_says_so() -> None:
    app = deck("serve", "fail-load memory It needs 152.3 GB.\nserve", "serve", settings=ONE)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", *"draft")
        await pilot.press("escape", "j", "l")
        await wait_until(pilot, lambda: isinstance(app.screen, LoadDialog))
        await wait_until(pilot, lambda: "Unloads Qwen3-8B (1.0 GB) first, and loads it again if" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.services.manager.failure is not None)
        await until_status(pilot, ModelStatus.LOADED)
        await wait_until(pilot, lambda: "Llama-3.3-70B failed, and Qwen3-8B is" in screen_text(app))
        assert "● LOADED Qwen3-8B" in screen_text(app)
        assert "draft" in screen_text(app)
        assert screen_text(app).count("Llama-3.3-70B failed, and") == 1
        assert [line for line in app.services.log.lines if "FAILED" in line] == [
            "FAILED Llama-3.3-70B: It needs 152.3 GB."
        ]
        await wait_until(pilot, lambda: "e Error" in screen_text(app))
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        assert "Llama-3.3-70B failed" in screen_text(app)
        assert "It needs 152.3 GB." in screen_text(app)
        await wait_until(
            pilot, lambda: "e shows why." not in screen_text(app)
        )  # no toast is left, nor behind the dialog
        await pilot.press("enter")  # again: the fourth engine takes it
        await wait_until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.services.manager.failure is None)
        await until_status(pilot, ModelStatus.LOADED)
        assert app.services.manager.request is not None
        assert app.services.manager.request.model_id == MODELS[1].id


async def test_the_failure_is_told_before_the_model_is_back_and_stays_told_when_that_is_cancelled(
    tmp_path: Path,
) -> None:
    app = deck("serve", "fail-load memory no room\nserve", f"load-gate {tmp_path / 'never'}\nserve", settings=ONE)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: "Unloads Qwen3-8B (1.0 GB). Then loads Llama-3.3-70B" in screen_text(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: "Llama-3.3-70B failed, and Qwen3-8B is" in screen_text(app))
        assert "◐ LOADING Qwen3-8B" in screen_text(app)
        await pilot.press("escape")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        assert any(line == "FAILED Llama-3.3-70B: no room" for line in app.services.log.lines)


async def test_other_options_that_fail_are_told_when_the_same_model_is_back() -> None:
    app = deck("serve", "fail-load memory no room\nserve", "serve")
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        other = replace(app.main_screen.loads.request_for(MODELS[0]), dtype="float32")
        app.main_screen.loads.start(MODELS[0], other)
        await wait_until(pilot, lambda: "Qwen3-8B failed with these options and" in screen_text(app))
        await until_status(pilot, ModelStatus.LOADED)
        assert app.services.manager.request == replace(other, dtype="auto")


async def test_a_question_about_a_load_follows_what_becomes_of_it(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    app = deck(f"load-gate {gate}\nserve", "serve", settings=ONE)
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADING)
        await pilot.press("j", "enter")
        await wait_until(pilot, lambda: "Qwen3-8B is still loading, and stops. Then loads" in screen_text(app))
        gate.touch()
        await wait_until(pilot, lambda: "Unloads Qwen3-8B" in screen_text(app))
        assert "still loading" not in screen_text(app)
        await pilot.press("escape")


async def test_a_cancelled_load_does_not_say_what_an_older_unload_freed(tmp_path: Path) -> None:
    app = deck("serve", f"load-gate {tmp_path / 'never'}\nserve", monitor=HeldGpu())
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("u")
        await wait_until(pilot, lambda: "freed 14.2 GB" in screen_text(app))
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADING)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "NOT LOADED · enter loads" in screen_text(app))


async def test_the_buttons_of_a_long_error_are_in_a_small_window() -> None:
    failing = "ready\nwait load\n" + "\n".join(f"stderr line {number}" for number in range(60)) + "\nexit 3"
    app = deck(failing)
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.FAILED)
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        for button in app.screen.query(Button):
            assert app.screen.region.contains_region(button.region)
        await wait_until(pilot, lambda: "Try again" in screen_text(app))


class SmallGpu:
    """12 GB free, where Qwen3-8B in bfloat16 needs 16.4 and more; an engine takes all of them while it tries."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        used = 23 * GB if pids else 12 * GB
        gpu = DeviceMemory(name="cuda:0", label="GPU", used_bytes=used, total_bytes=24 * GB)
        return MemoryReading(
            devices=(gpu,), ram=DeviceMemory(name="ram", label="RAM", used_bytes=0, total_bytes=64 * GB)
        )


async def test_f8_a_load_without_room_says_the_figures_and_what_to_press(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    failing = f"ready\nwait load\ngate {gate}\nfailed memory There is not enough memory."
    app = deck(failing, "serve", monitor=SmallGpu())
    async with app.run_test(size=(150, 30)) as pilot:
        await opened(pilot)
        await wait_until(pilot, lambda: app.main_screen.fitting.estimate(MODELS[0]) is not None)
        app.main_screen.loads.start(MODELS[0], LoadRequest(model_id=MODELS[0].id, path=MODELS[0].path, device="cuda:0"))
        await wait_until(pilot, lambda: "23.0/24.0 GB" in screen_text(app))
        gate.touch()
        await until_status(pilot, ModelStatus.FAILED)
        line = "✗ FAILED Qwen3-8B · needs about 19.6 GB, 12.0 GB free on cuda:0 · l: load in "
        await wait_until(pilot, lambda: line in screen_text(app))
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        assert "There is not enough memory." in screen_text(app)
        assert "12.0 GB free on cuda:0" in screen_text(app)


async def test_the_speed_of_a_reply_goes_when_another_begins(tmp_path: Path) -> None:
    app = deck(f"reply-gate {tmp_path / 'never'}\nserve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        assert app.main_screen.status is not None
        app.main_screen.status.speed = 61.2
        await wait_until(pilot, lambda: "61.2 tok/s" in screen_text(app))
        await pilot.press("tab", *"hi", "enter")
        await wait_until(pilot, lambda: "61.2 tok/s" not in screen_text(app))


async def test_the_speed_of_a_reply_goes_with_its_model() -> None:
    app = deck(f"pace 0.01\nreply {'word ' * 400}\nserve")
    async with app.run_test(size=WIDE) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await pilot.press("tab", *"hi", "enter")
        await wait_until(pilot, lambda: "tok/s" in screen_text(app))
        await pilot.press("shift+tab", "u")
        await until_status(pilot, ModelStatus.NOT_LOADED)
        await wait_until(pilot, lambda: "· cancelled" in screen_text(app))
        await wait_until(pilot, lambda: "tok/s" not in screen_text(app).splitlines()[-2])
