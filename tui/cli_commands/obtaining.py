"""The model that a command names: the one that is here, else the one that the hub has."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from modeldeck.backend.catalog.finding import ModelAmbiguous, ModelNotFound
from modeldeck.backend.download_messages import DownloadFinished, DownloadProgress
from modeldeck.backend.embedded import embedded_downloader
from modeldeck.backend.errors import DownloadError, OnlyPickles
from modeldeck.backend.hub_download import download
from modeldeck.backend.hub_endpoint import other_hub
from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.tui.cli_commands.looking import find, read
from modeldeck.tui.cli_commands.output import fail
from modeldeck.tui.cli_commands.signals import until_signal
from modeldeck.tui.exit_codes import ExitCode
from modeldeck.tui.format import size_of

if TYPE_CHECKING:
    from modeldeck.tui.cli_commands.workspace import Workspace

_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_PERCENT = 10
"""Progress is told in steps of so many percent, each a line that a log can keep."""


def find_or_download(
    workspace: Workspace, text: str, progress: Callable[[str], None], *, allow_pickles: bool = False
) -> ModelInfo:
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
    hub = other_hub(os.environ)
    progress(f"downloading {text}" + (f" from {hub}, as HF_ENDPOINT says" if hub else "") + " ...")
    start = embedded_downloader(workspace.settings, workspace.paths, logging.getLogger("modeldeck.engine").info)
    try:
        steps = download(hub_id["repo"], hub_id["revision"], start, allow_pickles=allow_pickles)
        finished = asyncio.run(until_signal(_followed(steps, progress)))
    except OnlyPickles as error:
        fail(f"{error} Allow it with --allow-pickles.")
    except DownloadError as error:
        fail(str(error))
    try:
        return find(workspace, finished.model_id)
    except ModelNotFound:
        return read(workspace, Path(finished.path), ModelSource.HUB_CACHE)


async def _followed(
    steps: AsyncGenerator[DownloadProgress | DownloadFinished, None], progress: Callable[[str], None]
) -> DownloadFinished:
    told = -_PERCENT
    advised = False
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, DownloadFinished):
                return step
            percent = _percent(step)
            if step.advice and not advised:
                advised = True
                progress(step.advice)
            elif percent >= told + _PERCENT:
                told = percent - percent % _PERCENT
                progress(f"{percent} %, {size_of(step.done_bytes, step.total_bytes)}")
    raise DownloadError("The download ended without a model; try again.")


def _percent(step: DownloadProgress) -> int:
    return 100 * step.done_bytes // step.total_bytes if step.total_bytes else 0
