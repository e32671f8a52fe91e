"""The model that a command names: the one that is here, else the one that the hub has."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from modeldeck.backend.catalog.finding import ModelAmbiguous, ModelNotFound
from modeldeck.backend.embedded import embedded_downloader
from modeldeck.backend.errors import DownloadError
from modeldeck.backend.hub_download import download
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.protocol import DownloadFinished, DownloadProgress
from modeldeck.tui.cli_commands.looking import find, read
from modeldeck.tui.cli_commands.output import fail
from modeldeck.tui.cli_commands.signals import until_signal
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.format import size_of

if TYPE_CHECKING:
    from modeldeck.backend.pipeline_manager import EngineStarter
    from modeldeck.tui.cli_commands.workspace import Workspace

_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_PERCENT = 10
"""Progress is told in steps of so many percent, each a line that a log can keep."""


def find_or_download(workspace: Workspace, text: str, progress: Callable[[str], None]) -> ModelInfo:
    """The model that the text names; a Hub id (``org/name``) that is not wholly here is downloaded first.

    Ends the command with code 3 when there is no such model, and with 1 when it cannot be downloaded.
    """
    hub_id = None if text.lower().endswith(".gguf") else _HUB_ID.fullmatch(text)
    try:
        model = find(workspace, text)
    except ModelNotFound as error:
        if hub_id is None or isinstance(error, ModelAmbiguous):
            fail(str(error), ExitCode.MODEL_NOT_FOUND)
    else:
        if hub_id is None or not model.problems or model.source is not ModelSource.HUB_CACHE:
            return model
    progress(f"downloading {text} ...")
    start = embedded_downloader(workspace.settings, workspace.paths, logging.getLogger("modeldeck.engine").info)
    try:
        finished = asyncio.run(until_signal(_download(hub_id["repo"], hub_id["revision"], start, progress)))
    except DownloadError as error:
        fail(str(error))
    try:
        return find(workspace, finished.model_id)
    except ModelNotFound:
        return read(workspace, Path(finished.path), ModelSource.HUB_CACHE)


async def _download(
    repo_id: str, revision: str | None, start: EngineStarter, progress: Callable[[str], None]
) -> DownloadFinished:
    told = -_PERCENT
    note = ""
    async with aclosing(download(repo_id, revision, start)) as steps:
        async for step in steps:
            if isinstance(step, DownloadFinished):
                return step
            percent = _percent(step)
            if step.note and step.note != note:
                progress(step.note)
            elif percent >= told + _PERCENT:
                told = percent - percent % _PERCENT
                progress(f"{percent} %, {size_of(step.done_bytes, step.total_bytes)}")
            note = step.note
    raise DownloadError("The download ended without a model; try again.")


def _percent(step: DownloadProgress) -> int:
    return 100 * step.done_bytes // step.total_bytes if step.total_bytes else 0
