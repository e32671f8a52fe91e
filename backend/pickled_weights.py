"""Which pickled files a load would read, so that a consent holds for these and for no others."""

from __future__ import annotations

import os
from hashlib import sha256

from modeldeck.backend.catalog.files import list_folder
from modeldeck.backend.models import LoadRequest

ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def pickles_digest(request: LoadRequest) -> str:
    """SHA-256 over names, sizes, times and, in the hub's cache, blobs; empty where there are none, or none to be seen.

    Blocking. Nothing is opened: there may be many gigabytes.
    """
    found = [line for folder in (request.path, request.adapter) if folder for line in _pickles(folder)]
    return sha256("\n".join(found).encode("utf-8", "surrogatepass")).hexdigest() if found else ""


def _pickles(folder: str) -> list[str]:
    try:
        entries = [entry for entry in list_folder(folder) if entry.name.lower().endswith(ENDINGS)]
        return sorted(repr((folder, entry.name, *_identity(entry))) for entry in entries)
    except OSError:
        return []


def _identity(entry: os.DirEntry[str]) -> tuple[int, int, str]:
    """Raises OSError."""
    status = entry.stat()
    blob = os.readlink(entry.path) if entry.is_symlink() else ""  # noqa: PTH115  # as the listing has it
    return status.st_size, status.st_mtime_ns, blob
