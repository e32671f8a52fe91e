"""glibc's heap, kept from hoarding what a load frees.

A load that quantizes or converts frees a buffer of some megabytes for every weight. glibc raises its threshold for
mapped blocks with each of them, and keeps the holes: 120 MB on top of 330 for a 4-bit Llama of 334 MB, measured. While
the threshold is fixed, such a buffer goes back to the system the moment it is freed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_WHILE_LOADING = 128 * 2**10
"""Bytes; glibc's own first value (``mallopt(3)``)."""
_AFTERWARDS = 32 * 2**20
"""The most that glibc would raise it to by itself: a reply's buffers are then reused and not mapped each time."""


@contextmanager
def tight_heap() -> Iterator[None]:
    """While this holds, freed buffers go back at once; another C library is left alone."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _WHILE_LOADING)
    try:
        yield
    finally:
        libc.malloc_trim(0)
        libc.mallopt(_M_MMAP_THRESHOLD, _AFTERWARDS)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _AFTERWARDS)
