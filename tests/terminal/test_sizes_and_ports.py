"""What can be seen of the running program from outside: any size of its window, and no port."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import Terminal, terminal
from tests.terminal.test_terminal import load
from tests.unit.cli.conftest import write_model

pytestmark = pytest.mark.pty
SIZES = [(400, 100), (20, 5), (61, 17), (1, 1), (100, 30), (59, 40), (99, 30), (300, 3), (2, 80), (160, 45)]


@pytest.fixture(autouse=True)
def _engine(home: Path) -> None:
    write_model(home / "models" / "tiny-llama")
    use_scripted_engine(home)


def test_f18_a_storm_of_sizes_ends_with_a_screen_of_the_last_one() -> None:
    with terminal() as opened:
        load(opened)
        for columns, rows in SIZES * 4:
            opened.resize(columns, rows)
            opened.wait_for(lambda: True)
        opened.resize(59, 15)
        opened.wait_for("at least 60 by 16")
        opened.resize(80, 24)
        opened.wait_for(lambda: "LOADED" in "\n".join(opened.text.splitlines()[20:24]))
        opened.press("ctrl+q")
        assert opened.ended() == 0


def test_s17_nobody_listens_on_any_port() -> None:
    with terminal() as opened:
        load(opened)
        opened.wait_for(lambda: len(opened.children()) >= 3)
        assert not listening(opened)
        opened.press("ctrl+q")
        assert opened.ended() == 0


def listening(opened: Terminal) -> list[object]:
    """Sockets of the program and its children that others can reach: bound to a port or to a path."""
    processes = [psutil.Process(opened.process.pid), *opened.children()]
    sockets = [one for process in processes for one in process.net_connections("all")]
    return [one for one in sockets if one.laddr and not one.raddr]
