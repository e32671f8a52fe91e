"""Prepared copies of GGUF models: what transformers made of one, as safetensors with tokenizer, kept on the disk.

::

    <root>/<key>/            a whole copy; it came here by one rename
        complete.json        which GGUF it was made from, and the size of every file
        last-used            its mtime says when
    <root>/.draft-<key>-*/   a copy that an engine writes; the engine holds a lock in it for as long as it lives
    <root>/.trash-*/         a copy that is being deleted
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from modeldeck.config.atomic import make_private_folder

MAX_SHARE_OF_FREE_DISK = 0.1
_MARKER = "complete.json"
_LAST_USED = "last-used"
_LOCK = ".lock"
_DRAFT = ".draft-"
_TRASH = ".trash-"
_UNLOCKED_DRAFT_SECONDS = 3600.0


class GgufCopy(Struct, frozen=True, kw_only=True):
    """One whole copy."""

    gguf: str
    """The path of the GGUF file that it was made from."""
    path: Path
    size_bytes: int
    last_used: float
    """Seconds since 1970."""


class _Marker(Struct):
    gguf: str
    files: dict[str, int]


class GgufCopies:
    """The copies under one folder, shared by every engine of this user. Creates nothing until a draft is asked for.

    Everything here may raise OSError where it writes; nothing does where it only looks.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[Path, int] = {}

    def key(self, gguf: Path) -> str:
        """Path, size and time of change in one short word. Raises OSError when there is no such file."""
        real = Path(os.path.realpath(gguf))
        status = real.stat()
        text = f"{os.fsencode(real).hex()} {status.st_size} {status.st_mtime_ns}"
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:24]

    def find(self, gguf: Path) -> Path | None:
        """The folder of a whole copy of this very file, or None; only looks."""
        try:
            folder = self._root / self.key(gguf)
        except (OSError, ValueError):  # ValueError: a path that the system does not take
            return None
        return folder if _whole(folder) is not None else None

    def use(self, gguf: Path) -> Path | None:
        """As ``find``, for who loads from the copy: it is the last one to make room for another then."""
        folder = self.find(gguf)
        if folder is not None:
            with suppress(OSError):
                (folder / _LAST_USED).touch(mode=0o600)
        return folder

    def draft(self, gguf: Path) -> Path:
        """A new empty folder to write a copy into; ``publish`` or ``discard`` it. Raises OSError."""
        make_private_folder(self._root)
        self._root.chmod(0o700)
        with self._alone():
            self._clear_leftovers()
            folder = self._root / f"{_DRAFT}{self.key(gguf)}-{secrets.token_hex(6)}"
            folder.mkdir(mode=0o700)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        self._locks[folder] = lock
        return folder

    def publish(self, draft: Path, gguf: Path) -> Path:
        """Make a draft the copy of this file, by one rename. Where another engine was faster, its copy stays.

        Copies of older versions of the same file are removed. Raises OSError, also when the file has changed since
        the draft was begun; the draft is gone then, too.
        """
        target = self._root / self.key(gguf)
        try:
            if not draft.name.startswith(f"{_DRAFT}{target.name}-"):
                raise OSError(f"{gguf} has changed while its copy was written")
            _seal(draft, gguf)
            if _whole(target) is None:
                self._delete(target)
                with suppress(FileExistsError):
                    _rename(draft, target)
        finally:
            self.discard(draft)
        for copy in self.list():
            if copy.gguf == _source(gguf) and copy.path != target:
                self._delete(copy.path)
        return target

    def discard(self, draft: Path) -> None:
        """Give a draft up and free its disk."""
        lock = self._locks.pop(draft, None)
        if lock is not None:
            os.close(lock)
        self._delete(draft)

    def room_for(self, size_bytes: int, limit_bytes: int) -> bool:
        """Whether a copy of this size may be written; the least recently used go first to make room for it.

        It may take a tenth of the free disk, and all copies together ``limit_bytes``.
        """
        if size_bytes > limit_bytes or size_bytes > MAX_SHARE_OF_FREE_DISK * _free_bytes(self._root):
            return False
        copies = sorted(self.list(), key=lambda copy: copy.last_used)
        total = sum(copy.size_bytes for copy in copies)
        for copy in copies:
            if total + size_bytes <= limit_bytes:
                break
            self._delete(copy.path)
            total -= copy.size_bytes
        return total + size_bytes <= limit_bytes

    def list(self) -> tuple[GgufCopy, ...]:
        """Every whole copy, the most recently used first."""
        found = []
        for folder in _folders_in(self._root):
            marker = None if folder.name.startswith(".") else _whole(folder)
            if marker is not None:
                size = sum(marker.files.values())
                found.append(GgufCopy(gguf=marker.gguf, path=folder, size_bytes=size, last_used=_last_used(folder)))
        return tuple(sorted(found, key=lambda copy: copy.last_used, reverse=True))

    def size(self) -> int:
        """Bytes of all whole copies together."""
        return sum(copy.size_bytes for copy in self.list())

    def remove(self, gguf: Path) -> int:
        """Remove the copies of this file; the bytes that this frees."""
        copies = [copy for copy in self.list() if copy.gguf == _source(gguf)]
        return sum(copy.size_bytes for copy in copies if self._delete(copy.path))

    def clear(self) -> int:
        """Remove every copy and everything left over; the bytes of the copies. Drafts in the making stay."""
        freed = sum(copy.size_bytes for copy in self.list() if self._delete(copy.path))
        for folder in _folders_in(self._root):
            if not folder.name.startswith("."):
                self._delete(folder)
        with suppress(FileNotFoundError), self._alone():
            self._clear_leftovers()
        return freed

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else begins a draft or clears leftovers meanwhile: a draft that is not locked yet looks like one.

        Raises FileNotFoundError when there is no folder.
        """
        root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(root, fcntl.LOCK_EX)
            yield
        finally:
            os.close(root)

    def _clear_leftovers(self) -> None:
        """Remove drafts whose engine is dead, and what was not wholly deleted."""
        for folder in _folders_in(self._root):
            if folder.name.startswith(_TRASH) or (folder.name.startswith(_DRAFT) and _is_abandoned(folder)):
                self._delete(folder)

    def _delete(self, folder: Path) -> bool:
        """Take a folder out of sight by one rename, so that nobody finds half of it, then delete it."""
        trash = self._root / f"{_TRASH}{secrets.token_hex(6)}"
        try:
            folder.rename(trash)
        except OSError:
            return False
        shutil.rmtree(trash, ignore_errors=True)
        return True


def _folders_in(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except OSError:
        return []


def _seal(draft: Path, gguf: Path) -> None:
    """Write down what is in the draft, and have all of it on the disk before it is renamed."""
    files: dict[str, int] = {}
    for path in sorted(draft.rglob("*")):
        if path.is_file() and path.name != _LOCK:
            files[str(path.relative_to(draft))] = path.stat().st_size
            path.chmod(0o600)
            _sync(path)
    (draft / _LAST_USED).touch(mode=0o600)
    marker = draft / _MARKER
    marker.touch(mode=0o600)
    marker.write_bytes(msgspec.json.encode(_Marker(gguf=_source(gguf), files=files)))
    _sync(marker)
    _sync(draft)


def _source(gguf: Path) -> str:
    """The real path as the marker keeps it: as text, whatever bytes it has."""
    return os.fsencode(os.path.realpath(gguf)).decode("utf-8", "replace")


def _rename(draft: Path, target: Path) -> None:
    """Raises FileExistsError when somebody else was faster."""
    try:
        draft.rename(target)
    except OSError as error:
        if target.is_dir():
            raise FileExistsError(target) from error
        raise
    _sync(target.parent)


def _whole(folder: Path) -> _Marker | None:
    """The marker of a copy, when every file has the size that it had."""
    try:
        marker = msgspec.json.decode((folder / _MARKER).read_bytes(), type=_Marker)
        if all((folder / name).stat().st_size == size for name, size in marker.files.items()):
            return marker
    except (OSError, ValueError):
        pass
    return None


def _is_abandoned(draft: Path) -> bool:
    """Whether nobody holds the draft's lock any more; the system gives up a lock with the process that held it."""
    try:
        lock = os.open(draft / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        with suppress(OSError):
            return time.time() - draft.stat().st_mtime > _UNLOCKED_DRAFT_SECONDS
        return False
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _free_bytes(folder: Path) -> int:
    """Of the disk that the folder is or will be on; 0 where nobody can tell."""
    for place in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


def _last_used(folder: Path) -> float:
    try:
        return (folder / _LAST_USED).stat().st_mtime
    except OSError:
        return 0.0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
