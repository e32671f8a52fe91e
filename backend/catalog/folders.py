"""Models in the user's model folders, however the folders below are arranged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from modeldeck.backend.catalog.adapters import CONFIG as ADAPTER_CONFIG
from modeldeck.backend.catalog.files import ModelFolder, is_within, reason
from modeldeck.backend.catalog.hub_cache import is_repo_name, scan_repo
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.catalog.reading import Identity, is_later_part, unreadable_row
from modeldeck.backend.catalog.rows import unreadable_place
from modeldeck.backend.catalog.weights import is_weights_name
from modeldeck.backend.models import ModelInfo, ModelSource

MAX_DEPTH = 4
"""How many folders deep a model may lie under a model folder: ``~/models/org/name`` is 2."""


class FolderScan:
    """Walks model folders; remembers where it was, so that folders inside one another are read once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._visited: dict[tuple[int, int], int] = {}

    def scan(self, root: str) -> Iterator[ModelInfo]:
        """Every model under ``root``, as it is found. Never raises for what is there."""
        try:
            self._reader.visit(root)
        except OSError as error:
            yield unreadable_place(root, ModelSource.FOLDER, error)
            return
        real = os.path.realpath(root)
        yield from self._walk(real, (real,), MAX_DEPTH, inside_model=False)

    def _walk(self, path: str, roots: tuple[str, ...], depth: int, inside_model: bool) -> Iterator[ModelInfo]:
        if not self._is_new(path, depth):
            return
        try:
            entries = self._reader.list(path)
        except FileNotFoundError:
            return  # deleted since its parent was listed, or never there: looked_in() says so
        except OSError as error:
            if path in roots:
                yield unreadable_place(path, ModelSource.FOLDER, error)
            else:
                yield unreadable_row(named_below(path, roots), path, f"it cannot be read: {reason(error)}")
            return
        folder = ModelFolder(path, roots, entries)
        yield from self._models_in(folder, roots, inside_model)
        for entry in sorted(entries, key=lambda entry: entry.name.lower()):
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                yield from self._outside(entry, roots)
            elif depth > 0 and entry.is_dir(follow_symlinks=False):
                if is_repo_name(entry.name) and self._is_repo(entry.path):
                    yield from scan_repo(path, entry.name, self._reader)
                else:
                    yield from self._walk(entry.path, roots, depth - 1, "config.json" in folder)

    def _is_new(self, path: str, depth: int) -> bool:
        """Whether this folder was not yet walked at least so deep."""
        try:
            self._reader.visit(path)
            status = os.stat(path, follow_symlinks=False)  # noqa: PTH116  # paths are strings throughout the scan
        except OSError:
            return True  # listing it will say why
        key = (status.st_dev, status.st_ino)
        if not stat.S_ISDIR(status.st_mode) or self._visited.get(key, -1) >= depth:
            return False
        self._visited[key] = depth
        return True

    def _is_repo(self, path: str) -> bool:
        try:
            self._reader.visit(path)
        except OSError:
            return False  # listing it will say why
        return os.path.isdir(f"{path}/snapshots")  # noqa: PTH112  # paths are strings throughout the scan

    def _outside(self, entry: os.DirEntry[str], roots: tuple[str, ...]) -> Iterator[ModelInfo]:
        """A linked folder is never entered; one that leads to a model elsewhere is told, with what to do about it."""
        try:
            self._reader.visit(entry.path)
            if not entry.is_dir():
                return
            target = os.path.realpath(entry.path)
            if is_within(target, roots) or not os.path.isfile(f"{target}/config.json"):  # noqa: PTH113
                return
        except OSError:
            return
        yield unreadable_row(
            named_below(entry.path, roots),
            entry.path,
            f"it is a link to {target}, outside of the model folders: add that folder to model_folders",
        )

    def _models_in(self, folder: ModelFolder, roots: tuple[str, ...], inside_model: bool) -> Iterator[ModelInfo]:
        ggufs = [name for name in folder.names if is_gguf_name(name) and not folder.is_folder(name)]
        if ADAPTER_CONFIG in folder:
            yield self._reader.folder(folder, named_below(folder.path, roots))
        elif "config.json" in folder:
            # A part of a model (1_Pooling, unet) may have a config.json too, and is no model that lacks its weights.
            without_weights_is_a_row = not ggufs and not inside_model
            if without_weights_is_a_row or any(is_weights_name(name) for name in folder.names):
                yield self._reader.folder(folder, named_below(folder.path, roots))
        for name in ggufs:
            if not is_later_part(folder, name):
                yield self._reader.gguf(folder, name, gguf_identity(folder.path, name))


def is_gguf_name(name: str) -> bool:
    """Whether a file of this name is taken for a GGUF model."""
    return name.lower().endswith(".gguf") and not name.startswith(".")


def named_below(path: str, roots: tuple[str, ...]) -> Identity:
    """As ``folder_identity``, but called by its way from the model folder: ``org/name``, ``run-3/checkpoint-500``."""
    root = next((root for root in roots if path != root and is_within(path, (root,))), None)
    identity = folder_identity(path)
    return identity if root is None else Identity(path, path.removeprefix(root).lstrip("/"), identity.source)


def folder_identity(path: str, source: ModelSource = ModelSource.FOLDER) -> Identity:
    """A folder is known by its real path and called by its last part."""
    return Identity(path, os.path.basename(path) or path, source)  # noqa: PTH119  # strings throughout the scan


def gguf_identity(folder: str, name: str, source: ModelSource = ModelSource.FOLDER) -> Identity:
    """A GGUF file is known by its real path and called by its name without the ending."""
    called = name[: -len(".gguf")] if is_gguf_name(name) else name
    return Identity(f"{folder.rstrip('/')}/{name}", called, source)
