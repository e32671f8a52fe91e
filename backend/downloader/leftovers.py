"""Pieces of downloads that were killed: each try of huggingface_hub has a file of its own and goes on with no other."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from time import time

import filelock
from huggingface_hub.file_download import repo_folder_name

QUIET_SECONDS = 60.0
"""A piece that somebody writes grows all the time; locks alone are not enough, since some file systems only pretend."""
_PIECE = re.compile(r"(?P<blob>.+)\.[0-9a-f]{8}\.incomplete")


def remove_leftovers(repo_id: str, cache: Path) -> None:
    """Delete the pieces of a repository that nobody writes any more; what cannot be deleted stays, without a word."""
    name = repo_folder_name(repo_id=repo_id, repo_type="model")
    for piece in (cache / name / "blobs").glob("*.incomplete"):
        if found := _PIECE.fullmatch(piece.name):
            _remove_if_quiet(piece, cache / ".locks" / name / f"{found['blob']}.lock")


def _remove_if_quiet(piece: Path, lock: Path) -> None:
    with (
        suppress(OSError, NotImplementedError),  # somebody has the lock, or there are none on this file system
        filelock.FileLock(lock, timeout=0, mode=0o664),  # as huggingface_hub makes it
    ):
        if time() - piece.lstat().st_mtime > QUIET_SECONDS:
            piece.unlink()
