"""Guarded reads of files that somebody else put there: regular files only, bounded, and inside the allowed folders."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_QUIETLY = getattr(os, "O_NOATIME", 0)
"""So that a look at the headers is not taken for a use of the model. Allowed to a file's owner, on Linux."""


class Unreadable(Exception):
    """A file that cannot be used; the message is a sentence without its full stop, and names the file."""


class Missing(Unreadable):
    """A file that is not there, or a link to one."""


def reason(error: OSError) -> str:
    """What the system says, in small letters (``permission denied``)."""
    return (error.strerror or type(error).__name__).lower()


def is_within(path: str, roots: tuple[str, ...]) -> bool:
    """Whether a path lies in one of these folders, by its text alone."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


class ModelFolder:
    """One folder's listing, and reads of the files in it.

    ``path`` is a real path. Links are followed to regular files inside ``roots`` (real paths) only; no roots means
    that the user pointed here by hand, and any regular file will do. Nothing but a regular file is ever opened.
    """

    def __init__(self, path: str, roots: tuple[str, ...] = (), entries: list[os.DirEntry[str]] | None = None) -> None:
        self.path = path
        self._roots = roots
        self._entries = {entry.name: entry for entry in (list_folder(path) if entries is None else entries)}
        self._targets: dict[str, tuple[str, os.stat_result]] = {}

    @property
    def names(self) -> list[str]:
        """Every name in the folder, sorted."""
        return sorted(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def is_folder(self, name: str) -> bool:
        """Whether the entry is a folder; a link to one is not."""
        return self._entries[name].is_dir(follow_symlinks=False)

    def size(self, name: str) -> int:
        """Bytes of a regular file, links followed. Raises Unreadable."""
        return self.status(name).st_size

    def status(self, name: str) -> os.stat_result:
        """What the system says of a regular file, links followed. Raises Unreadable."""
        entry = self._entries.get(name)
        if entry is None:
            raise Missing(f"{name} is missing")
        try:
            status = self._target(name)[1] if entry.is_symlink() else entry.stat(follow_symlinks=False)
        except OSError as error:
            raise _unreadable(name, error) from error
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"{name} is not a regular file")
        return status

    def below(self, name: str) -> ModelFolder:
        """A folder in this one, with the same roots. Raises OSError."""
        return ModelFolder(f"{self.path.rstrip('/')}/{name}", self._roots)

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[int, int]]:
        """A file descriptor and the size in bytes. Raises Unreadable, and OSError from within the block too."""
        entry = self._entries.get(name)
        if entry is None:
            raise Missing(f"{name} is missing")
        try:
            if entry.is_symlink():
                target, status = self._target(name)
                regular = stat.S_ISREG(status.st_mode)
            else:
                target, regular = entry.path, entry.is_file(follow_symlinks=False)
            if not regular:
                raise Unreadable(f"{name} is not a regular file")
            descriptor = _opened(target)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise Unreadable(f"{name} is not a regular file")
                yield descriptor, status.st_size
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unreadable(name, error) from error

    def read(self, name: str, limit: int) -> bytes:
        """The whole file, at most ``limit`` bytes. Raises Unreadable."""
        with self.open(name) as (descriptor, size):
            if size > limit:
                raise Unreadable(f"{name} is {size:,} bytes, more than the {limit:,} that such a file may have")
            return read_at(descriptor, 0, limit)

    def _target(self, name: str) -> tuple[str, os.stat_result]:
        """The file that a link leads to, asked for once. Raises OSError, or Unreadable when it leads out of the roots.

        What is opened is looked at once more, since it may have changed in the meantime.
        """
        if (known := self._targets.get(name)) is not None:
            return known
        path = f"{self.path}/{name}"
        target = _joined(self.path, os.readlink(path))  # noqa: PTH115  # pathlib costs more than the whole read here
        status = os.lstat(target)
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(path, strict=True)
            status = os.lstat(target)
        if self._roots and not is_within(target, self._roots):
            raise Unreadable(f"{name} is a link to a place outside of the model folders")
        self._targets[name] = target, status
        return target, status


def _joined(folder: str, link: str) -> str:
    """Where a link in a folder leads, by its text: the hub's (``../../blobs/...``) need no call for each part."""
    while link.startswith("../"):
        folder, link = folder.rpartition("/")[0], link[3:]
    if link.startswith(("/", ".")) or "/." in link or "//" in link:
        return os.path.normpath(os.path.join(folder, link))  # noqa: PTH118
    return f"{folder}/{link}"


def _opened(path: str) -> int:
    """Raises OSError."""
    try:
        return os.open(path, _FLAGS | _QUIETLY)
    except PermissionError:
        return os.open(path, _FLAGS)


def list_folder(path: str) -> list[os.DirEntry[str]]:
    """The entries of a folder. Raises OSError."""
    with os.scandir(path) as entries:
        return list(entries)


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """``length`` bytes from ``offset``, or fewer where the file ends. Raises OSError."""
    pieces = []
    while length > 0 and (piece := os.pread(descriptor, min(length, 2**24), offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def _unreadable(name: str, error: OSError) -> Unreadable:
    if error.errno == errno.ENOENT:
        return Missing(f"{name} is a link to a file that is not there")
    if error.errno == errno.ELOOP:
        return Unreadable(f"{name} is a link that leads to itself")
    return Unreadable(f"{name} cannot be read: {reason(error)}")
