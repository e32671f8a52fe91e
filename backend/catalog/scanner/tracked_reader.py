"""Reads only what has changed since the index was written, and remembers what every row hangs on."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from modeldeck.backend.catalog.files import ModelFolder
from modeldeck.backend.catalog.folders import is_gguf_name
from modeldeck.backend.catalog.places import Skip
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.catalog.reading import Identity, read_folder, read_gguf, unreadable_row
from modeldeck.backend.catalog.scanner.life import SignOfLife
from modeldeck.backend.catalog.scanner.watch import Watch, is_young, look, signature
from modeldeck.backend.models import ModelInfo, ModelSource

_PART = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$", re.IGNORECASE)

MEMORY_GIB = 1
"""How much address space the process may take, in GiB: the largest header that is read at all (25 MB of JSON, 2,000,000
strings of a GGUF) becomes at most some 500 MiB of objects; what wants more lies about its size."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """What one row is made of."""

    folder: ModelFolder
    files: list[str]
    identity: Identity
    path: str
    read: Callable[[], ModelInfo]


class TrackedReader(Reader):
    """The reader of one scan. ``known`` has the rows by their keys.

    At a ``glance`` the headers of weights are left for ``read_rest``, so that the list is whole in a tenth of the time.
    """

    def __init__(
        self, known: Mapping[str, ModelInfo], skipped: Iterable[Skip], life: SignOfLife, *, glance: bool = False
    ) -> None:
        self.watch = Watch()
        self.rows: dict[str, ModelInfo] = {}
        """Every row that may be used again, by its key."""
        self.keys: dict[str, str] = {}
        """The key of each of them, by the id of its row."""
        self._known = known
        self._skipped = {(os.fsdecode(skip.spot.path), skip.spot.is_model): skip.problem for skip in skipped}
        self._life = life
        self._glance = glance
        self._rest: list[_Unit] = []

    def visit(self, path: str) -> None:
        """Name the spot; raises OSError where an earlier child hung."""
        self._life.at(path)
        if problem := self._skipped.get((path, False)):
            raise OSError(errno.ETIMEDOUT, problem, path)

    def changed(self) -> bool:
        """Whether a new scan would find anything else."""
        return self.watch.changed(self._life.at)

    def list(self, path: str) -> list[os.DirEntry[str]]:
        """The entries of a folder, which is watched from now on. Raises OSError."""
        self.visit(path)
        self.watch.remember(path)
        return super().list(path)

    def depends_on(self, path: str) -> None:
        """Watch this, too."""
        self.watch.remember(path)

    def folder(self, folder: ModelFolder, identity: Identity) -> ModelInfo:
        """The row of a folder, from the index where nothing has changed."""
        unit = _Unit(folder, folder.names, identity, folder.path, lambda: read_folder(folder, identity))
        return self._row(unit, (lambda: read_folder(folder, identity, whole=False)) if self._glance else None)

    def gguf(self, folder: ModelFolder, name: str, identity: Identity) -> ModelInfo:
        """The row of a GGUF file, likewise; the other models of its folder are no part of it."""
        stem = _PART.sub("", name)
        files = [other for other in folder.names if other.startswith(stem) or not is_gguf_name(other)]
        path = f"{folder.path.rstrip('/')}/{name}"
        return self._row(_Unit(folder, files, identity, path, lambda: read_gguf(folder, name, identity)))

    def read_rest(self) -> Iterator[ModelInfo]:
        """What was only glanced at, read whole; in the order of the list."""
        for unit in self._rest:
            self._life.at(unit.path, is_model=True)
            yield self._read(unit)

    def _row(self, unit: _Unit, glance: Callable[[], ModelInfo] | None = None) -> ModelInfo:
        self._life.at(unit.path, is_model=True)
        if problem := self._skipped.get((unit.path, True)):
            return unreadable_row(unit.identity, unit.path, problem)
        if glance is None:
            return self._read(unit)
        self._rest.append(unit)
        return _guarded(glance, unit)

    def _read(self, unit: _Unit) -> ModelInfo:
        key, settled = self._key(unit)
        row = self._known.get(key)
        return self._kept(_guarded(unit.read, unit) if row is None else row, key, settled)

    def _kept(self, row: ModelInfo, key: str, settled: bool) -> ModelInfo:
        if settled:
            self.rows[key] = row
            self.keys[row.id] = key
        return row

    def _key(self, unit: _Unit) -> tuple[str, bool]:
        """A hash of everything that decides the row, and whether the files are old enough to be told apart by it."""
        parts = [repr(unit.identity), unit.path]
        rewritten = unit.identity.source is not ModelSource.HUB_CACHE  # where a blob is never rewritten, only replaced
        young = False
        for name in unit.files:
            file = f"{unit.folder.path}/{name}"
            status = look(file)
            parts.append(f"{name} {signature(status)} {_use(status)}")
            young = young or (status is not None and is_young(status))
            if rewritten:
                self.watch.take(file, status)
        text = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=12).hexdigest(), not young


def _use(status: os.stat_result | None) -> int:
    """When it was read last, which its row tells, too; a look by another than its owner would count as one."""
    return status.st_atime_ns if status is not None and os.geteuid() in (0, status.st_uid) else 0


def _guarded(read: Callable[[], ModelInfo], unit: _Unit) -> ModelInfo:
    """Whatever a file makes the readers do, there is a row, and the scan goes on."""
    try:
        return read()
    except MemoryError:
        problem = f"its header needs more than {MEMORY_GIB} GiB of memory to read, so it was given up"
    except Exception as error:  # noqa: BLE001  # the last handler: a fault of ours in one model must not cost the others
        problem = f"it cannot be read: {type(error).__name__}: {error}"
    return unreadable_row(unit.identity, unit.path, problem)
