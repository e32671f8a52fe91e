"""The engine's main thread: imports, then one request after the other until the process ends."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, assert_never

from modeldeck.backend.catalog.messages import FindModel, ModelMissing, ReadModel, Scan
from modeldeck.backend.download_messages import Download, DownloadFailed
from modeldeck.backend.engine.libraries import import_libraries
from modeldeck.backend.engine.missing import pip_line
from modeldeck.backend.engine.wire import Arrival, Inbox, Wire
from modeldeck.backend.protocol import (
    IMPORTED,
    PROTOCOL_VERSION,
    CountTokens,
    EngineReady,
    EngineStarted,
    Generate,
    GenerationFailed,
    Load,
    LoadFailed,
    LookInto,
    MoveFailed,
    Park,
    Shutdown,
    Stop,
    Wake,
)

if TYPE_CHECKING:
    from modeldeck.backend.engine.session import Session

_QUIET_SECONDS = 1.0
"""So long after the last answer nobody waits for the next."""


def serve(wire: Wire, inbox: Inbox) -> None:
    """Answer requests for ever; the inbox ends the process."""
    wire.send(EngineStarted(PROTOCOL_VERSION, os.getpid()))
    try:
        versions = import_libraries()
    except ImportError as error:
        traceback.print_exc()
        sys.exit(f"{error}; run: {pip_line(error)} (`modeldeck doctor` shows all that is missing)")
    from modeldeck.backend.engine.session import Session  # needs torch and transformers

    sys.stderr.write(f"{IMPORTED}\n")
    sys.stderr.flush()
    wire.send(EngineReady(versions))
    session = Session(wire)
    while True:
        while not inbox.waits(_QUIET_SECONDS) and session.use_spare_time(lambda: inbox.waits(0.0)):
            pass
        _answer(inbox.next(), session, wire, inbox)


def _answer(arrival: Arrival, session: Session, wire: Wire, inbox: Inbox) -> None:
    match request := arrival.request:
        case Load():
            if session.used:
                wire.send(
                    LoadFailed(request.request_id, "load", "An engine loads one model in its life; start another.")
                )
            else:
                session.load(request)
        case Generate():
            if session.loaded:
                session.reply(request, arrival)
            else:
                wire.send(GenerationFailed(request.request_id, "No model is loaded."))
            inbox.forget(request.request_id)
        case CountTokens() | LookInto():
            if session.loaded:
                session.answer(request, arrival)
            else:
                wire.send(GenerationFailed(request.request_id, "No model is loaded."))
            inbox.forget(request.request_id)
        case Park() | Wake():
            if session.loaded:
                session.move(request)
            else:
                wire.send(MoveFailed(request.request_id, "No model is loaded."))
        case Download():
            wire.send(DownloadFailed(request.request_id, "An engine downloads nothing; a process of its own does."))
        case Scan() | FindModel() | ReadModel():
            wire.send(ModelMissing(request.request_id, "An engine looks for no models; a process of its own does."))
        case Stop() | Shutdown():  # the inbox deals with them
            pass
        case _:
            assert_never(request)
