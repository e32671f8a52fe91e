"""A disk without room: the kernel refuses every byte of a file past a limit (``RLIMIT_FSIZE``)."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def room_for(byte_count: int) -> Iterator[None]:
    """No file of this process grows past so many bytes: Python ignores the signal, and a write raises OSError."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
