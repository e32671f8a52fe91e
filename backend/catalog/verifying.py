"""Whether the files of a downloaded model are still what the hub has: in its cache every file is named by its hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from modeldeck.backend.catalog.files import ModelFolder, Unreadable, reason
from modeldeck.backend.catalog.hub_cache import is_repo_name
from modeldeck.backend.models import ModelInfo

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PIECE = 2**24


class CheckedFile(Struct, frozen=True):
    """One file of a snapshot, read to its end; the name is untrusted text."""

    name: str
    """With its folders."""
    size: int = 0
    """Bytes."""
    problem: str = ""
    """What is wrong, a sentence without its full stop; empty where it is what the hub has."""


def snapshot_of(model: ModelInfo) -> Path | None:
    """The snapshot in the hub's cache that a model is of; None for one that lies elsewhere."""
    path = Path(model.path)
    for folder in (path, *path.parents):
        if folder.parent.name == "snapshots" and is_repo_name(folder.parent.parent.name):
            return folder
    return None


def verify_snapshot(snapshot: Path) -> Iterator[CheckedFile]:
    """Compare every file of it with the hash that its blob is named by. Blocking: it reads all of the weights.

    Large files are named by their SHA-256, others by the SHA-1 that git gives them. Never raises for what is there.
    """
    root = os.path.realpath(snapshot)
    blobs = os.path.realpath(snapshot.parents[1] / "blobs")
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            folder = ModelFolder(os.path.join(root, below).rstrip("/"), (root, blobs))  # noqa: PTH118  # a text, as there
        except OSError as error:
            yield CheckedFile(below or str(snapshot), problem=f"it cannot be read: {reason(error)}")
            continue
        for name in folder.names:
            if folder.is_folder(name):
                waiting.append(f"{below}{name}/")
            else:
                yield _checked(folder, name, below + name)


def _checked(folder: ModelFolder, name: str, shown: str) -> CheckedFile:
    try:
        expected = os.path.basename(os.readlink(f"{folder.path}/{name}"))  # noqa: PTH115, PTH119  # as above
    except OSError:
        expected = ""  # a copy, where the file system has no links
    try:
        if not _HASH.fullmatch(expected):
            return CheckedFile(shown, folder.size(name), "its hash is not known, so it cannot be compared")
        with folder.open(name) as (descriptor, size):
            found = _hash(descriptor, size, git=len(expected) == 40)
    except Unreadable as error:
        return CheckedFile(shown, problem=str(error))
    return CheckedFile(shown, size, "" if found == expected else "it is not what was downloaded: its hash is another")


def _hash(descriptor: int, size: int, *, git: bool) -> str:
    """Raises OSError."""
    whole = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if git else hashlib.sha256()
    while piece := os.read(descriptor, _PIECE):
        whole.update(piece)
    return whole.hexdigest()
