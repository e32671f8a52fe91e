"""Files out of the page cache, and the quickest plain way to read them back: what a cold load is measured against."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, sleep

CHUNK = 16 * 2**20
"""Bytes of one ``pread``."""
THREADS = 4
COLD_SHARE = 0.01
"""Files of which no more is cached count as cold."""
_TRIES = 5
_PAUSE_SECONDS = 0.2


class StillCached(Exception):
    """The system does not let go of the files, as a memory file system never does; says how much of them it keeps."""


def evict(files: Sequence[Path]) -> None:
    """Write the files out and drop them from the page cache; nobody may have them mapped.

    Raises StillCached when they stay there all the same.
    """
    for _ in range(_TRIES):
        for file in files:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())  # a page that is still to be written cannot be dropped
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if (share := cached_share(files)) <= COLD_SHARE:
            return
        sleep(_PAUSE_SECONDS)
    raise StillCached(f"this machine keeps {share:.0%} of the files in memory")


def cached_share(files: Sequence[Path]) -> float:
    """How much of the files is in the page cache, 0 to 1, by mincore(2)."""
    pages = [found for file in files if file.stat().st_size for found in _pages(file)]
    return sum(pages) / len(pages) if pages else 0.0


def _pages(file: Path) -> Iterator[int]:
    """For each page whether it is cached, 1 or 0."""
    size = file.stat().st_size
    found = (ctypes.c_ubyte * ((size + mmap.PAGESIZE - 1) // mmap.PAGESIZE))()
    libc = ctypes.CDLL(None, use_errno=True)
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), size, flags=mmap.MAP_PRIVATE) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        failed = libc.mincore(ctypes.byref(start), ctypes.c_size_t(size), found)
        del start  # the map cannot be closed while it is referred to
    if failed:
        raise OSError(ctypes.get_errno(), "mincore failed", str(file))
    return (page & 1 for page in found)


def read_seconds(files: Sequence[Path]) -> float:
    """Seconds until ``THREADS`` threads, each with one buffer of its own, have read all bytes."""
    chunks = iter([(file, start) for file in files for start in range(0, file.stat().st_size, CHUNK)])
    lock = threading.Lock()
    open_files = {file: os.open(file, os.O_RDONLY) for file in files}

    def read() -> None:
        buffer = bytearray(CHUNK)
        while True:
            with lock:
                chunk = next(chunks, None)
            if chunk is None:
                return
            os.preadv(open_files[chunk[0]], [buffer], chunk[1])

    threads = [threading.Thread(target=read) for _ in range(THREADS)]
    start = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = perf_counter() - start
    for descriptor in open_files.values():
        os.close(descriptor)
    return seconds
