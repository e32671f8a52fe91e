"""The driver of the terminal: what the window's size is, told in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from textual.drivers.linux_driver import LinuxDriver

from modeldeck.tui.driver import TerminalDriver


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGWINCH)
    yield
    signal.signal(signal.SIGWINCH, before)


async def test_f18_a_size_that_comes_while_one_is_measured_is_told_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    both = asyncio.Event()

    def measure(*_: object) -> None:
        this = f"size {len(told)}"
        if not told:
            told.append("measured")
            os.kill(os.getpid(), signal.SIGWINCH)
        told.append(this)
        if len(told) == 3:
            both.set()

    monkeypatch.setattr(
        LinuxDriver, "start_application_mode", lambda _: signal.signal(signal.SIGWINCH, measure), raising=True
    )
    TerminalDriver.__new__(TerminalDriver).start_application_mode()
    os.kill(os.getpid(), signal.SIGWINCH)
    async with asyncio.timeout(10):
        await both.wait()
    assert told == ["measured", "size 0", "size 2"]


async def test_a_driver_that_was_not_let_in_listens_to_no_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGWINCH, signal.SIG_DFL)
    monkeypatch.setattr(LinuxDriver, "start_application_mode", lambda _: None)
    TerminalDriver.__new__(TerminalDriver).start_application_mode()
    assert signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL
