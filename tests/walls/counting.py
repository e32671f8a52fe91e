"""Counts what the scanner asks of the system: ``python -m tests.walls.counting FOLDER HUB_CACHE INDEX``.

Not with strace, which many machines lack, and which counts the interpreter's own calls, too. Python tells of every open
and every listing (``sys.addaudithook``); what is asked of single files goes through functions that are wrapped here. A
``DirEntry`` that is asked for its size is not counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Any

from modeldeck.backend.catalog.index import read_index
from modeldeck.backend.catalog.messages import ModelMissing, ModelRead, ModelsFound, ReadModel, Scan, ScanFinished
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.catalog.scanner.scanner import CatalogRequest, Scanner
from modeldeck.backend.models import ModelSource
from modeldeck.backend.protocol import EngineEvent

_AUDITED = {"open": "open", "os.scandir": "list", "os.listdir": "list"}
_WRAPPED = ("stat", "lstat", "fstat", "readlink", "pread", "close")


def main() -> None:
    """Scan once as the scanner does, and print the counts, among them the models, up to the scan's end."""
    folder, hub_cache, index = sys.argv[1:]
    counts: Counter[str] = Counter()

    def heard(event: str, _arguments: tuple[Any, ...]) -> None:
        if event in _AUDITED:
            counts[_AUDITED[event]] += 1

    def counted(name: str) -> Callable[..., Any]:
        call = getattr(os, name)

        def instead(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return call(*arguments, **named)

        return instead

    def send(event: EngineEvent) -> None:
        match event:
            case ModelsFound(models=models):
                counts["rows"] += len(models)
            case ScanFinished():
                sys.stdout.write(json.dumps(counts))
                sys.stdout.flush()
            case ModelRead() | ModelMissing():  # asked for behind the scan, so its index is written
                os._exit(0)

    known = read_index(Path(index))
    places = Places.of([Path(folder)], Path(hub_cache), starter=False)
    requests: Queue[CatalogRequest] = Queue()
    requests.put(Scan(1, places, os.fsencode(index), known.stamp if known is not None else ""))
    requests.put(ReadModel(2, b"/nowhere", ModelSource.FOLDER))
    scanner = Scanner(send, requests, Lock())
    for name in _WRAPPED:
        setattr(os, name, counted(name))
    sys.addaudithook(heard)
    scanner.run()


if __name__ == "__main__":
    main()
