"""A program in a pseudo-terminal, watched for what it draws."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter

import pyte

_QUIET = 1.0


class InPty:
    """Everything that a program wrote to its terminal so far, and how long that took."""

    def __init__(self, master: int, started: float, columns: int, lines: int) -> None:
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
            try:
                piece = os.read(self._master, 65536) if ready else b""
            except OSError:  # EIO: the program has closed its terminal
                piece = b""
            if not piece:
                missing = [mark.decode() for mark in wanted if mark not in self._written]
                raise RuntimeError(f"never drawn: {missing}\n{self._written[-2000:]!r}")
            self._take(piece)
        return perf_counter() - self._started

    def seconds_until_screen(self, shows: Callable[[Sequence[str]], bool], limit: float = 60.0) -> float:
        """Seconds from the start until the screen first showed this; ``shows`` gets its lines.

        What was written is drawn afterwards, from the times at which it came, so that drawing slows nothing down: the
        program is read until it has been quiet for a second. Raises RuntimeError when it never showed it.
        """
        while perf_counter() < self._started + limit and select.select([self._master], [], [], _QUIET)[0]:
            self._take(os.read(self._master, 65536))
        screen = pyte.Screen(self._columns, self._lines)
        stream = pyte.ByteStream(screen)
        for seconds, piece in self._pieces:
            stream.feed(piece)
            if shows(screen.display):
                return seconds
        raise RuntimeError("never shown:\n" + "\n".join(screen.display))

    def _take(self, piece: bytes) -> None:
        self._written += piece
        self._pieces.append((perf_counter() - self._started, piece))

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

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())


@contextmanager
def in_pty(command: Sequence[str], environ: Mapping[str, str], columns: int = 120, lines: int = 40) -> Iterator[InPty]:
    """Start a program in a terminal of its own; on leaving it is killed and reaped."""
    started = perf_counter()
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.execve(command[0], list(command), dict(environ))
    try:
        yield InPty(master, started, columns, lines)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)
