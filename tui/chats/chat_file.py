"""A conversation's file: lines are only ever added, by the one instance that holds it."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Self

from modeldeck.config.atomic import PRIVATE_FILE, flush_folder, make_private_folder

MARK = ".open"
"""The ending of a file that lies beside a conversation while somebody is in the middle of it."""
MAX_BYTES = 256 * 2**20
"""A larger file is not read."""


class NotOurs(ValueError):
    """The file is no conversation that this version can read; the message follows the file's name."""


class HeldElsewhere(OSError):
    """Another modeldeck has this conversation open."""


class ChatFile:
    """Open for adding, and locked until it is closed or the process ends, however that ends.

    What ``append`` could not write goes before what it is given next, from the very byte on, so that a disk that was
    full for a while leaves no gap and nothing twice. A line that an earlier process tore stays as it is, and ends
    before the next one begins. Everything here blocks and raises OSError.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._unwritten = b""
        self._marked = False

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new and empty file of mode 0600; there must be none. Its folder is made with mode 0700."""
        make_private_folder(path.parent)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = cls(path, os.open(path, flags, PRIVATE_FILE))
        try:
            os.fchmod(file._descriptor, PRIVATE_FILE)
        except BaseException:
            file.close()
            with suppress(OSError):
                path.unlink()
            raise
        with suppress(HeldElsewhere):  # nobody else knows its name yet: there are no locks here, for others either
            file._lock()
        flush_folder(path.parent)
        return file

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises HeldElsewhere where another instance has it open, or nobody can say."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = cls(path, os.open(path, flags))
        try:
            if not stat.S_ISREG(os.fstat(file._descriptor).st_mode):
                raise OSError("is no plain file")
            file._lock()
            size = os.fstat(file._descriptor).st_size
            if size and os.pread(file._descriptor, 1, size - 1) != b"\n":
                file._unwritten = b"\n"
        except BaseException:
            file.close()
            raise
        return file

    def append(self, data: bytes) -> None:
        """Add whole lines; they are on the disk on return."""
        self._unwritten += data
        while self._unwritten:
            written = os.write(self._descriptor, self._unwritten)
            self._unwritten = self._unwritten[written:]
        os.fsync(self._descriptor)

    def mark(self) -> None:
        """Lay a mark beside it, which stays if the process ends without ``close``; not where the disk refuses."""
        if self._descriptor >= 0:
            self._marked = True
            with suppress(OSError):
                self.path.with_suffix(MARK).touch(PRIVATE_FILE)

    def close(self, *, keep_mark: bool = False) -> None:
        """Let others have it; the mark is taken away, unless the program ends unasked."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                if self._marked and not keep_mark:
                    self.path.with_suffix(MARK).unlink()
            with suppress(OSError):
                os.close(descriptor)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # BlockingIOError, or a file system without locks
            raise HeldElsewhere("is open in another modeldeck") from error


def read_chat_file(path: Path) -> bytes:
    """The whole file, without waiting for whoever holds it. Raises OSError, also for what is no plain file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("is no plain file")
        if status.st_size > MAX_BYTES:
            raise OSError(f"is larger than {MAX_BYTES // 2**20} MiB")
        return file.read(MAX_BYTES)
