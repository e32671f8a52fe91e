"""Deleting from the Hugging Face cache, as huggingface_hub does it: what other revisions need is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modeldeck.backend.catalog.deletion_plan import DeletionKind, DeletionPlan, freed_bytes
from modeldeck.backend.catalog.files import is_within, list_folder, reason
from modeldeck.backend.catalog.folders import is_gguf_name
from modeldeck.backend.catalog.gguf_reading import split_parts
from modeldeck.backend.catalog.hub_cache import is_repo_name
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo, DeleteCacheStrategy, HFCacheInfo


def plan_in_hub_cache(model: ModelInfo, places: Sequence[Path]) -> DeletionPlan:
    """Raises CatalogError, in one sentence, where nothing shall be deleted."""
    name = clean_name(model.name)
    repo = _repository(model.path)
    roots = tuple(os.path.realpath(place.expanduser()) for place in places)
    if repo is None or os.path.realpath(repo) != repo or not any(is_within(repo, (root,)) for root in roots):
        raise CatalogError(f"{name} lies outside of the model folders and the cache; remove it by hand if you mean it.")
    if not os.path.isdir(repo):  # noqa: PTH112  # strings throughout the catalog
        raise CatalogError(f"{name} is not there any more.")
    cache = os.path.dirname(repo)  # noqa: PTH120
    info = _scan(cache, name)
    known = next((found for found in info.repos if str(found.repo_path) == repo), None)
    if known is None:
        return _plan_damaged(model, repo)
    files = _own_files(model)
    strategy = _strategy(info, known, model.revision or "", files)
    paths = _paths(strategy)
    if not paths:
        raise CatalogError(f"{name} is not there any more.")
    if any(not is_within(path, (repo,)) for path in paths):
        raise CatalogError(f"{name} has a link out of its folder, so it is not deleted; remove it by hand.")
    whole = bool(strategy.repos)
    return DeletionPlan(
        kind=DeletionKind.REPOSITORY if whole else DeletionKind.FILE if files else DeletionKind.REVISION,
        name=model.name,
        paths=tuple(paths),
        freed_bytes=_freed(strategy, repo),
        notes=_notes(model, known, strategy, files),
        cache=cache,
        revision=model.revision or "",
        files=files,
    )


def delete_from_hub_cache(plan: DeletionPlan) -> None:
    """Plan it once more, as things are now, and do it. Raises CatalogError when something is left."""
    name = clean_name(plan.name)
    if is_within(plan.revision, (plan.cache,)):
        _remove_repository(plan.revision, name)
        return
    info = _scan(plan.cache, name)
    known = next((repo for repo in info.repos if is_within(plan.paths[0], (str(repo.repo_path),))), None)
    if known is None:
        raise CatalogError(f"{name} is not what it was; look again before you delete it.")
    strategy = _strategy(info, known, plan.revision, plan.files)
    if set(_paths(strategy)) != set(plan.paths):
        raise CatalogError(f"{name} is not what it was; look again before you delete it.")
    strategy.execute()  # which logs what it cannot delete, and goes on
    left = next((path for path in plan.paths if os.path.lexists(path)), None)
    if left is not None:
        raise CatalogError(f"{name} is not wholly deleted: {clean_name(left, 500)} could not be removed.")


def _scan(cache: str, name: str) -> HFCacheInfo:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return scan_cache_dir(cache)
    except (OSError, ValueError, CacheNotFound) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise CatalogError(f"{name} is not deleted, because the cache cannot be read whole: {why}.") from error


def _repository(path: str) -> str | None:
    """The repository's folder, of a snapshot, a file in one, or itself."""
    folder = Path(path)
    return next((str(parent) for parent in (folder, *folder.parents) if is_repo_name(parent.name)), None)


def _own_files(model: ModelInfo) -> tuple[str, ...]:
    """The parts of a GGUF that shares its snapshot with other models; nothing where the snapshot is all its own."""
    if not is_gguf_name(model.path):
        return ()
    folder, name = os.path.split(model.path)
    parts = tuple(f"{folder}/{part}" for part in split_parts(name, sorted(entry.name for entry in list_folder(folder))))
    snapshot = f"{_repository(model.path)}/snapshots/{model.revision}"
    every = [f"{below}/{file}" for below, _, files in os.walk(snapshot) for file in files]
    others = [file for file in every if file not in parts and (is_gguf_name(file) or file.endswith(".safetensors"))]
    return parts if others else ()


