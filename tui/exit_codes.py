"""What the process says to the shell when it ends."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The codes of every way to end; 128 and up is 128 plus the signal's number, as shells have it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """Wrong arguments, or no terminal for the app."""
    MODEL_NOT_FOUND = 3
    DOES_NOT_FIT = 4
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143
