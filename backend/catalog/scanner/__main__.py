"""``python -m modeldeck.backend.catalog.scanner``: where files that somebody else wrote are looked at.

A hang, a crash or a bomb in one of them costs this process and not the program: the other side ends it, and starts
another that leaves the file alone.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from contextlib import suppress
from queue import Queue

from modeldeck.backend.catalog.messages import FindModel, ReadModel, Scan
from modeldeck.backend.catalog.scanner.scanner import CatalogRequest, Scanner
from modeldeck.backend.catalog.scanner.tracked_reader import MEMORY_GIB
from modeldeck.backend.child_wire import take_stdout
from modeldeck.backend.linux import die_with_parent
from modeldeck.backend.protocol import PROTOCOL_VERSION, EngineStarted, ProtocolError, Shutdown, decode_request

EXIT_BAD_REQUEST = 65
_SAVING_SECONDS = 2.0


def main() -> None:
    """Say hello, then answer; the end of stdin ends the process at any moment."""
    wire = take_stdout()
    requests: Queue[CatalogRequest] = Queue()
    saving = threading.Lock()
    threading.Thread(target=_read_requests, args=(requests, saving), daemon=True).start()
    die_with_parent()
    _limit_memory()
    wire.send(EngineStarted(PROTOCOL_VERSION, os.getpid()))
    Scanner(wire.send, requests, saving).run()


def _limit_memory() -> None:
    """Where the system offers no such limit, the one of the whole machine has to do."""
    limit = MEMORY_GIB * 2**30
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the memory of a crash is nobody's


def _read_requests(requests: Queue[CatalogRequest], saving: threading.Lock) -> None:
    for line in sys.stdin.buffer:
        try:
            request = decode_request(line)
        except ProtocolError:
            os._exit(EXIT_BAD_REQUEST)
        if isinstance(request, Shutdown):
            saving.acquire(timeout=_SAVING_SECONDS)  # the index is all but written, and a draft would be left
            break
        if isinstance(request, Scan | FindModel | ReadModel):
            requests.put(request)  # nosec B113  # a queue of this name, and no HTTP
    os._exit(0)


if __name__ == "__main__":
    main()
