"""Models in the Hugging Face cache: ``models--org--name/{blobs,refs,snapshots/<commit>}``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from modeldeck.backend.catalog.files import ModelFolder, Unreadable, list_folder, reason
from modeldeck.backend.catalog.reading import (
    Identity,
    is_later_part,
    read_folder,
    read_gguf,
    unreadable_row,
)
from modeldeck.backend.models import ModelInfo, ModelSource

_PREFIX = "models--"
_MAX_REF = 4096


def is_repo_name(name: str) -> bool:
    """Whether a folder of the cache holds a model (and not a data set or a space)."""
    return name.startswith(_PREFIX) and len(name) > len(_PREFIX)


def repo_id(name: str) -> str:
    """``models--org--name`` is the cache's folder for ``org/name``."""
    return name.removeprefix(_PREFIX).replace("--", "/")


def scan_hub_cache(cache: str, cancelled: Callable[[], bool]) -> Iterator[ModelInfo]:
    """One row for every snapshot of every model. Never raises for what is there."""
    real = os.path.realpath(cache)
    try:
        entries = list_folder(real)
    except OSError:
        return  # looked_in() says why
    for name in sorted((entry.name for entry in entries if is_repo_name(entry.name)), key=str.lower):
        if cancelled():
            return
        yield from scan_repo(real, name, cancelled)


def scan_repo(cache: str, name: str, cancelled: Callable[[], bool]) -> Iterator[ModelInfo]:
    """The snapshots of one repository, the one that ``main`` stands for first. ``cache`` is a real path."""
    path = f"{cache}/{name}"
    whole = Identity(repo_id(name), repo_id(name), ModelSource.HUB_CACHE)
    try:
        snapshots = [entry.name for entry in list_folder(f"{path}/snapshots") if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        snapshots = []
    except NotADirectoryError:
        return
    except OSError as error:
        yield unreadable_row(whole, path, f"it cannot be read: {reason(error)}")
        return
    rows = 0
    main = _main_commit(path) if len(snapshots) > 1 else ""
    for commit in sorted(snapshots, key=lambda commit: (commit != main, commit)):
        if cancelled():
            return
        for row in _read_snapshot(cache, f"{path}/snapshots/{commit}", whole.name, commit):
            rows += 1
            yield row
    if not rows and _has_blobs(path):
        yield unreadable_row(whole, path, "download incomplete: no file of it is whole yet")


def _read_snapshot(cache: str, path: str, name: str, commit: str) -> Iterator[ModelInfo]:
    """The model of a snapshot, or one row for each GGUF file in it."""
    identity = Identity(f"{name}@{commit}", name, ModelSource.HUB_CACHE)
    try:
        folder = ModelFolder(path, (cache,))
        ggufs = list(_ggufs(folder, cache))
    except FileNotFoundError:
        return
    except OSError as error:
        yield unreadable_row(identity, path, f"it cannot be read: {reason(error)}")
        return
    if not folder.names:
        return
    weights = any(name.endswith((".safetensors", ".bin", ".index.json")) for name in folder.names)
    if "config.json" in folder and (weights or not ggufs):
        yield read_folder(folder, identity)
    elif not ggufs:
        yield unreadable_row(identity, path, "it has no config.json: no transformers model, or not wholly downloaded")
    for below, file in ggufs:
        where = f"{below.path.removeprefix(path)}/{file}".lstrip("/")
        called = f"{name}/{where[: -len('.gguf')]}"
        yield read_gguf(below, file, Identity(f"{identity.id}/{where}", called, ModelSource.HUB_CACHE))


def _ggufs(folder: ModelFolder, cache: str) -> Iterator[tuple[ModelFolder, str]]:
    """GGUF files of a snapshot and of the folders right below it, where repositories put one quantization each."""
    for name in folder.names:
        if name.lower().endswith(".gguf"):
            if not is_later_part(folder, name):
                yield folder, name
        elif folder.is_folder(name):
            try:
                below = ModelFolder(f"{folder.path}/{name}", (cache,))
            except OSError:
                continue
            yield from ((below, file) for file in below.names if _is_first_gguf(below, file))


def _is_first_gguf(folder: ModelFolder, name: str) -> bool:
    return name.lower().endswith(".gguf") and not is_later_part(folder, name)


def _main_commit(path: str) -> str:
    try:
        return ModelFolder(f"{path}/refs", (path,)).read("main", _MAX_REF).decode("ascii", "replace").strip()
    except (OSError, Unreadable):
        return ""


def _has_blobs(path: str) -> bool:
    try:
        return bool(list_folder(f"{path}/blobs"))
    except OSError:
        return False
