"""The models of this machine for one command: looked at by a child, so that no file can hang the command."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from modeldeck.backend.catalog.live_catalog import LiveCatalog
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.embedded import embedded_scanner
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.tui.cli_commands.output import fail
from modeldeck.tui.cli_commands.signals import until_signal
from modeldeck.tui.cli_commands.workspace import Workspace

T = TypeVar("T")
_log = logging.getLogger("modeldeck.catalog")


def every_model(workspace: Workspace, *, keep_index: bool = True) -> tuple[list[ModelInfo], tuple[str, ...]]:
    """Every model, and where it looked in words if there is none. Ends the command where that cannot be done."""
    models, settled = _run(_catalog(workspace, keep_index=keep_index).models())
    return models, settled.looked_in


def find(workspace: Workspace, text: str) -> ModelInfo:
    """The model that the text names. Raises ModelNotFound; ends the command where nobody can look."""
    return _run(_catalog(workspace).find(text))


def read(workspace: Workspace, path: Path, source: ModelSource) -> ModelInfo:
    """The model at a path. Raises ModelNotFound; ends the command where nobody can look."""
    return _run(_catalog(workspace).read(path, source))


def _catalog(workspace: Workspace, *, keep_index: bool = True) -> LiveCatalog:
    return LiveCatalog(
        Places.of(workspace.model_folders, workspace.paths.hub_cache),
        workspace.paths.catalog_index if keep_index else None,
        embedded_scanner(_log.info),
        log=_log.info,
    )


def _run(work: Coroutine[None, None, T]) -> T:
    try:
        return asyncio.run(until_signal(work))
    except CatalogError as error:
        fail(str(error))
