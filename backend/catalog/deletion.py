"""Deleting a model from the disk: first what that means, to the byte, then doing it. Blocking: call it in a thread.

Only what lies in the user's own places is ever deleted: no link is followed, and what changed since it was planned is
left alone.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import structs

from modeldeck.backend.catalog.deletion_guards import check_not_loaded, walk
from modeldeck.backend.catalog.deletion_plan import DeletionKind, DeletionPlan, files_of, fingerprint, freed_bytes
from modeldeck.backend.catalog.files import is_within, reason
from modeldeck.backend.catalog.folders import is_gguf_name
from modeldeck.backend.catalog.gguf_reading import split_parts
from modeldeck.backend.catalog.hub_cache import is_repo_name
from modeldeck.backend.catalog.hub_deletion import delete_from_hub_cache, plan_in_hub_cache
from modeldeck.backend.catalog.starter import PACKAGE, find_starter
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.text import clean_name

__all__ = ["DeletionKind", "DeletionPlan", "delete", "plan_deletion"]

_OWN_MODELS = ("config.json", "adapter_config.json")


def plan_deletion(
    model: ModelInfo, folders: Sequence[Path], hub_cache: Path, loaded: Iterable[str] = ()
) -> DeletionPlan:
    """What deleting this model would remove and free. Changes nothing.

    ``loaded`` are the paths of the models that engines hold. Raises CatalogError, in one sentence, where the model
    must stay: it is loaded, lies outside of the places, or came with a package.
    """
    loaded = tuple(loaded)
    check_not_loaded(model.name, model.path, (), loaded)
    _check_not_starter(model)
    try:
        plan = _planned(model, folders, hub_cache)
    except OSError as error:
        name = clean_name(model.name)
        raise CatalogError(f"{name} cannot be read, so it is not deleted: {reason(error)}.") from error
    check_not_loaded(model.name, model.path, plan.paths, loaded)
    return structs.replace(plan, folders=tuple(folders), hub_cache=hub_cache, seen=fingerprint(plan.paths))


def delete(plan: DeletionPlan, loaded: Iterable[str] = ()) -> None:
    """Do it, if all is as it was planned. Raises CatalogError, in one sentence, when it is not or something is left."""
    if not any(os.path.lexists(path) for path in plan.paths):
        return  # somebody else was quicker
    name = clean_name(plan.model.name)
    now = plan_deletion(plan.model, plan.folders, plan.hub_cache, loaded)
    if (now.paths, now.freed_bytes, now.seen) != (plan.paths, plan.freed_bytes, plan.seen):
        raise CatalogError(f"{name} is not deleted: it changed while you were looking; look again.")
    try:
        if plan.cache:
            delete_from_hub_cache(plan)
            return
        for path in plan.paths:
            _remove(path)
    except OSError as error:
        where = clean_name(error.filename or plan.paths[0], 500)
        raise CatalogError(f"{name} is not wholly deleted: {where} could not be removed: {reason(error)}.") from error


def _remove(path: str) -> None:
    """A folder with all that is in it, or a file or link itself. Raises CatalogError, OSError."""
    parent = os.path.dirname(path)  # noqa: PTH120  # strings in the catalog
    if os.path.realpath(parent) != parent:
        raise CatalogError(f"{clean_name(path, 500)} is not what it was; look again before you delete it.")
    with suppress(FileNotFoundError):  # somebody else was quicker
        if _is_real_folder(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108


def _check_not_starter(model: ModelInfo) -> None:
    starter = find_starter()
    if model.source is ModelSource.STARTER or (starter is not None and is_within(model.path, (starter,))):
        package = PACKAGE.replace("_", "-")
        name = clean_name(model.name)
        raise CatalogError(f"{name} came with the package {package}; pip uninstall {package} removes it.")


def _planned(model: ModelInfo, folders: Sequence[Path], hub_cache: Path) -> DeletionPlan:
    """Raises CatalogError, OSError."""
    if model.source is ModelSource.HUB_CACHE:
        return plan_in_hub_cache(model, (hub_cache, *folders))
    _check_place(model, folders)
    return _plan_folder(model) if _is_real_folder(model.path) else _plan_gguf(model)


def _check_place(model: ModelInfo, folders: Sequence[Path]) -> None:
    """Raises CatalogError unless the model lies inside one of the folders, itself and not by way of a link."""
    name = clean_name(model.name)
    roots = tuple(os.path.realpath(folder.expanduser()) for folder in folders)
    try:
        parent = os.path.realpath(os.path.dirname(model.path), strict=True)  # noqa: PTH120
        os.lstat(model.path)
    except (OSError, ValueError) as error:
        raise CatalogError(f"{name} is not there any more.") from error
    if model.path in roots:
        raise CatalogError(f"{name} is one of your model_folders itself; remove it by hand if you mean it.")
    if parent != os.path.dirname(model.path) or not is_within(model.path, roots):  # noqa: PTH120
        raise CatalogError(f"{name} lies outside of the model folders and the cache; remove it by hand if you mean it.")


def _plan_folder(model: ModelInfo) -> DeletionPlan:
    """The whole folder, or all its files but other models in it.

    What could not be listed when it was scanned is a row, too, and may hold anything: such a folder stays.
    """
    if not any(name in _OWN_MODELS for name in os.listdir(model.path)):  # noqa: PTH208
        name = clean_name(model.name)
        raise CatalogError(f"{name} holds no config.json, so it may be no model; remove it by hand if you mean it.")
    kept = list(_other_models(model.path))
    paths = [model.path] if not kept else list(_without(model.path, kept))
    notes = [f"{os.path.relpath(path, model.path)} is a model of its own and stays." for path in kept]
    return DeletionPlan(
        kind=DeletionKind.FOLDER,
        model=model,
        paths=tuple(paths),
        freed_bytes=freed_bytes(paths),
        notes=(*(clean_name(note, 500) for note in notes), *_link_notes(paths)),
    )


def _plan_gguf(model: ModelInfo) -> DeletionPlan:
    """The file, and all other parts where it is split."""
    folder, name = os.path.split(model.path)
    status = os.lstat(model.path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        raise CatalogError(f"{clean_name(model.name)} is no regular file, so it is not deleted.")
    paths = [f"{folder}/{part}" for part in split_parts(name, os.listdir(folder))]  # noqa: PTH208
    return DeletionPlan(
        kind=DeletionKind.FILE,
        model=model,
        paths=tuple(paths),
        freed_bytes=freed_bytes(paths),
        notes=_link_notes(paths),
    )


def _other_models(folder: str) -> Iterator[str]:
    """Models that lie in this one's folder or below, and are rows of their own."""
    for path, folders, files in walk(folder):
        if path != folder and (any(name in files for name in _OWN_MODELS) or _is_repository(path, folders)):
            folders.clear()
            yield path
            continue
        folders[:] = sorted(name for name in folders if not os.path.islink(f"{path}/{name}"))  # noqa: PTH114
        yield from (f"{path}/{name}" for name in sorted(files) if is_gguf_name(name))


def _is_repository(path: str, folders: Sequence[str]) -> bool:
    """Whether the folder is one of a hub cache, of which the snapshots are nothing without the blobs."""
    return is_repo_name(os.path.basename(path)) and "snapshots" in folders  # noqa: PTH119


def _without(folder: str, kept: Sequence[str]) -> Iterator[str]:
    """Everything in a folder but what is kept, as few paths as possible."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.path in kept:
                continue
            if any(is_within(path, (entry.path,)) for path in kept):
                yield from _without(entry.path, kept)
            else:
                yield entry.path


def _link_notes(paths: Sequence[str]) -> tuple[str, ...]:
    """What a person who looks at the figure should know."""
    links = shared = 0
    for path in paths:
        for file in files_of(path):
            with suppress(OSError):
                status = os.lstat(file)
                links += stat.S_ISLNK(status.st_mode)
                shared += stat.S_ISREG(status.st_mode) and status.st_nlink > 1
    notes = []
    if links:
        notes.append(f"{links} of its files {'is a link' if links == 1 else 'are links'}; what they lead to stays.")
    if shared:
        notes.append(f"{shared} of its files may have another name elsewhere (hard links), which keeps their bytes.")
    return tuple(notes)


def _is_real_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False
