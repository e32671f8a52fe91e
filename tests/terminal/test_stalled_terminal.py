"""The link takes nothing for a while, or the program is suspended: nothing is killed and nothing is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic

import psutil
import pytest

from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import Terminal, assert_restored, is_alive, terminal
from tests.terminal.test_terminal import load, say
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty
WORDS = " ".join(f"w{number}" for number in range(400))


@pytest.fixture
def gate(home: Path, tmp_path: Path) -> Path:
    """Opens the rest of a reply, of which two words come at once."""
    write_model(home / "models" / "tiny-llama")
    gate = tmp_path / "gate"
    use_scripted_engine(home).write_text(f"pace 0\nreply-gate {gate}\nreply first words {WORDS} the end\nserve")
    return gate


def _replying(opened: Terminal) -> list[psutil.Process]:
    """Load and ask; returns the children while the reply waits at the gate."""
    load(opened)
    say(opened, "good morning")
    opened.wait_for("first words")
    return opened.children()


def _stall(opened: Terminal) -> None:
    """Take nothing more, until the program itself waits for the terminal."""
    opened.stall()
    process = psutil.Process(opened.process.pid)
    since, used = monotonic(), -1.0

    def waits() -> bool:
        nonlocal since, used
        opened.press("up", "down")  # what only has nothing to do would draw them
        if (now := _of_its_loop(process)) != used:
            since, used = monotonic(), now
        return monotonic() - since > 0.5

    opened.wait_for(waits)


def _of_its_loop(process: psutil.Process) -> float:
    """Processor seconds; another thread reads keys all the while."""
    loop = next(thread for thread in process.threads() if thread.id == process.pid)
    return float(loop.user_time + loop.system_time)


def test_f4_a_link_that_stalls_and_goes_on_loses_nothing(gate: Path) -> None:
    with terminal() as opened:
        children = _replying(opened)
        _stall(opened)
        gate.touch()
        assert all(is_alive(child) for child in children)
        opened.stall(False)
        opened.wait_for("the end")
        opened.wait_for("404 tokens")
        assert all(is_alive(child) for child in children)
        opened.press("ctrl+q")
        assert opened.ended() == 0


def test_f2_f4_a_signal_ends_the_program_though_the_link_takes_nothing(gate: Path) -> None:
    with terminal() as opened:
        _replying(opened)
        _stall(opened)
        os.kill(opened.process.pid, signal.SIGTERM)
        signalled = monotonic()
        opened.wait_for(lambda: not any(is_alive(child) for child in opened.seen), 5)
        assert monotonic() - signalled < 4
        opened.stall(False)
        assert opened.ended(5) == 143
        assert opened.modes_now == opened.modes_before  # more cannot be said to who takes nothing


def test_f17_a_reply_that_ends_while_the_app_is_suspended_is_whole_afterwards(gate: Path) -> None:
    with terminal() as opened:
        children = _replying(opened)
        opened.press("ctrl+z")
        opened.wait_for(lambda: psutil.Process(opened.process.pid).status() == psutil.STATUS_STOPPED)
        assert opened.modes_now == opened.modes_before
        gate.touch()
        assert all(is_alive(child) for child in children)
        opened.process.send_signal(signal.SIGCONT)
        opened.wait_for("the end")
        opened.press("and now", "ctrl+u")
        opened.press("ctrl+q")
        assert opened.ended() == 0
        assert_restored(opened)
