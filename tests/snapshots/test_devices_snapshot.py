"""A picture of the devices pane: two GPUs with their last two minutes, RAM and swap."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from math import sin
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from modeldeck.backend.memory import DeviceMemory, DeviceProcess, MemoryMonitor, MemoryReading
from modeldeck.backend.nvml import Nvml
from modeldeck.tui.memory_history import LENGTH, MemoryHistory
from tests.fakes.gpu_drivers import FakePynvml
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, deck, deck_of, opened

SnapCompare = Callable[..., bool]
GB = 10**9
PROCESSES = (
    DeviceProcess(pid=4312, user="uid 1004", name="python3", used_bytes=17_900_000_000),
    DeviceProcess(pid=51_877, user="ana", name="python3", used_bytes=12 * GB, ours=True),
)


class SameMachine:
    """GPUs of the fake driver; all that depends on the machine that runs the test is always the same."""

    def __init__(self, ml: FakePynvml) -> None:
        self._monitor = MemoryMonitor([Nvml(lambda: ml)], environ={})

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        reading = self._monitor.read()
        first, *others = reading.devices
        return msgspec.structs.replace(
            reading,
            devices=(msgspec.structs.replace(first, processes=PROCESSES), *others),
            ram=DeviceMemory(name="ram", label="RAM", used_bytes=41 * GB, total_bytes=128 * GB),
            swap=DeviceMemory(name="swap", label="Swap", used_bytes=GB, total_bytes=8 * GB),
            engine_bytes=2 * GB,
        )


def test_devices(snap_compare: SnapCompare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-box-3")
    ml = FakePynvml()
    machine = SameMachine(ml)

    async def look(pilot: Pilot[Any]) -> None:
        pilot.app.animation_level = "none"
        await opened(pilot)
        feed = deck_of(pilot).services.memory
        feed.history = MemoryHistory()
        for second in range(LENGTH + 1):
            ml.busy[ml.devices[0]] = round(50 + 49 * sin(second / 9))
            ml.used[ml.devices[0]] = (20 + second // 3) * GB
            feed.history.add(machine.read())
        monkeypatch.setattr(feed.history, "add", lambda reading: None)
        await pilot.press("m")
        await wait_until(pilot, lambda: "60.0 of 85.9 GB" in screen_text(pilot.app))
        await wait_until(pilot, lambda: "60.0/85.9 GB" in screen_text(pilot.app))
        await pilot.pause()

    assert snap_compare(deck(monitor=machine), terminal_size=NARROW, run_before=look)