def _strategy(info: HFCacheInfo, repo: CachedRepoInfo, commit: str, files: Sequence[str]) -> DeleteCacheStrategy:
    """For this repository alone: another one may have a revision of the same name."""
    alone = type(info)(
        size_on_disk=info.size_on_disk,
        repos=frozenset({repo}),
        incomplete_files=info.incomplete_files,
        warnings=[],
        cache_dir=info.cache_dir,
    )
    if not files:
        return alone.delete_revisions(*(rev.commit_hash for rev in repo.revisions if rev.commit_hash == commit))
    entries = [file for rev in repo.revisions for file in rev.files if str(file.file_path) in files]
    return alone.delete_files(*entries)


def _paths(strategy: DeleteCacheStrategy) -> list[str]:
    groups = (strategy.repos, strategy.snapshots, strategy.refs, strategy.files, strategy.blobs)
    return [str(path) for group in groups for path in sorted(group)]


def _freed(strategy: DeleteCacheStrategy, repo: str) -> int:
    """As huggingface_hub counts it, without blobs that have a name elsewhere and with those that are not whole."""
    blobs = [f"{repo}/blobs/{entry.name}" for entry in _blobs(repo)] if strategy.repos else map(str, strategy.blobs)
    freed = strategy.expected_freed_size
    for blob in blobs:
        if os.path.islink(blob) or not os.path.exists(blob):  # noqa: PTH110, PTH114
            continue
        real = freed_bytes([blob])
        if blob.endswith(".incomplete"):
            freed += real
        elif real == 0:
            freed -= os.lstat(blob).st_size
    return max(0, freed)


def _blobs(repo: str) -> list[os.DirEntry[str]]:
    try:
        return list_folder(f"{repo}/blobs")
    except OSError:
        return []


def _notes(
    model: ModelInfo, repo: CachedRepoInfo, strategy: DeleteCacheStrategy, files: Sequence[str]
) -> tuple[str, ...]:
    notes = []
    doomed = {str(file) for file in files}
    commit = model.revision or ""
    own = [file for rev in repo.revisions if rev.commit_hash == commit for file in rev.files]
    going = {file.blob_path for file in own if not files or str(file.file_path) in doomed}
    kept = 0 if strategy.repos else sum(blob not in strategy.blobs for blob in going if blob.parent.name == "blobs")
    if kept:
        notes.append(f"{kept} of its files stay, because another revision has them too.")
    ggufs = [file.file_name for file in own if is_gguf_name(file.file_name)]
    if ggufs and not files and not is_gguf_name(model.path):
        notes.append(f"{clean_name(ggufs[0])} lies in the same snapshot and goes with it.")
    return tuple(notes)


def _plan_damaged(model: ModelInfo, repo: str) -> DeletionPlan:
    """huggingface_hub drops a repository of which not every file is there; such a one goes as a whole or not at all."""
    try:
        snapshots: Iterable[str] = [entry.name for entry in list_folder(f"{repo}/snapshots")]
    except OSError:
        snapshots = []
    if set(snapshots) - {model.revision}:
        raise CatalogError(
            f"{clean_name(model.name)} is not wholly downloaded and has other revisions; "
            f"remove {clean_name(repo, 500)} by hand if none of them is needed."
        )
    return DeletionPlan(
        kind=DeletionKind.REPOSITORY,
        name=model.name,
        paths=(repo,),
        freed_bytes=freed_bytes([repo]),
        cache=os.path.dirname(repo),  # noqa: PTH120
        revision=repo,
    )


def _remove_repository(repo: str, name: str) -> None:
    try:
        if os.path.realpath(repo) != repo:
            raise CatalogError(f"{name} is not what it was; look again before you delete it.")
        shutil.rmtree(repo)
    except FileNotFoundError:
        return
    except OSError as error:
        where = clean_name(error.filename or repo, 500)
        said = f"{name} is not wholly deleted: {where} could not be removed: {reason(error)}."
        raise CatalogError(said) from error
