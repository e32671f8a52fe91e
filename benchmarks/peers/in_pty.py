"""A program in a pseudo-terminal, watched for what it draws."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter, sleep

import psutil
import pyte

_QUIET = 1.0
_END_SECONDS = 5.0
"""How long the children of a program may take to end once it is gone."""


class InPty:
    """Everything that a program wrote to its terminal so far, and how long that took."""

    def __init__(self, pid: int, master: int, started: float, columns: int, lines: int) -> None:
        self.pid = pid
        self._columns, self._lines = columns, lines
        self._master = master
        self._started = started
        self._written = b""
        self._pieces: list[tuple[float, bytes]] = []

    def seconds_until(self, *marks: str, limit: float = 60.0) -> float:
        """Seconds from the start until all marks were written.

        Raises RuntimeError when that never happens.
        """
        wanted = [mark.encode() for mark in marks]
        while not all(mark in self._written for mark in wanted):
            left = self._started + limit - perf_counter()
            ready = select.select([self._master], [], [], max(0.0, left))[0]
            if not ready or not self._take_some():
                missing = [mark.decode() for mark in wanted if mark not in self._written]
                raise RuntimeError(f"never drawn: {missing}\n{self._written[-2000:]!r}")
        return perf_counter() - self._started

    def seconds_until_screen(self, hint: str, shows: Callable[[Sequence[str]], bool], limit: float = 60.0) -> float:
        """Seconds from the start until the screen first showed this; ``shows`` gets its lines.

        What was written is drawn afterwards, from the times at which it came, so that drawing slows nothing down: that
        is when ``hint``, a pattern, was written, or when the program has been quiet for a second. Raises RuntimeError
        when it never showed it.
        """
        pattern = re.compile(hint.encode())
        screen = pyte.Screen(self._columns, self._lines)
        stream = pyte.ByteStream(screen)
        drawn = 0
        while perf_counter() < self._started + limit:
            quiet = not select.select([self._master], [], [], _QUIET)[0]
            if not quiet and not self._take_some():
                break
            if quiet or pattern.search(b"".join(piece for _, piece in self._pieces[max(0, drawn - 1) :])):
                for seconds, piece in self._pieces[drawn:]:
                    stream.feed(piece)
                    drawn += 1
                    if shows(screen.display):
                        return seconds
        raise RuntimeError("never shown:\n" + "\n".join([*screen.display, repr(self._written[-2000:])]))

    def _take_some(self) -> bool:
        """Take what was written; False when the program has closed its terminal."""
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # EIO
            return False
        self._written += piece
        self._pieces.append((perf_counter() - self._started, piece))
        return bool(piece)

    def answer(self, keys: str, mark: str, limit: float = 30.0) -> tuple[float, float]:
        """Press keys; seconds until anything is drawn, and until the mark is.

        Raises RuntimeError when that never happens.
        """
        self.drain()
        wanted, written, first = mark.encode(), b"", None
        pressed = perf_counter()
        self.type(keys)
        while wanted not in written:
            left = pressed + limit - perf_counter()
            if not select.select([self._master], [], [], max(0.0, left))[0]:
                raise RuntimeError(f"never drawn: {mark!r}\n{written[-2000:]!r}")
            written += os.read(self._master, 65536)
            first = first or perf_counter() - pressed
        return first or 0.0, perf_counter() - pressed

    def drain(self) -> None:
        """Take what was written, without waiting for more."""
        try:
            while select.select([self._master], [], [], 0)[0] and os.read(self._master, 65536):
                pass
        except OSError:  # EIO: the program has closed its terminal
            return

    def let_run(self, seconds: float) -> None:
        """Take what is written for so long."""
        until = perf_counter() + seconds
        while (left := until - perf_counter()) > 0:
            if select.select([self._master], [], [], left)[0] and not self._take_some():
                return

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())


@contextmanager
def in_pty(command: Sequence[str], environ: Mapping[str, str], columns: int = 120, lines: int = 40) -> Iterator[InPty]:
    """Start a program in a terminal of its own.

    On leaving it is killed and reaped, and its children are gone: whatever is measured next has the machine for itself.
    """
    started = perf_counter()
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.execve(command[0], list(command), dict(environ))
    try:
        yield InPty(pid, master, started, columns, lines)
    finally:
        family = psutil.Process(pid).children(recursive=True)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)
        deadline = perf_counter() + _END_SECONDS
        while any(map(_runs, family)) and perf_counter() < deadline:
            sleep(0.01)


def _runs(process: psutil.Process) -> bool:
    """Whether it takes part in anything; where the first process reaps nobody, a zombie stays for ever."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def of_a_user(home: str | os.PathLike[str], **more: str) -> dict[str, str]:
    """The environment of a user with this home folder; ``more`` goes into it, too."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "TERM": "xterm-256color"} | more
