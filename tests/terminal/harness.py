"""The installed command in a real pseudo-terminal: keys go in, and the screen is what pyte makes of the bytes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pyte

MODELDECK = (str(Path(sys.executable).with_name("modeldeck")),)
KEYS = {"enter": "\r", "escape": "\x1b", "tab": "\t", "shift+tab": "\x1b[Z", "down": "\x1b[B", "up": "\x1b[A"}
KEYS |= {f"ctrl+{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"}

_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1b[P_^][^\x1b]*\x1b\\")
_UNFINISHED = re.compile(rb"\x1b[^\x1b]{0,40}\Z")


class Terminal:
    """A pseudo-terminal with a program in it."""

    def __init__(
        self, command: tuple[str, ...], env: Mapping[str, str], columns: int, rows: int, ignoring: Iterable[int] = ()
    ) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.modes_before: list[Any] = termios.tcgetattr(slave)
        self._slave = slave  # kept open, so that the modes can be read after the program has left
        self.written = bytearray()
        """Every byte that the program wrote."""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._held_back = b""

        def in_the_child() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started by nohup
            for number in ignoring:
                signal.signal(number, signal.SIG_IGN)

        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=dict(env), start_new_session=True,
            preexec_fn=in_the_child,
        )  # fmt: skip  # one call, before any thread of the test is started
        self.seen: set[psutil.Process] = set()
        """Every child of the program that ``children`` ever found."""

    @property
    def text(self) -> str:
        """The screen as a person reads it."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def modes_now(self) -> list[Any]:
        """The terminal's modes, as ``termios.tcgetattr`` has them."""
        modes: list[Any] = termios.tcgetattr(self._slave)
        return modes

    def children(self) -> list[psutil.Process]:
        """The processes below the program: engines, the spare included."""
        with suppress(psutil.NoSuchProcess):
            found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
            self.seen.update(found)
            return found
        return []

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal another size; the program is told by SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "_screen"):
            self._screen.resize(rows, columns)

    def press(self, *keys: str) -> None:
        """Type named keys, or text as it stands."""
        for key in keys:
            os.write(self.master, KEYS.get(key, key).encode())

    def hang_up(self) -> None:
        """The connection is lost: nothing can be read or written any more."""
        os.close(self.master)
        self.master = -1

    def stall(self, stalled: bool = True) -> None:
        """As a link does that takes nothing any more: whoever writes to the terminal waits; or let it go on."""
        termios.tcflow(self._slave, termios.TCOOFF if stalled else termios.TCOON)

    def wait_for(self, what: str | Callable[[], object], seconds: float = 20.0) -> None:
        """Read what the program writes until a text is on the screen or a condition holds."""
        deadline = monotonic() + seconds
        while not (what in self.text if isinstance(what, str) else what()):
            assert monotonic() < deadline, f"never happened: {what}\n{self.text}"
            self._read(0.05)

    def ended(self, seconds: float = 20.0) -> int:
        """Wait for the end and return the exit code; 128 + N for signal N, as a shell has it."""
        self.wait_for(lambda: self.process.poll() is not None, seconds)
        while self._read(0.0):
            pass
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def close(self) -> None:
        """End whatever is left."""
        left = [*self.children(), *self.seen]
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        if self.master >= 0:
            os.close(self.master)
        os.close(self._slave)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        chunk = os.read(self.master, 65536)
        self.written += chunk
        data = self._held_back + chunk
        unfinished = _UNFINISHED.search(data)
        self._held_back = data[unfinished.start() :] if unfinished and not _complete(unfinished[0]) else b""
        self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data[: len(data) - len(self._held_back)]))
        return True


def _complete(sequence: bytes) -> bool:
    """Whether an escape sequence at the end of what was read has all of its bytes."""
    return re.match(rb"\x1b(\[[0-9;?<>=$]*[@-~]|[^\[P_^\]].*)", sequence, re.DOTALL) is not None


def assert_restored(opened: Terminal) -> None:
    """The terminal is as it was: its modes, and whatever the program had switched on."""
    assert opened.modes_now == opened.modes_before
    written = bytes(opened.written)
    for on, off in (
        (b"\x1b[?1049h", b"\x1b[?1049l"),  # the alternate screen
        (b"\x1b[?25l", b"\x1b[?25h"),  # the cursor
        (b"\x1b[?1000h", b"\x1b[?1000l"),  # the mouse
        (b"\x1b[?1003h", b"\x1b[?1003l"),
        (b"\x1b[?2004h", b"\x1b[?2004l"),  # bracketed paste
    ):
        assert written.rfind(off) > written.rfind(on), f"{off!r} did not follow {on!r}"


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie, which nobody reaps in some containers, does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


@contextmanager
def terminal(
    *arguments: str,
    columns: int = 120,
    rows: int = 40,
    command: tuple[str, ...] = MODELDECK,
    ignoring: Iterable[int] = (),
    **env: str,
) -> Iterator[Terminal]:
    """The installed ``modeldeck`` in a terminal of this size, with the test's own environment; always ended.

    ``ignoring`` are signals that it ignores from the start, as ``nohup`` has it.
    """
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **env}
    for name in ("COLUMNS", "LINES", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    opened = Terminal((*command, *arguments), environment, columns, rows, ignoring)
    try:
        yield opened
    finally:
        opened.close()
