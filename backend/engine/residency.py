"""Weights that stay mapped from the file are brought into memory here, with progress, and not by the first reply.

They are read in the background, in the order in which the first token needs them, while the tokenizer is parsed, the
model is built and that token is made out of what is there.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from modeldeck.backend.engine.progress import UNREADABLE, Progress, tensor_places

_CHUNK = 16 * 2**20
_READERS = 4
"""One thread reads 0.6 GB/s from the disk where four read 1.4 (MEASURED on a cold 2.5 GB model)."""
_ENOUGH = 0.95
_SMALL = frozenset({".json", ".jinja", ".model", ".txt", ".tiktoken"})
"""What the config and the tokenizer are made of."""
_SMALL_BYTES = 64 * 2**20
Places = Mapping[str, tuple[int, int]]
"""By the names of tensors, where each begins and ends in its file."""


@contextmanager
def read_meanwhile(folder: Path, progress: Progress) -> Iterator[None]:
    """Read every safetensors file that is not in the page cache yet, while the block runs and to the end.

    The small files of the folder come before them, for reads queue up and the block begins with those.

    Where the block fails, what is not read yet stays unread. What a file cannot give is left to whoever needs it.
    """
    files = [file for file in sorted(folder.glob("*.safetensors")) if _is_cold(file)]
    if not files:
        yield
        return
    _read_small(folder)
    places = {file: _places(file) for file in files}
    for file, tensors in places.items():
        _ask_for_beginnings(file, tensors)
    chunks = _chunks_in_order(places)
    buffers = threading.local()
    progress.begin_reading(sum(file.stat().st_size for file in files))

    def read(chunk: tuple[Path, int]) -> None:
        file, start = chunk
        if not hasattr(buffers, "own"):
            buffers.own = bytearray(_CHUNK)  # each thread has one: fresh memory would be zeroed for every chunk
        with file.open("rb", buffering=0) as stream:
            progress.read(os.preadv(stream.fileno(), [buffers.own], start))

    readers = ThreadPoolExecutor(_READERS)
    reads: list[Future[None]] = [readers.submit(read, chunk) for chunk in chunks]
    try:
        yield
        for one in reads:
            one.exception()
    finally:
        readers.shutdown(cancel_futures=True)
        progress.end_reading()


def _read_small(folder: Path) -> None:
    """What cannot be read is left to whoever needs it."""
    for file in folder.iterdir():
        try:
            if file.suffix in _SMALL and file.stat().st_size <= _SMALL_BYTES:
                file.read_bytes()
        except OSError:
            continue


def _places(file: Path) -> Places:
    """Where the tensors are; empty for a file with a broken header: whoever needs it will say what is wrong with it."""
    try:
        return tensor_places(file)
    except UNREADABLE:
        return {}


def _ask_for_beginnings(file: Path, places: Places) -> None:
    """Have the system read the first page of every tensor.

    transformers looks at it when it builds the model, and would wait each time for all the reads that are queued then:
    0.4 s for a model of 1 GB.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    with file.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        for begin, _ in places.values():
            if 0 <= begin < size:  # a header may say anything
                os.posix_fadvise(stream.fileno(), begin, 1, os.POSIX_FADV_WILLNEED)


def _chunks_in_order(places: Mapping[Path, Places]) -> list[tuple[Path, int]]:
    """Files and offsets, layer by layer: files have their tensors by name, and ``layers.10`` before ``layers.2``."""
    chunks: dict[tuple[Path, int], list[int]] = {}
    for file, tensors in places.items():
        size = file.stat().st_size
        chunks |= {(file, start): [] for start in range(0, size, _CHUNK)}
        for name, (begin, end) in sorted(tensors.items(), key=lambda item: _layer(item[0]), reverse=True):
            for start in range(max(0, begin) // _CHUNK * _CHUNK, min(end, size), _CHUNK):
                chunks[file, start] = _layer(name)  # the first layer that needs something of it
    return sorted(chunks, key=lambda chunk: chunks[chunk])


def _layer(name: str) -> list[int]:
    """The numbers in a tensor's name; embeddings have none, and come first."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _is_cold(file: Path) -> bool:
    """Whether it is worth reading; a file that cannot be read is not, and may not be needed either."""
    try:
        return _resident_share(file) < _ENOUGH
    except (OSError, ValueError):
        return False


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
