"""Weights that stay mapped from the file are brought into memory here, with progress, and not by the first reply."""

from __future__ import annotations

import ctypes
import mmap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from modeldeck.backend.engine.progress import Progress
from modeldeck.backend.models import LoadStage

_CHUNK = 16 * 2**20
_READERS = 4
"""One thread reads 0.6 GB/s from the disk where four read 1.4 (MEASURED on a cold 2.5 GB model)."""
_ENOUGH = 0.95


def make_resident(folder: Path, progress: Progress) -> None:
    """Read every safetensors file that is not in the page cache yet; a file that is there costs nothing."""
    files = [file for file in sorted(folder.glob("*.safetensors")) if _resident_share(file) < _ENOUGH]
    if not files:
        return
    chunks = [(file, start) for file in files for start in range(0, file.stat().st_size, _CHUNK)]
    progress.stage(LoadStage.READING_WEIGHTS, sum(file.stat().st_size for file in files), "bytes")
    lock = threading.Lock()

    def read(chunk: tuple[Path, int]) -> None:
        file, start = chunk
        with file.open("rb", buffering=0) as stream:
            stream.seek(start)
            length = stream.readinto(bytearray(_CHUNK)) or 0
        with lock:
            progress.advance(length)

    with ThreadPoolExecutor(_READERS) as readers:
        list(readers.map(read, chunks))


def _resident_share(file: Path) -> float:
    """How much of the file is in the page cache, 0 to 1; 1 where the system does not say."""
    size = file.stat().st_size
    libc = ctypes.CDLL(None)
    if not size or not hasattr(libc, "mincore"):
        return 1.0
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), size, flags=mmap.MAP_PRIVATE) as mapped:
        pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        resident = (ctypes.c_ubyte * pages)()
        start = ctypes.c_char.from_buffer(mapped)
        try:
            failed = libc.mincore(ctypes.byref(start), ctypes.c_size_t(size), resident)
        finally:
            del start  # the map cannot be closed while it is referred to
        return 1.0 if failed else float((np.frombuffer(memoryview(resident), np.uint8) & 1).mean())
