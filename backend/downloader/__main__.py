"""``python -m modeldeck.backend.downloader``: one Download on stdin, its progress on what was stdout, then the end."""

from __future__ import annotations

import os
import sys
import threading
from queue import Queue

from modeldeck.backend.child_wire import Wire, take_stdout
from modeldeck.backend.download_messages import Download, DownloadFailed, DownloadFinished
from modeldeck.backend.linux import die_with_parent
from modeldeck.backend.protocol import PROTOCOL_VERSION, EngineStarted, ProtocolError, Shutdown, decode_request

EXIT_BAD_REQUEST = 65


def main() -> None:
    """Say hello, then do the one download that is asked for; the end of stdin ends the process at any moment."""
    wire = take_stdout()
    downloads: Queue[Download] = Queue()
    threading.Thread(target=_read_requests, args=(downloads,), daemon=True).start()
    die_with_parent()
    wire.send(EngineStarted(PROTOCOL_VERSION, os.getpid()))
    _serve(downloads.get(), wire)
    threading.Event().wait()  # the parent ends us when it has read the outcome


def _serve(request: Download, wire: Wire) -> None:
    from modeldeck.backend.downloader.failures import sentence  # imports huggingface_hub
    from modeldeck.backend.downloader.fetching import fetch
    from modeldeck.backend.downloader.progress import Reporter
    from modeldeck.backend.errors import OnlyPickles

    try:
        with Reporter(request.request_id, wire.send) as reporter:
            snapshot = fetch(request.repo_id, request.revision, reporter, allow_pickles=request.allow_pickles)
    except Exception as error:  # noqa: BLE001  # the last handler: whatever it was, the user gets a sentence
        wire.send(
            DownloadFailed(
                request.request_id,
                sentence(error, request.repo_id),
                repr(error),
                only_pickles=isinstance(error, OnlyPickles),
            )
        )
    else:
        wire.send(DownloadFinished(request.request_id, str(snapshot), f"{request.repo_id}@{snapshot.name}"))


def _read_requests(downloads: Queue[Download]) -> None:
    for line in sys.stdin.buffer:
        try:
            request = decode_request(line)
        except ProtocolError:
            os._exit(EXIT_BAD_REQUEST)
        if isinstance(request, Shutdown):
            break
        if isinstance(request, Download):
            downloads.put(request)
    os._exit(0)


if __name__ == "__main__":
    main()
