"""What the files of a model take on disk, and when its weights were read last."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from msgspec import Struct

from modeldeck.backend.catalog.files import ModelFolder, Unreadable

MAX_FILES = 20_000
"""Files of one model that are looked at."""
_MAX_DEPTH = 4
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
_OWN_MODELS = ("config.json", "adapter_config.json")


class DiskUse(Struct, frozen=True):
    """As the fields of ``ModelInfo`` of the same names."""

    file_count: int = 0
    disk_bytes: int = 0
    last_used: float | None = None


class _Count:
    """Adds up files; what two names share is counted once."""

    def __init__(self) -> None:
        self.files = 0
        self.size = 0
        self.read_at: float | None = None
        self._seen: set[tuple[int, int]] = set()

    def add(self, folder: ModelFolder, name: str) -> None:
        """Count a file, and its bytes unless they were counted under another name."""
        try:
            status = folder.status(name)
        except Unreadable:
            return
        self.files += 1
        key = (status.st_dev, status.st_ino)
        if key not in self._seen:
            self._seen.add(key)
            self.size += status.st_size
            if name.endswith(_WEIGHTS) and _keeps_its_time(status):
                self.read_at = max(self.read_at or 0.0, status.st_atime)

    def result(self, path: str) -> DiskUse:
        used = self.read_at if self.read_at and _mount_keeps_times(path) else None
        return DiskUse(self.files, self.size, used)


def folder_use(folder: ModelFolder, *, own_models: bool = False) -> DiskUse:
    """Of everything in a folder and below it, but for ``own_models``. Never raises for what is there."""
    count = _Count()
    _add_folder(count, folder, _MAX_DEPTH, own_models)
    return count.result(folder.path)


def files_use(folder: ModelFolder, names: Iterable[str]) -> DiskUse:
    """Of these files of a folder."""
    count = _Count()
    for name in names:
        count.add(folder, name)
    return count.result(folder.path)


def _add_folder(count: _Count, folder: ModelFolder, depth: int, own_models: bool) -> None:
    for name in folder.names:
        if count.files >= MAX_FILES:
            return
        if not folder.is_folder(name):
            count.add(folder, name)
        elif depth > 0:
            try:
                below = folder.below(name)
            except OSError:
                continue
            if own_models or not any(own in below for own in _OWN_MODELS):
                _add_folder(count, below, depth - 1, own_models)


def _keeps_its_time(status: os.stat_result) -> bool:
    """Whether our own look at the headers leaves the time alone, which only a file's owner may ask for."""
    return stat.S_ISREG(status.st_mode) and os.geteuid() in (0, status.st_uid) and hasattr(os, "O_NOATIME")


def _mount_keeps_times(path: str) -> bool:
    try:
        return not os.statvfs(path).f_flag & getattr(os, "ST_NOATIME", 0)
    except OSError:
        return False
