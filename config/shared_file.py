"""Small files that several instances of the program write: one at a time, and none loses what it cannot read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from modeldeck.config.atomic import PRIVATE_FILE, make_private_folder

LOCK_SECONDS = 5.0
"""How long another instance is waited for; it writes for a few milliseconds."""


@contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keep other instances from writing a file; its folder is made if it is missing. Blocking.

    Raises OSError, which TimeoutError is, when another instance does not finish or no lock can be had.
    """
    import filelock  # only a write needs it, and it takes 15 ms to import

    real = Path(os.path.realpath(path))
    make_private_folder(real.parent)
    lock = filelock.FileLock(real.parent / f".{real.name}.lock", timeout=seconds, mode=PRIVATE_FILE)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise TimeoutError(f"{path.name} is being written by another modeldeck") from None
    except NotImplementedError as error:
        raise OSError(f"{path.name} cannot be locked on this file system") from error
    try:
        yield
    finally:
        lock.release()


def name_aside(path: Path) -> Path:
    """Where a file that cannot be read is kept: its name and the time, in UTC."""
    stem = f"{path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (path.with_name(stem if number == 1 else f"{stem}-{number}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))
