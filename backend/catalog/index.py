"""The models of the last scan, kept in the cache folder: shown at once on the next start, and read only if changed.

A file of JSON lines: the head, then one entry for each row in the order of the list. Whatever is wrong with it, it
counts as none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from modeldeck.backend import model_shape, models
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.json_numbers import has_absurd_number
from modeldeck.backend.models import ModelInfo
from modeldeck.config.atomic import write_atomically

MAX_INDEX = 256 * 2**20
"""Bytes; a longer file was not written by us."""


Signature = tuple[int, int, int] | None
"""Of a file or folder: mtime in nanoseconds, size and inode, or None where there is nothing to be had."""


class IndexHead(Struct, frozen=True):
    """Whose index this is."""

    version: str
    stamp: str
    """Of this very file: who has shown its rows can say so."""
    places: Places


class IndexEntry(Struct, frozen=True):
    """One row."""

    key: str
    """Of the identity and the files behind the row (``fingerprint``); empty where the row is made anew every time."""
    model: ModelInfo


class Index:
    """The lines of an index file, decoded when they are asked for."""

    def __init__(self, head: IndexHead, lines: Sequence[bytes]) -> None:
        self.stamp = head.stamp
        self.places = head.places
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def entries(self) -> Iterator[IndexEntry]:
        """Every entry that can be read."""
        for line in self._lines:
            try:
                entry = _entries.decode(line)
                if has_absurd_number(line):
                    return
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return
            yield entry


_heads = msgspec.json.Decoder(IndexHead)
_entries = msgspec.json.Decoder(IndexEntry)
_encoder = msgspec.json.Encoder()


def read_index(path: Path) -> Index | None:
    """The index, unless there is none, or it is broken or that of another version."""
    try:
        if path.stat().st_size > MAX_INDEX:
            return None
        first, *lines = path.read_bytes().splitlines()
        head = _heads.decode(first)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    return Index(head, lines) if head.version == version() else None


def write_index(path: Path, places: Places, entries: Iterable[IndexEntry]) -> str:
    """Replace the index whole; returns its stamp. Raises OSError."""
    head = IndexHead(version(), os.urandom(8).hex(), places)
    lines = [_encoder.encode(head), *map(_encoder.encode, entries)]
    write_atomically(path, b"\n".join(lines).decode())
    return head.stamp


class Witness(Struct, frozen=True):
    """What all files and folders looked like that the rows of one index hang on: while they do, it holds."""

    stamp: str
    signatures: dict[str, Signature]


_witnesses = msgspec.json.Decoder(Witness)


def read_witness(index: Path, stamp: str) -> dict[str, Signature]:
    """Of the index with this stamp; nothing where there is none."""
    path = _witness(index)
    try:
        witness = _witnesses.decode(path.read_bytes()) if path.stat().st_size <= MAX_INDEX else None
    except (OSError, ValueError, RecursionError):
        return {}
    return witness.signatures if witness is not None and witness.stamp == stamp else {}


def write_witness(index: Path, witness: Witness) -> None:
    """Keep it beside the index. Raises OSError, or UnicodeEncodeError for a path that is not text."""
    write_atomically(_witness(index), _encoder.encode(witness).decode())


def _witness(index: Path) -> Path:
    return index.with_suffix(".seen.json")


def version() -> str:
    """Changes with the fields of a row and with the code that fills them, which an update replaces."""
    here = Path(__file__).parent
    files = [*here.iterdir(), Path(models.__file__), Path(model_shape.__file__)]
    parts = [f"{file.name} {(status := file.stat()).st_size} {status.st_mtime_ns}" for file in files if file.suffix]
    fields = [repr(kind.__annotations__) for kind in (ModelInfo, model_shape.ModelShape, model_shape.WeightBlock)]
    return hashlib.blake2b("\n".join([*sorted(parts), *fields]).encode(), digest_size=8).hexdigest()
