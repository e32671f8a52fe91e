"""What a deletion would remove, and how many bytes that gives back."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct


class DeletionKind(StrEnum):
    """What is deleted, in words for a dialog."""

    REPOSITORY = "repository"
    """Everything that the hub's cache has of it."""
    REVISION = "revision"
    """One snapshot of several."""
    FOLDER = "folder"
    FILE = "file"
    """A GGUF file, with its other parts where it is split."""


class DeletionPlan(Struct, frozen=True, kw_only=True):
    """Shown to the user before anything happens."""

    kind: DeletionKind
    name: str
    """Of the model; untrusted text."""
    paths: tuple[str, ...]
    """What is removed, folders with all that is in them."""
    freed_bytes: int
    """What the disk really gains: without blobs that other revisions need, and files that have another name."""
    notes: tuple[str, ...] = ()
    """What else to know, one sentence each."""
    cache: str = ""
    """Of a model in the hub's cache: that cache."""
    revision: str = ""
    """Likewise: the commit, or the folder of the repository where nothing of it is whole."""
    files: tuple[str, ...] = ()
    """Likewise: only these files of the snapshot."""


def files_of(path: str) -> Iterator[str]:
    """A file or link itself, or everything below a folder; no link is followed."""
    if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114  # strings throughout the catalog
        yield path
        return
    for below, folders, files in os.walk(path):
        yield from (f"{below}/{name}" for name in files)
        yield from (f"{below}/{name}" for name in folders if os.path.islink(f"{below}/{name}"))  # noqa: PTH114


def freed_bytes(paths: Iterable[str]) -> int:
    """The bytes of every regular file there, unless it has a name elsewhere, too. Links count as nothing."""
    names: dict[tuple[int, int], tuple[int, int, int]] = {}
    for path in paths:
        for file in files_of(path):
            try:
                status = os.lstat(file)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                key = (status.st_dev, status.st_ino)
                names[key] = (names.get(key, (0, 0, 0))[0] + 1, status.st_nlink, status.st_size)
    return sum(size for found, links, size in names.values() if found >= links)
