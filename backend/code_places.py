"""Where code of a model's own lies: its folder, or the snapshot of another repository in the hub's cache."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modeldeck.backend.catalog.files import Missing, ModelFolder, Unreadable, reason
from modeldeck.backend.catalog.hub_cache import is_repo_name

MAX_SOURCE = 4 * 2**20
"""Bytes of a Python file; the longest modelling files in use have 0.3 MB."""
_MAX_REF = 4096
_COMMIT = re.compile(r"[0-9a-f]{40}")


class CodePlace:
    """A folder with Python files. ``repository`` is empty for the model's own, ``commit`` None outside of the hub."""

    def __init__(self, folder: ModelFolder, repository: str, commit: str | None) -> None:
        self.folder = folder
        self.repository = repository
        self.commit = commit

    def read(self, name: str) -> bytes:
        """A file of it, by its way from there. Raises Unreadable, which Missing is."""
        folder = self.folder
        *parents, last = name.split("/")
        try:
            for parent in parents:
                if parent not in folder:
                    raise self._missing(name)
                if not folder.is_folder(parent):
                    raise Unreadable(f"{name} is behind a link, and not in a folder")
                folder = folder.below(parent)
            return folder.read(last, MAX_SOURCE)
        except Missing:
            raise self._missing(name) from None
        except OSError as error:
            raise Unreadable(f"{name} cannot be read: {reason(error)}") from error

    def _missing(self, name: str) -> Missing:
        return Missing(
            f"{name} of {self.repository} is not on this machine" if self.repository else f"{name} is missing"
        )


def own_place(path: str, commit: str | None) -> CodePlace:
    """The folder that a model loads from. Raises Unreadable."""
    return CodePlace(_listed(os.path.realpath(path)), "", commit)


def repository_place(hub_cache: Path, repository: str) -> CodePlace:
    """What transformers takes for the code of another repository: the commit of ``main``. Raises Unreadable.

    It would rather take a folder of that name in the working folder, which is the same here and in the engine.
    """
    if os.path.isdir(repository):  # noqa: PTH112  (as the library asks)
        raise Unreadable(f"the folder {repository}, where modeldeck was started, would be taken for the repository")
    root = os.path.realpath(hub_cache / f"models--{repository.replace('/', '--')}")
    try:
        commit = _listed(f"{root}/refs").read("main", _MAX_REF).decode("ascii", "replace").strip()
        if not _COMMIT.fullmatch(commit):
            raise Missing("main names no commit")
        return CodePlace(_listed(f"{root}/snapshots/{commit}"), repository, commit)
    except Missing:
        raise Missing(f"{repository} is not on this machine") from None


def _listed(path: str) -> ModelFolder:
    """A folder whose links may lead into it, and into the blobs of the repository it is of. Raises Unreadable."""
    try:
        return ModelFolder(path, (path, *_blobs(Path(path))))
    except (FileNotFoundError, NotADirectoryError):
        raise Missing(f"{path} is not there") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {reason(error)}") from error


def _blobs(folder: Path) -> tuple[str, ...]:
    """Of the repository in a hub's cache that a folder is a snapshot of, or a part of one."""
    for snapshot in (folder, *folder.parents):
        if snapshot.parent.name == "snapshots" and is_repo_name(snapshot.parent.parent.name):
            return (str(snapshot.parent.parent / "blobs"),)
    return ()
