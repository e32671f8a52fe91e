"""Every model on this machine, and the way from what a person types to one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import structs

from modeldeck.backend.catalog.files import ModelFolder, is_within, reason
from modeldeck.backend.catalog.finding import ModelNotFound, choose, is_typed_path
from modeldeck.backend.catalog.folders import FolderScan, folder_identity, gguf_identity, is_gguf_name, named_below
from modeldeck.backend.catalog.hub_cache import is_repo_name, scan_hub_cache, scan_repo
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.catalog.reading import read_folder, read_gguf, unreadable_row
from modeldeck.backend.catalog.starter import IDENTITY as STARTER
from modeldeck.backend.catalog.starter import find_starter, scan_starter
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from modeldeck.backend.text import clean_name

__all__ = ["Catalog", "ModelNotFound", "read_model"]


class Catalog:
    """The models in the user's folders, in the Hugging Face cache, and the starter.

    Blocking, and a disk that hangs holds it up for ever: ``LiveCatalog`` has a child do it.
    """

    def __init__(
        self, folders: Sequence[Path], hub_cache: Path, starter: bool = True, reader: Reader | None = None
    ) -> None:
        self._folders = tuple(folder.expanduser().absolute() for folder in folders)
        self._hub_cache = hub_cache.expanduser().absolute()
        self._starter = starter
        self._reader = Reader() if reader is None else reader

    def scan(self) -> Iterator[ModelInfo]:
        """Every model as it is found, each once. Never raises for what is on the disk."""
        paths: set[str] = set()
        ids: set[str] = set()  # a second cache may hold the same revision of the same model
        for row in self._rows():
            if row.path not in paths and row.id not in ids:
                paths.add(row.path)
                ids.add(row.id)
                yield row

    def _rows(self) -> Iterator[ModelInfo]:
        if self._starter:
            yield from scan_starter(self._reader)
        walk = FolderScan(self._reader)
        for folder in self._folders:
            yield from walk.scan(str(folder))
        yield from scan_hub_cache(str(self._hub_cache), self._reader)

    def looked_in(self) -> tuple[str, ...]:
        """The places that ``scan`` looks in and what is wrong with them: ``~/models (not there)``."""
        folders = [self._described(folder, lambda name: not name.startswith(".")) for folder in self._folders]
        return (*dict.fromkeys(folders), self._described(self._hub_cache, is_repo_name))

    def find(self, text: str) -> ModelInfo:
        """The model with this id, name, unique part of a name, or path. Raises ModelNotFound."""
        if is_typed_path(text):
            return self._at(text)
        rows = list(self.scan())
        try:
            return choose(rows, text)
        except ModelNotFound:
            if os.path.lexists(text):
                return self._at(text)
            raise

    def _at(self, text: str) -> ModelInfo:
        """What lies at a path, with the same id as in the list."""
        try:
            real = _real(Path(text).expanduser())
            os.stat(real)  # noqa: PTH116  # as below, a string is what the readers take
        except FileNotFoundError as error:
            raise ModelNotFound(f"There is nothing at {clean_name(text)}.") from error
        except (RuntimeError, ValueError, OSError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise ModelNotFound(f"{clean_name(text)} cannot be read: {why}.") from error
        starter = find_starter() if self._starter else None
        listed: Iterator[ModelInfo] = iter(())
        if is_within(real, (os.path.realpath(self._hub_cache),)):
            listed = scan_hub_cache(str(self._hub_cache), self._reader)
        elif starter is not None and is_within(real, (starter,)):
            listed = scan_starter(self._reader)
        for row in listed:
            if is_within(row.path, (real,)):
                return row
        row = read_model(Path(real), ModelSource.FOLDER)
        roots = tuple(os.path.realpath(folder) for folder in self._folders)
        if row.path == row.id and row.format is not ModelFormat.GGUF:
            return structs.replace(row, name=clean_name(named_below(row.path, roots).name))
        return row

    def _described(self, folder: Path, counts: Callable[[str], bool]) -> str:
        home = str(Path.home())
        text = str(folder)
        shown = f"~{text.removeprefix(home)}" if is_within(text, (home,)) else text
        try:
            entries = self._reader.list(text)
        except FileNotFoundError:
            return f"{shown} (not there)"
        except NotADirectoryError:
            return f"{shown} (not a folder)"
        except OSError as error:
            return f"{shown} (cannot be read: {reason(error)})"
        return shown if any(counts(entry.name) for entry in entries) else f"{shown} (empty)"


def read_model(path: Path, source: ModelSource) -> ModelInfo:
    """One model folder or one ``.gguf`` file, wherever it lies. Never raises for what is there.

    Links are followed: whoever calls this was given the path by the user. The id is the real path, or ``starter``,
    or in the hub's cache ``org/name@commit``.
    """
    try:
        real = _real(path)
    except (OSError, ValueError):
        real = str(path.absolute())
    try:
        if os.path.isdir(real):  # noqa: PTH112
            return _folder_row(ModelFolder(real), source)
        parent, name = os.path.split(real)
        folder = ModelFolder(parent)
    except (OSError, ValueError) as error:
        problem = f"it cannot be read: {reason(error) if isinstance(error, OSError) else error}"
        return unreadable_row(folder_identity(real, source), real, problem)
    identity = STARTER if source is ModelSource.STARTER else gguf_identity(parent, name, source)
    if name not in folder:
        return unreadable_row(identity, real, "it is not there")
    return read_gguf(folder, name, identity)


def _folder_row(folder: ModelFolder, source: ModelSource) -> ModelInfo:
    snapshot = folder.path.split("/")
    if source is ModelSource.HUB_CACHE and len(snapshot) > 3 and snapshot[-2] == "snapshots":
        cache = "/".join(snapshot[:-3])
        for row in scan_repo(cache, snapshot[-3], Reader()):
            if row.path == folder.path:
                return row
    ggufs = [name for name in folder.names if is_gguf_name(name)]
    if "config.json" not in folder and ggufs:
        if len(ggufs) == 1:
            return read_gguf(folder, ggufs[0], gguf_identity(folder.path, ggufs[0], source))
        several = f"it holds {len(ggufs)} GGUF files: name one of them, such as {ggufs[0]}"
        return unreadable_row(folder_identity(folder.path, source), folder.path, several)
    return read_folder(folder, folder_identity(folder.path, source))


def _real(path: Path) -> str:
    """A folder's real path; of a file that of its folder, since a blob of the hub's cache has no telling name."""
    if path.is_dir():
        return os.path.realpath(path)
    parent = os.path.realpath(path.parent)
    return f"{parent.rstrip('/')}/{path.name}"
