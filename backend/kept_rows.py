"""What is measured on this machine and kept between runs: a JSON file of rows that several instances write.

A file that cannot be read counts as empty: losing it loses nothing that the next load would not measure again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from modeldeck.config.atomic import write_atomically
from modeldeck.config.shared_file import locked

MAX_ROWS = 400
"""More than anybody has models; the least recently measured go first."""
_MAX_FILE = 2**20
"""Bytes; a longer file is not one of ours."""

Row = TypeVar("Row", bound=Struct)


class KeptRows(Generic[Row]):
    """Reads the file when it is asked first, and once more with what other instances kept at each new row.

    ``key_of`` says which rows are about the same thing, ``merged`` makes one of the older and the newer of them, and
    a row of the file that is not ``plausible`` is left out.
    """

    def __init__(
        self,
        file: Path,
        decoder: msgspec.json.Decoder[list[Row]],
        *,
        key_of: Callable[[Row], Hashable],
        merged: Callable[[Row, Row], Row],
        plausible: Callable[[Row], bool],
    ) -> None:
        self._file = file
        self._decoder = decoder
        self._key_of = key_of
        self._merged = merged
        self._plausible = plausible
        self._lock = Lock()
        self._known: dict[Hashable, Row] | None = None
        self._unwritten: list[Row] = []

    def find(self, key: Hashable) -> Row | None:
        """The row with this key, or None."""
        return self._load().get(key)

    def keep(self, row: Row) -> None:
        """Merge a row into those that are known. Blocks while another instance writes.

        Raises OSError, or UnicodeEncodeError for an id that is no text, when the file cannot be written; the row is
        remembered for this run even so.
        """
        with self._lock:
            self._known = self._with(self._load(), [row])
            msgspec.json.encode(row)  # one that cannot be written must not keep later ones from the file
            self._unwritten.append(row)
            with locked(self._file):
                on_disk = self._read()
                self._known = self._with(on_disk, self._unwritten)
                if self._known != on_disk:
                    write_atomically(self._file, msgspec.json.encode(tuple(self._known.values())).decode())
            self._unwritten.clear()

    def _load(self) -> dict[Hashable, Row]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[Hashable, Row]:
        try:
            if self._file.stat().st_size > _MAX_FILE:
                return {}
            kept = self._decoder.decode(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return {self._key_of(one): one for one in kept if self._plausible(one)}

    def _with(self, known: Mapping[Hashable, Row], new: Iterable[Row]) -> dict[Hashable, Row]:
        """What is known after these, too: the newest last, and no more than are kept."""
        after = dict(known)
        for one in new:
            before = after.pop(self._key_of(one), None)
            after[self._key_of(one)] = one if before is None else self._merged(before, one)
        return dict(list(after.items())[-MAX_ROWS:])
