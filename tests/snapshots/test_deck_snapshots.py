"""How the deck looks; ``--snapshot-update`` draws it anew."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea

from modeldeck.backend.memory import DeviceMemory, MemoryReading
from modeldeck.backend.models import ModelStatus
from modeldeck.tui import memory_feed
from modeldeck.tui.screens.error_dialog import ErrorDialog
from modeldeck.tui.screens.load_dialog import LoadDialog
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, WIDE, FakeCatalog, deck, deck_of, opened, until_status

SnapCompare = Callable[..., bool]
FAILS = "ready\nwait load\nfailed memory It needs 152.3 GB, 80.0 GB are free on cuda:0."


class FakeMonitor:
    """One GPU, always the same."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=10**10, total_bytes=10**11, utilization=None)
        gpu = DeviceMemory(
            name="cuda:0", label="H100", used_bytes=18_400_000_000, total_bytes=80_000_000_000, utilization=34
        )
        return MemoryReading(devices=(gpu,), ram=ram, engine_bytes=0, problem="")


@pytest.fixture(autouse=True)
def _same_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-box-3")
    monkeypatch.setattr(memory_feed, "open_monitor", FakeMonitor)


async def ready(pilot: Pilot[Any], rows: int = 4) -> None:
    pilot.app.animation_level = "none"
    await opened(pilot, rows)
    pilot.app.query_one(TextArea).cursor_blink = False
    await wait_until(pilot, lambda: "18.4" in screen_text(pilot.app))
    if rows:
        await wait_until(pilot, lambda: "✓" in screen_text(pilot.app))
        await pilot.pause()


async def still(pilot: Pilot[Any], mark: str) -> None:
    await wait_until(pilot, lambda: mark in screen_text(pilot.app))
    await pilot.pause()


def test_wide_with_a_model_loaded(snap_compare: SnapCompare) -> None:
    async def load(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.LOADED)
        await still(pilot, "u Unload")
        await still(pilot, "⏎ Chat")
        await still(pilot, "512 tokens")

    assert snap_compare(deck(), terminal_size=WIDE, run_before=load)


def test_narrow(snap_compare: SnapCompare) -> None:
    assert snap_compare(deck(), terminal_size=NARROW, run_before=ready)


def test_empty(snap_compare: SnapCompare) -> None:
    async def wait(pilot: Pilot[Any]) -> None:
        await ready(pilot, rows=0)
        await still(pilot, "No models found")

    assert snap_compare(deck(catalog=FakeCatalog([])), terminal_size=NARROW, run_before=wait)


def test_load_dialog(snap_compare: SnapCompare, monkeypatch: pytest.MonkeyPatch) -> None:
    from modeldeck.tui.widgets import load_fields

    monkeypatch.setattr(load_fields, "_devices", lambda: ("auto", "cuda:0", "cpu"))

    async def ask(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LoadDialog))
        await still(pilot, "Needs about")

    assert snap_compare(deck(), terminal_size=NARROW, run_before=ask)


def test_error(snap_compare: SnapCompare) -> None:
    async def fail(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        await pilot.press("enter")
        await until_status(pilot, ModelStatus.FAILED)
        await still(pilot, "e Error")
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ErrorDialog))
        await still(pilot, "Try again")

    assert snap_compare(deck(FAILS), terminal_size=(100, 30), run_before=fail)


def test_help(snap_compare: SnapCompare) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        deck_of(pilot).action_help()
        await wait_until(pilot, lambda: pilot.app.screen.query("#help-keys"))
        keys = pilot.app.screen.query_one("#help-keys")
        await wait_until(pilot, lambda: keys.show_vertical_scrollbar)
        await still(pilot, "Load the highlighted model")  # laid out anew beside the scroll bar

    assert snap_compare(deck(), terminal_size=(100, 40), run_before=ask)
