"""Deleting from the Hugging Face cache what huggingface_hub does not list: downloads that were broken off."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from modeldeck.backend.catalog.deletion_guards import check_files
from modeldeck.backend.catalog.deletion_plan import DeletionKind, DeletionPlan, freed_bytes
from modeldeck.backend.catalog.files import is_within, list_folder
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name


def plan_started(model: ModelInfo, repo: str) -> DeletionPlan:
    """A repository of which no file is whole yet. Raises CatalogError where one is, and OSError."""
    if os.path.lexists(f"{repo}/snapshots") and check_files(f"{repo}/snapshots"):
        raise CatalogError(f"{clean_name(model.name)} is not what it was; look again before you delete it.")
    return _whole(model, repo)


def plan_damaged(model: ModelInfo, repo: str, files: Sequence[str], notes: tuple[str, ...]) -> DeletionPlan:
    """A model of a repository of which not every file is there: its ``files``, or all of it where there are none.

    Raises CatalogError where other revisions may need what would go, and OSError.
    """
    if files:
        return _plan_files(model, repo, files)
    if {entry.name for entry in list_folder(f"{repo}/snapshots")} - {model.revision}:
        raise CatalogError(
            f"{clean_name(model.name)} is not wholly downloaded and has other revisions; "
            f"remove {clean_name(repo, 500)} by hand if none of them is needed."
        )
    return _whole(model, repo, notes)


def _whole(model: ModelInfo, repo: str, notes: tuple[str, ...] = ()) -> DeletionPlan:
    return DeletionPlan(
        kind=DeletionKind.REPOSITORY, model=model, paths=(repo,), freed_bytes=freed_bytes([repo]), notes=notes
    )


def _plan_files(model: ModelInfo, repo: str, files: Sequence[str]) -> DeletionPlan:
    """These entries of a snapshot, and the blobs that no other entry of any snapshot leads to."""
    others = {way for file in check_files(f"{repo}/snapshots") if file not in files for way in _ways(file)}
    leads = [_target(file) for file in files if os.path.islink(file)]  # noqa: PTH114  # strings in the catalog
    if any(not is_within(blob, (f"{repo}/blobs",)) for blob in leads):
        raise CatalogError(f"{clean_name(model.name)} has a link out of its folder, so it is not deleted.")
    blobs = [blob for blob in dict.fromkeys(leads) if os.path.lexists(blob) and others.isdisjoint(_ways(blob))]
    paths = (*files, *blobs)
    return DeletionPlan(kind=DeletionKind.FILE, model=model, paths=paths, freed_bytes=freed_bytes(paths))


def _ways(path: str) -> Iterator[str]:
    yield path
    yield os.path.realpath(path)
    if os.path.islink(path):  # noqa: PTH114
        yield _target(path)


def _target(link: str) -> str:
    """Where a link leads, one step, by its text."""
    return os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))  # noqa: PTH115, PTH118, PTH120
