"""The terminal goes away: the program ends at once, with SIGHUP ignored too, and no engine stays."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from modeldeck.tui.terminal import HANGUP_EXIT

pytestmark = pytest.mark.pty
_DECK = (str(Path(sys.executable).with_name("modeldeck")),)


def _children_when_up(process: subprocess.Popen[bytes], master: int) -> list[psutil.Process]:
    """Read the screen until all panes are up and the spare engine runs."""
    written = b""
    deadline = monotonic() + 40
    os.set_blocking(master, False)
    while monotonic() < deadline:
        try:
            written += os.read(master, 65536)
        except BlockingIOError:
            sleep(0.02)
        children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
        if b"NOT LOADED" in written and children:
            return children
    raise AssertionError(f"never came up: {written[-500:]!r}")


@pytest.mark.parametrize("ignored", [False, True], ids=["SIGHUP", "SIGHUP ignored"])
def test_a_lost_terminal_ends_the_program_and_its_engine(home: Path, ignored: bool) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def in_the_child() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color"}
    process = subprocess.Popen(
        _DECK, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True, preexec_fn=in_the_child
    )
    os.close(slave)
    try:
        children = _children_when_up(process, master)
        os.close(master)
        assert process.wait(timeout=15) == HANGUP_EXIT
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    finally:
        process.kill()
        process.wait()
