"""What all stories share: a machine on which everything fits, whatever the one is that runs them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from modeldeck.backend.memory import DeviceMemory, EngineMemory, MemoryReading
from modeldeck.tui import memory_feed


class RoomyMachine:
    """A terabyte of RAM, nearly all of it free, and no GPU."""

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=10**10, total_bytes=10**12)
        return MemoryReading(devices=(), ram=ram, engines=tuple(EngineMemory(pid, 10**9) for pid in pids))


@pytest.fixture(autouse=True)
def _roomy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_feed, "open_monitor", RoomyMachine)
