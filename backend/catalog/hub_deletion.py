"""Deleting from the Hugging Face cache, as huggingface_hub does it: what other revisions need is kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modeldeck.backend.catalog.deletion_guards import check_files, is_model_file, listed
from modeldeck.backend.catalog.deletion_plan import DeletionKind, DeletionPlan, freed_bytes
from modeldeck.backend.catalog.files import is_within, list_folder, reason
from modeldeck.backend.catalog.folders import is_gguf_name
from modeldeck.backend.catalog.gguf_reading import split_parts
from modeldeck.backend.catalog.hub_cache import is_repo_name
from modeldeck.backend.catalog.hub_damaged import plan_damaged, plan_started
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo, DeleteCacheStrategy, HFCacheInfo


def plan_in_hub_cache(model: ModelInfo, places: Sequence[Path]) -> DeletionPlan:
    """Raises CatalogError, in one sentence, where nothing shall be deleted, and OSError."""
    name = clean_name(model.name)
    repo = _repository(model.path)
    roots = tuple(os.path.realpath(place.expanduser()) for place in places)
    if repo is None or os.path.realpath(repo) != repo or not any(is_within(repo, (root,)) for root in roots):
        raise CatalogError(f"{name} lies outside of the model folders and the cache; remove it by hand if you mean it.")
    if not os.path.lexists(model.path):
        raise CatalogError(f"{name} is not there any more.")
    if model.revision is None:
        return plan_started(model, repo)
    every = check_files(f"{repo}/snapshots")  # huggingface_hub takes a snapshot that cannot be listed for an empty one
    entries = [entry for entry in every if is_within(entry, (f"{repo}/snapshots/{model.revision}",))]
    files = _own_files(model, entries)
    cache = os.path.dirname(repo)  # noqa: PTH120  # strings throughout the catalog
    info = _scan(cache, name)
    known = next((found for found in info.repos if str(found.repo_path) == repo), None)
    if known is None:
        alone = _is_gguf(model.path) and len(entries) < len(every)
        return plan_damaged(model, repo, _parts(model.path) if alone else files, _company(model, entries))
    strategy = _strategy(info, known, model.revision, files)
    paths = _paths(strategy)
    if not paths:
        raise CatalogError(f"{name} is not there any more.")
    if any(not is_within(path, (repo,)) or _is_behind_link(path) for path in paths):
        raise CatalogError(f"{name} has a link out of its folder, so it is not deleted; remove it by hand.")
    whole = bool(strategy.repos)
    return DeletionPlan(
        kind=DeletionKind.REPOSITORY if whole else DeletionKind.FILE if files else DeletionKind.REVISION,
        model=model,
        paths=tuple(paths),
        freed_bytes=_freed(strategy, repo),
        notes=(*_shared(model, known, strategy, files), *(() if files else _company(model, entries))),
        cache=cache,
        files=files,
    )


def delete_from_hub_cache(plan: DeletionPlan) -> None:
    """Let huggingface_hub do it. Raises CatalogError when something is left or is not what it was, and OSError."""
    name = clean_name(plan.model.name)
    info = _scan(plan.cache, name)
    known = next((repo for repo in info.repos if is_within(plan.paths[0], (str(repo.repo_path),))), None)
    strategy = None if known is None else _strategy(info, known, plan.model.revision or "", plan.files)
    if strategy is None or set(_paths(strategy)) != set(plan.paths):
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


def _own_files(model: ModelInfo, entries: Sequence[str]) -> tuple[str, ...]:
    """The parts of a GGUF that shares its snapshot with other models; nothing where the snapshot is all its own."""
    if not _is_gguf(model.path):
        return ()
    parts = _parts(model.path)
    return parts if any(is_model_file(entry) for entry in entries if entry not in parts) else ()


def _parts(path: str) -> tuple[str, ...]:
    """Of a GGUF: itself, or all files of its split. Raises OSError."""
    folder, name = os.path.split(path)
    return tuple(f"{folder}/{part}" for part in split_parts(name, sorted(entry.name for entry in list_folder(folder))))


def _is_behind_link(path: str) -> bool:
    folder = os.path.dirname(path)  # noqa: PTH120
    return os.path.realpath(folder) != folder


def _is_gguf(path: str) -> bool:
    return is_gguf_name(os.path.basename(path))  # noqa: PTH119


def _company(model: ModelInfo, entries: Sequence[str]) -> tuple[str, ...]:
    """Which GGUF files, rows of their own, go with the snapshot that they lie in."""
    if _is_gguf(model.path):
        return ()
    ggufs = sorted(os.path.relpath(entry, model.path) for entry in entries if _is_gguf(entry))
    if not ggufs:
        return ()
    lie, go = ("lies", "goes") if len(ggufs) == 1 else ("lie", "go")
    return (f"{listed(ggufs)} {lie} in the same snapshot and {go} with it.",)


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


def _shared(
    model: ModelInfo, repo: CachedRepoInfo, strategy: DeleteCacheStrategy, files: Sequence[str]
) -> tuple[str, ...]:
    """How many of its files stay for another revision."""
    own = [file for rev in repo.revisions if rev.commit_hash == model.revision for file in rev.files]
    going = {file.blob_path for file in own if not files or str(file.file_path) in files}
    kept = 0 if strategy.repos else sum(blob not in strategy.blobs for blob in going if blob.parent.name == "blobs")
    return (f"{kept} of its files stay, because another revision has them too.",) if kept else ()
