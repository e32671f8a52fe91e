"""A TOML file of ours that several instances write: read it, change one thing in it, lose nothing else.

What it holds is the business of whoever keeps it: ``GenerationStore``, ``Profiles``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from modeldeck.config.atomic import write_atomically
from modeldeck.config.shared_file import LOCK_SECONDS, locked, name_aside
from modeldeck.config.toml_file import MAX_BYTES, ConfigProblem, Damaged, Unreadable, read_toml
from modeldeck.config.wording import plain, shown_path, shown_value

SCHEMA_VERSION = 1
HEADER = "# Kept by modeldeck: it writes this file again at every save, and comments are not kept.\n"
Document = dict[str, Any]
Adopt = Callable[[Path, Document], tuple[ConfigProblem, ...]]


class SaveError(Exception):
    """Nothing was saved and the file is as it was; the message says why in one sentence."""


class NewerSchema(Unreadable):
    """A newer modeldeck wrote the file, so this one neither uses nor changes it."""


class DocumentStore:
    """The file as it was last read or written.

    ``adopt`` takes a document as what the file holds and returns what is wrong with it; ``tables`` are the keys that
    stand first in the file. A save takes everything that it does not change from the disk, and leaves a second copy
    (``<name>.bak``), which is read where the file itself is damaged.
    """

    def __init__(self, path: Path, adopt: Adopt, tables: tuple[str, ...], lock_seconds: float = LOCK_SECONDS) -> None:
        self._path = path
        self._adopt = adopt
        self._tables = tables
        self._lock_seconds = lock_seconds
        self._document: Document = {}
        self._seen: tuple[int, ...] | None = None
        self._turn = Lock()
        """A save and a look at the disk, each in a thread of its own, one after the other."""
        self.problems: tuple[ConfigProblem, ...] = ()
        """What is wrong with the file, as it was last read or written."""

    def load(self) -> tuple[ConfigProblem, ...]:
        """Read the file (again). One that cannot be used leaves what was read before, and says so."""
        with self._turn:
            self._seen = _signature(self._path)  # before the read: what is written meanwhile is read again
            try:
                self._take(read_document(self._path) or {})
            except Damaged as error:
                instead = self._recover()
                aside = f"the next save keeps it aside as {plain(self._path.name)}.corrupt-<time>"
                self.problems = (ConfigProblem(self._path, "", f"{error}; {instead}{aside}"),)
            except Unreadable as error:
                self.problems = (ConfigProblem(self._path, "", str(error)),)
            return self.problems

    def reload(self) -> bool:
        """Read the file if it is not the one that was read or written last. Blocking; returns whether it was not."""
        if _signature(self._path) == self._seen:
            return False
        self.load()
        return True

    def change(self, changed: Callable[[Document], Document], *tables: str) -> None:
        """Write the file with one change; ``tables`` are those that it has to put something into.

        Blocks while another instance saves (up to ``lock_seconds``) and until the disk has the file. Raises
        ``SaveError``; the file is then as it was.
        """
        path = Path(os.path.realpath(self._path))
        try:
            with self._turn, locked(path, self._lock_seconds):
                document = self._written(path, changed, *tables)
                self._seen = _signature(self._path)
                self._take(document)
        except Unreadable as error:
            raise self._failed(str(error)) from None
        except TimeoutError:
            raise self._failed("is being written by another modeldeck; try again") from None
        except OSError as error:
            raise self._failed(f"could not be written: {error.strerror or error}") from None

    def _written(self, path: Path, changed: Callable[[Document], Document], *tables: str) -> Document:
        """Write the file if the change is one, and return all that it now holds."""
        aside: Path | None = None
        try:
            before = read_document(path) or {}
            if in_the_way(before, *tables):
                aside = name_aside(path)
        except Damaged:
            before, aside = self._document or read_copy(path), name_aside(path)
        after = changed(before)
        if after == before and aside is None:
            return before
        after |= {"schema_version": SCHEMA_VERSION}
        text = self._to_text(after)
        write_atomically(path, text, keep_old_as=aside)
        with suppress(OSError):  # what was asked for is saved
            write_atomically(copy_of(path), text)
        return after

    def _recover(self) -> str:
        """Take the copy of the last save, unless this run has read the file before; half a sentence that says so."""
        copy = {} if self._document else read_copy(Path(os.path.realpath(self._path)))
        if not copy:
            return ""
        self._take(copy)
        return f"what the last save left in {plain(self._path.name)}.bak is used instead; "

    def _to_text(self, document: Document) -> str:
        """The document as TOML that ``load`` reads again; raises ``SaveError`` where there is none."""
        import tomli_w  # only a save needs it

        first = {name: document[name] for name in self._tables if name in document}
        try:
            text = HEADER + tomli_w.dumps(first | document)
            size = len(text.encode())
        except UnicodeEncodeError:
            raise SaveError("Nothing was saved: the name of this model is not valid Unicode text") from None
        except (RecursionError, ValueError):  # tomllib reads deeper tables and longer numbers than can be written
            raise self._failed("holds values that cannot be written again; take them out") from None
        if size > MAX_BYTES:
            raise self._failed(f"would grow past {MAX_BYTES // 1024**2} MiB")
        return text

    def _take(self, document: Document) -> None:
        self.problems = self._adopt(self._path, document)
        self._document = document

    def _failed(self, reason: str) -> SaveError:
        return SaveError(f"Nothing was saved: {shown_path(self._path)} {reason}")


def read_document(path: Path) -> Document | None:
    """Read the whole file, whatever keys it holds; None when there is none.

    Raises ``NewerSchema``, ``Damaged`` (an empty file counts: a crash of the system leaves those) or ``Unreadable``.
    """
    document = read_toml(path)
    if document == {}:
        raise Damaged("is empty")
    version = document.get("schema_version") if document else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerSchema(
            f"was written by a newer modeldeck (schema_version {shown_value(version)}, known here is {SCHEMA_VERSION}),"
            " so it is neither used nor changed"
        )
    return document


def copy_of(path: Path) -> Path:
    """Where the copy of the last save lies."""
    return path.with_name(f"{path.name}.bak")


def read_copy(path: Path) -> Document:
    """What the copy of a damaged file holds; nothing where there is none, or it cannot be used either."""
    with suppress(Unreadable):
        return read_document(copy_of(path)) or {}
    return {}


def in_the_way(document: Document, *tables: str) -> bool:
    """Whether something that is no table stands where one of these has to be, each inside the one before."""
    place: Any = document
    for key in tables:
        place = place.get(key, {})
        if not isinstance(place, dict):
            return True
    return False


def table_of(document: Document, key: str) -> Document:
    """What a table holds; nothing where it is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def with_table(document: Document, key: str, table: Document) -> Document:
    """The document with one table replaced, or without it where nothing is in it."""
    others = {each: value for each, value in document.items() if each != key or table}
    return others | ({key: table} if table else {})


def _signature(path: Path) -> tuple[int, ...] | None:
    """What changes when somebody writes the file; None where there is none or it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)
