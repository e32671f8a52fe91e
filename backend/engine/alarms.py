"""What is to happen in the middle of whatever the main thread does then."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic


@contextmanager
def alarm(seconds: float, ring: Callable[[], object], *, again: bool = False) -> Iterator[None]:
    """Within the block call ``ring`` after so many seconds, and ``again`` after as many more.

    It may leave the block by raising, and is not called any more then. On another thread than the main one, which is an
    engine's, it is never called. A timer of somebody else's goes on afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    started = monotonic()

    def rung(_signal: int, _frame: object) -> None:
        try:
            ring()
        except BaseException:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise

    handler = signal.signal(signal.SIGALRM, rung)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, seconds if again else 0.0)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)  # where it may still raise, once
    finally:
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (monotonic() - started)), interval)
