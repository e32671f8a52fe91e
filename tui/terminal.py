"""The terminal may go away, and the program may be told to: both end the engines and leave the terminal usable.

Textual installs no handler for SIGTERM and SIGHUP, and its input thread spins at the end of file of a terminal that
was lost. The event loop may also be blocked, because a stalled terminal blocks Textual's writer: so every orderly end
has a thread beside it that ends the process when the loop does not.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

HANGUP_EXIT = 128 + signal.SIGHUP
TERMINATED_EXIT = 128 + signal.SIGTERM
_ENGINES_GRACE_SECONDS = 1.5
"""How long engines may take to end when the program does; none is there 2 seconds after."""
_GRACE_SECONDS = 3.0
"""How long an orderly end may take before the process is ended."""
_POLL_MILLISECONDS = 500
_RESTORE = (
    b"\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"
    b"\x1b[?2004l\x1b[?2026l\x1b[<u\x1b[?25h\x1b[0m"
)
"""Leaves the alternate screen, mouse tracking, bracketed paste and the kitty keyboard; shows the cursor."""


class TerminalGuard:
    """Ends the program when it is told to, or when its terminal is gone.

    ``leave`` ends the app with an exit code, on its loop; ``engine_pids`` are the leaders of the groups to kill when
    there is no orderly end any more.
    """

    def __init__(self, leave: Callable[[int], None], engine_pids: Callable[[], tuple[int, ...]]) -> None:
        self._leave = leave
        self._engine_pids = engine_pids
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = threading.Event()
        self._armed = threading.Event()
        self._stopped = threading.Event()
        self._modes: list[Any] | None = None
        self._handlers: dict[int, Any] = {}

    def start(self) -> None:
        """Watch from now on; called on the main thread and within the loop, before the app changes the terminal."""
        self._loop = asyncio.get_running_loop()
        self._modes = _terminal_modes()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # whoever ignores SIGHUP (nohup) has a reason
                self._handlers[number] = signal.signal(number, self._signalled)
        threading.Thread(target=self._watch_terminal, name="terminal watch", daemon=True).start()

    def arm(self, code: int) -> None:
        """The app is leaving: if it has not left within the grace, the process is ended with this code."""
        if self._loop is not None and not self._armed.is_set():
            self._armed.set()
            threading.Thread(target=self._insist, args=(code,), name="last resort", daemon=True).start()

    def stop(self) -> None:
        """The app has left the screen in good order, and its engines are gone."""
        self._stopped.set()
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._signalled:
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """Runs on the main thread between two instructions, also while the loop is blocked in a lock."""
        self._end(128 + number)

    def _watch_terminal(self) -> None:
        poll = select.poll()
        poll.register(0, 0)  # no events are asked for: a hang-up and an error are always told
        while not self._stopped.is_set():
            events = poll.poll(_POLL_MILLISECONDS)
            if any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in events):
                _write_nowhere()
                self._end(HANGUP_EXIT)
                return

    def _end(self, code: int) -> None:
        """Ask the loop, and end the process when it does not answer."""
        if self._ending.is_set() or self._loop is None:
            return
        self._ending.set()
        self.arm(code)
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._leave, code)

    def _insist(self, code: int) -> None:
        if self._stopped.wait(_ENGINES_GRACE_SECONDS):
            return
        for pid in self._engine_pids():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        if self._stopped.wait(_GRACE_SECONDS - _ENGINES_GRACE_SECONDS):
            return
        self._restore_terminal()
        os._exit(code)

    def _restore_terminal(self) -> None:
        """Without waiting: a terminal that takes nothing any more must not keep the process."""
        with suppress(OSError, ValueError):
            os.set_blocking(2, False)
            os.write(2, _RESTORE)
        if self._modes is not None:
            with suppress(termios.error, OSError):
                termios.tcsetattr(0, termios.TCSANOW, self._modes)


def _write_nowhere() -> None:
    """What is still to be drawn goes to nobody: the writer neither blocks nor fails, and the exit code stays ours."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)


def _terminal_modes() -> list[Any] | None:
    """The modes to go back to; None where they are not known."""
    try:
        return termios.tcgetattr(0)
    except (termios.error, OSError):
        return None
