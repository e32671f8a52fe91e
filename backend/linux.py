"""What only Linux offers; elsewhere every function here does nothing and says so by its return value."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> bool:
    """Ask the kernel to kill this process when the thread that started it ends; False where that cannot be had.

    It is the second line of defence: the first is the end of stdin, which is noticed late behind a C call that holds
    the GIL. A parent that is already gone ends the process here (exit status 1).
    """
    if not sys.platform.startswith("linux"):
        return False
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        return False
    if os.getppid() != parent:  # it died between the two calls, and no signal will come
        os._exit(1)
    return True
