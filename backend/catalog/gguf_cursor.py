"""Reads forward through the head of a GGUF file, within the size of the file and within caps."""

from __future__ import annotations

import struct
from typing import Any

from modeldeck.backend.catalog.files import read_at

MAX_HEADER = 128 * 2**20
"""Bytes; the largest vocabularies of 2025 make headers of 20 MB."""
MAX_STRINGS = 2_000_000
"""In all arrays together; the largest vocabularies with their merges have 0.8 million."""
MAX_TEXT = 2**16
"""Bytes of a string that are taken in."""
MAX_KEPT = 4096
"""Items of an array that are taken in: one for each layer."""
MAX_KEPT_IN_ALL = 2**16
"""Items of all arrays together that are taken in."""
FIRST_READ = 2**21

U64 = struct.Struct("<Q")


class Broken(Exception):
    """The rest of the sentence that begins with the file's name."""


class Cursor:
    """Reads forward through the head of a file, and takes more of it in when the buffer ends."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self.position = 0
        self._descriptor = descriptor
        self._buffer = read_at(descriptor, 0, min(size, FIRST_READ))
        self._strings = 0
        self._kept = 0

    def _reach(self, end: int) -> None:
        """Have the buffer hold everything before ``end``."""
        if end > self.size:
            raise Broken("is cut off in its header")
        if end > MAX_HEADER:
            raise Broken(f"has a header of more than {MAX_HEADER // 2**20} MB")
        if end > len(self._buffer):
            wanted = min(self.size, MAX_HEADER, max(end, 4 * len(self._buffer)))
            self._buffer += read_at(self._descriptor, len(self._buffer), wanted - len(self._buffer))
            if end > len(self._buffer):
                raise Broken("is cut off in its header")

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The values of a layout, in little-endian order."""
        begin = self.position
        end = begin + layout.size
        if end > len(self._buffer):
            self._reach(end)
        self.position = end
        return layout.unpack_from(self._buffer, begin)

    def skip(self, length: int) -> int:
        """Pass over bytes without taking them in; where they begin."""
        begin = self.position
        if length > self.size - begin:
            raise Broken("is cut off in its header")
        self.position = begin + length
        return begin

    def text(self) -> str:
        """A string; of a very long one only the beginning."""
        (length,) = self.unpack(U64)
        begin = self.skip(length)
        end = begin + min(length, MAX_TEXT)
        self._reach(end)
        return self._buffer[begin:end].decode("utf-8", "replace")

    def may_keep(self, count: int) -> bool:
        """Whether an array is short enough, and those before it were few enough, to take in its items."""
        self._kept += count if count <= MAX_KEPT else 0
        return count <= MAX_KEPT and self._kept <= MAX_KEPT_IN_ALL

    def skip_strings(self, count: int) -> None:
        """Pass over an array of strings, each of which says how long it is."""
        self._strings += count
        if count * 8 > self.size - self.position:
            raise Broken("is cut off in its header")
        if self._strings > MAX_STRINGS:
            raise Broken(f"has more than {MAX_STRINGS:,} strings in its header")
        length_of = U64.unpack_from
        position = self.position
        while count:
            buffer = self._buffer
            try:
                while count:
                    position += 8 + length_of(buffer, position)[0]
                    count -= 1
            except (struct.error, OverflowError):
                self._reach(position + 8)
        self.position = position
        self._reach(position)
