"""Models in the Hugging Face cache: ``models--org--name/{blobs,refs,snapshots/<commit>}``."""

from __future__ import annotations

import os
from collections.abc import Iterator

from modeldeck.backend.catalog.files import ModelFolder, Unreadable, reason
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.catalog.reading import Identity, is_later_part, unreadable_row
from modeldeck.backend.models import ModelInfo, ModelSource

_PREFIX = "models--"
_MAX_REF = 4096


def is_repo_name(name: str) -> bool:
    """Whether a folder of the cache holds a model (and not a data set or a space)."""
    return name.startswith(_PREFIX) and len(name) > len(_PREFIX)


def repo_id(name: str) -> str:
    """``models--org--name`` is the cache's folder for ``org/name``."""
    return name.removeprefix(_PREFIX).replace("--", "/")


def scan_hub_cache(cache: str, reader: Reader) -> Iterator[ModelInfo]:
    """One row for every snapshot of every model. Never raises for what is there."""
    try:
        reader.visit(cache)
        real = os.path.realpath(cache)
        entries = reader.list(real)
    except OSError:
        return  # looked_in() says why
    for name in sorted((entry.name for entry in entries if is_repo_name(entry.name)), key=str.lower):
        yield from scan_repo(real, name, reader)


def scan_repo(cache: str, name: str, reader: Reader) -> Iterator[ModelInfo]:
    """The snapshots of one repository, the one that ``main`` stands for first. ``cache`` is a real path."""
    path = f"{cache}/{name}"
    whole = Identity(repo_id(name), repo_id(name), ModelSource.HUB_CACHE)
    try:
        snapshots = [entry.name for entry in reader.list(f"{path}/snapshots") if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        snapshots = []
    except NotADirectoryError:
        return
    except OSError as error:
        yield unreadable_row(whole, path, f"it cannot be read: {reason(error)}")
        return
    for below in ("blobs", "refs", "refs/main"):  # what is deleted, and what the name means, without a new snapshot
        reader.depends_on(f"{path}/{below}")
    rows = 0
    main = _main_commit(path) if len(snapshots) > 1 else ""
    for commit in sorted(snapshots, key=lambda commit: (commit != main, commit)):
        for row in _read_snapshot(cache, f"{path}/snapshots/{commit}", whole.name, commit, reader):
            rows += 1
            yield row
    if not rows and _has_blobs(path, reader):
        yield unreadable_row(whole, path, "download incomplete: no file of it is whole yet")


def _read_snapshot(cache: str, path: str, name: str, commit: str, reader: Reader) -> Iterator[ModelInfo]:
    """The model of a snapshot, or one row for each GGUF file in it."""
    identity = Identity(f"{name}@{commit}", name, ModelSource.HUB_CACHE)
    try:
        folder = ModelFolder(path, (cache,), reader.list(path))
        ggufs = list(_ggufs(folder, cache, reader))
    except FileNotFoundError:
        return
    except OSError as error:
        yield unreadable_row(identity, path, f"it cannot be read: {reason(error)}")
        return
    if not folder.names:
        return
    weights = any(name.endswith((".safetensors", ".bin", ".index.json")) for name in folder.names)
    if "config.json" in folder and (weights or not ggufs):
        yield reader.folder(folder, identity)
    elif not ggufs:
        yield unreadable_row(identity, path, "it has no config.json: no transformers model, or not wholly downloaded")
    for below, file in ggufs:
        where = f"{below.path.removeprefix(path)}/{file}".lstrip("/")
        called = f"{name}/{where[: -len('.gguf')]}"
        yield reader.gguf(below, file, Identity(f"{identity.id}/{where}", called, ModelSource.HUB_CACHE))


def _ggufs(folder: ModelFolder, cache: str, reader: Reader) -> Iterator[tuple[ModelFolder, str]]:
    """GGUF files of a snapshot and of the folders right below it, where repositories put one quantization each."""
    for name in folder.names:
        if name.lower().endswith(".gguf"):
            if not is_later_part(folder, name):
                yield folder, name
        elif folder.is_folder(name):
            try:
                below_path = f"{folder.path}/{name}"
                below = ModelFolder(below_path, (cache,), reader.list(below_path))
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


def _has_blobs(path: str, reader: Reader) -> bool:
    try:
        return bool(reader.list(f"{path}/blobs"))
    except OSError:
        return False
