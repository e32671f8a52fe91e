"""One download from the hub, in a child of its own: killing it is the only complete cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from modeldeck.backend.download_messages import Download, DownloadFailed, DownloadFinished, DownloadProgress
from modeldeck.backend.errors import DownloadError, EngineDied, OnlyPickles
from modeldeck.backend.event_stream import RequestEvent
from modeldeck.backend.spare_engine import EngineStarter
from modeldeck.backend.text import clean_text


async def download(
    repo_id: str, revision: str | None, start: EngineStarter, *, allow_pickles: bool = False
) -> AsyncGenerator[DownloadProgress | DownloadFinished, None]:
    """Fetch a model into the hub's cache; the last event is DownloadFinished.

    Closing it kills the child; finished files are kept for the next try. Raises DownloadError with one sentence that
    says what to do; OnlyPickles where the only weights are pickled and these were not allowed. No deadline: the hub's
    client has its own, and the user sees whether bytes arrive.
    """
    try:
        child = await start()
    except EngineDied as error:
        raise DownloadError(
            "The download could not be started; the log has more.", f"{error}\n{error.detail}"
        ) from error
    try:
        with child.open_stream() as stream:
            await child.send(Download(stream.request_id, repo_id, revision, allow_pickles))
            while not isinstance(event := _checked(await stream.next()), DownloadFinished):
                yield event
            yield event
    except EngineDied as error:
        raise DownloadError(f"The download broke off; try again. ({error})", error.detail) from error
    finally:
        await asyncio.shield(child.kill())


def _checked(event: RequestEvent) -> DownloadProgress | DownloadFinished:
    match event:
        case DownloadProgress() | DownloadFinished():
            return event
        case DownloadFailed(message=message, detail=detail, only_pickles=only_pickles):
            kind = OnlyPickles if only_pickles else DownloadError
            raise kind(clean_text(message), clean_text(detail))
        case _:
            raise DownloadError("The download answered with something else; try again.", repr(event))
