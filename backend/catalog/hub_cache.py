"""Models in the Hugging Face cache: ``models--org--name/{blobs,refs,snapshots/<commit>}``."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import structs

from modeldeck.backend.catalog.adapters import CONFIG as ADAPTER_CONFIG
from modeldeck.backend.catalog.disk import files_use, folder_use
from modeldeck.backend.catalog.files import ModelFolder, Unreadable, reason
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.catalog.reading import Identity, is_later_part, unreadable_row
from modeldeck.backend.catalog.rows import unreadable_place
from modeldeck.backend.models import ModelInfo, ModelSource

_PREFIX = "models--"
_MAX_REF = 4096
_MAX_REFS = 256
_MAX_REF_DEPTH = 3


def is_repo_name(name: str) -> bool:
    """Whether a folder of the cache holds a model (and not a data set or a space)."""
    return name.startswith(_PREFIX) and len(name) > len(_PREFIX)


def repo_id(name: str) -> str:
    """``models--org--name`` is the cache's folder for ``org/name``."""
    return name.removeprefix(_PREFIX).replace("--", "/")


def scan_hub_cache(cache: str, reader: Reader) -> Iterator[ModelInfo]:
    """One row for every snapshot of every model. Never raises for what is there."""
    real = cache
    try:
        reader.visit(cache)
        real = os.path.realpath(cache)
        entries = reader.list(real)
    except (FileNotFoundError, NotADirectoryError):
        return  # looked_in() says so
    except OSError as error:
        yield unreadable_place(real, ModelSource.HUB_CACHE, error)
        return
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
    refs = read_refs(path)
    for commit in sorted(snapshots, key=lambda commit: ("main" not in refs.get(commit, ()), commit)):
        snapshot = Identity(f"{whole.name}@{commit}", whole.name, whole.source, commit, refs.get(commit, ()))
        for row in _read_snapshot(cache, f"{path}/snapshots/{commit}", snapshot, reader):
            rows += 1
            yield row
    if not rows and (blobs := _blob_bytes(path, reader)) is not None:
        yield unreadable_row(whole, path, "download incomplete: no file of it is whole yet", blobs)


def _read_snapshot(cache: str, path: str, identity: Identity, reader: Reader) -> Iterator[ModelInfo]:
    """The model of a snapshot, or one row for each GGUF file in it."""
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
    if ADAPTER_CONFIG in folder or ("config.json" in folder and (weights or not ggufs)):
        yield reader.folder(folder, identity)
    elif not ggufs:
        why = "it has no config.json: no transformers model, or not wholly downloaded"
        yield unreadable_row(identity, path, why, folder_use(folder).disk_bytes)
    for below, file in ggufs:
        where = f"{below.path.removeprefix(path)}/{file}".lstrip("/")
        called = f"{identity.name}/{where[: -len('.gguf')]}"
        yield reader.gguf(below, file, structs.replace(identity, id=f"{identity.id}/{where}", name=called))


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


def read_refs(path: str) -> dict[str, tuple[str, ...]]:
    """Of a repository's folder: which branches and tags stand for each commit. Never raises for what is there."""
    found: dict[str, tuple[str, ...]] = {}
    _read_refs(f"{path}/refs", "", path, _MAX_REF_DEPTH, found)
    return found


def _read_refs(folder_path: str, prefix: str, root: str, depth: int, found: dict[str, tuple[str, ...]]) -> None:
    """Names have slashes and so lie in folders (``refs/pr/7``)."""
    try:
        folder = ModelFolder(folder_path, (root,))
    except OSError:
        return
    for name in folder.names[:_MAX_REFS]:
        if folder.is_folder(name):
            if depth > 0:
                _read_refs(f"{folder_path}/{name}", f"{prefix}{name}/", root, depth - 1, found)
            continue
        try:
            commit = folder.read(name, _MAX_REF).decode("ascii", "replace").strip()
        except Unreadable:
            continue
        found[commit] = (*found.get(commit, ()), f"{prefix}{name}")


def _blob_bytes(path: str, reader: Reader) -> int | None:
    """What lies in the blobs so far; None where there is none."""
    try:
        blobs = ModelFolder(f"{path}/blobs", (path,), reader.list(f"{path}/blobs"))
    except OSError:
        return None
    return files_use(blobs, blobs.names).disk_bytes if blobs.names else None
