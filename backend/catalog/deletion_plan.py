"""What a deletion would remove, and how many bytes that gives back."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from modeldeck.backend.models import ModelInfo


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
    model: ModelInfo
    """What was to be deleted; its name is untrusted text."""
    paths: tuple[str, ...]
    """What is removed, folders with all that is in them."""
    freed_bytes: int
    """What the disk really gains: without blobs that other revisions need, and files that have another name."""
    notes: tuple[str, ...] = ()
    """What else to know, one sentence each."""
    cache: str = ""
    """Of a model that huggingface_hub deletes: the cache that it lies in."""
    files: tuple[str, ...] = ()
    """Likewise: only these files of the snapshot."""
    folders: tuple[Path, ...] = ()
    """Where it was planned: the model folders."""
    hub_cache: Path = Path()
    """Likewise."""
    seen: str = ""
    """What lay there, as ``fingerprint`` says it."""


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


def fingerprint(paths: Iterable[str]) -> str:
    """Stands for every path there and below, with its kind, bytes and time of change; no link is followed."""
    entries = []
    for file in sorted(each for path in paths for each in files_of(path)):
        with suppress(OSError):
            status = os.lstat(file)
            entries.append(f"{file}\0{status.st_ino}\0{status.st_mode}\0{status.st_size}\0{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(entries).encode("utf-8", "surrogateescape")).hexdigest()
