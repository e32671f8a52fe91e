"""Tests often run as root, whom no mode of a file stops; here it does."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
_READ_AND_WRITE_ANYTHING = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def like_a_plain_user() -> Iterator[None]:
    """Modes of files count for this thread and those that it starts, even for root (Linux)."""
    if os.geteuid() != 0:
        yield
        return
    header, now = _Header(_VERSION_3, 0), (_Capabilities * 2)()
    libc = ctypes.CDLL(None)
    assert libc.capget(ctypes.byref(header), now) == 0
    before = now[0].effective
    now[0].effective = before & ~_READ_AND_WRITE_ANYTHING
    assert libc.capset(ctypes.byref(header), now) == 0
    try:
        yield
    finally:
        now[0].effective = before
        assert libc.capset(ctypes.byref(header), now) == 0
