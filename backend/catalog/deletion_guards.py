"""What every deletion is held against, whatever it is of: the models that engines hold, and the names it is told by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from modeldeck.backend.catalog.deletion_plan import files_of
from modeldeck.backend.catalog.files import is_within
from modeldeck.backend.catalog.folders import is_gguf_name
from modeldeck.backend.catalog.weights import is_weights_name
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.text import clean_name

_MOST_NAMES = 20
"""More are counted."""


def check_not_loaded(name: str, path: str, doomed: Sequence[str], loaded: Iterable[str]) -> None:
    """Raises CatalogError when the model of this path is loaded, or a loaded one has files among the doomed paths."""
    name = clean_name(name)
    for held in loaded:
        if _touch(_real({path}), _real({held})):
            raise CatalogError(f"{name} is loaded; unload it before you delete it.")
        if _touch(_real(doomed), _ways_to(held)):
            raise CatalogError(f"{name} has files that a loaded model uses; unload that before you delete it.")


def check_files(path: str) -> list[str]:
    """Every file and link below a folder. Raises OSError where one below cannot be listed: who knows what is there."""
    return [f"{below}/{name}" for below, folders, files in walk(path) for name in (*files, *_links(below, folders))]


def walk(path: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``, but raises OSError for what cannot be listed."""
    return os.walk(path, onerror=_refuse)


def is_model_file(path: str) -> bool:
    """Whether a file of this name may be what another row of the same folder stands for."""
    name = os.path.basename(path)  # noqa: PTH119  # strings throughout the catalog
    return (
        is_gguf_name(name)
        or is_weights_name(name)
        or name.startswith("adapter_")
        or name.endswith((".safetensors", ".index.json"))
    )


def listed(names: Sequence[str]) -> str:
    """All the names, or the first of very many and how many more."""
    shown = [clean_name(name) for name in names[:_MOST_NAMES]]
    more = [f"{len(names) - _MOST_NAMES:,} more"] if len(names) > _MOST_NAMES else []
    *first, last = [*shown, *more]
    return f"{', '.join(first)} and {last}" if first else last


def _ways_to(path: str) -> frozenset[str]:
    """A loaded path and where it leads, with what the links in a folder lead to."""
    return _real({path, *files_of(path)} if os.path.isdir(path) else {path})  # noqa: PTH112


def _real(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(way for path in paths for way in (path, os.path.realpath(path)))


def _touch(some: Iterable[str], others: frozenset[str]) -> bool:
    roots = tuple(some)
    return any(is_within(path, roots) for path in others) or any(is_within(path, tuple(others)) for path in roots)


def _links(below: str, folders: Iterable[str]) -> Iterator[str]:
    return (name for name in folders if os.path.islink(f"{below}/{name}"))  # noqa: PTH114


def _refuse(error: OSError) -> None:
    raise error
