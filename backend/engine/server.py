"""The engine's main thread: imports, then one request after the other until the process ends."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, assert_never

from modeldeck.backend.engine.libraries import import_libraries
from modeldeck.backend.engine.wire import Arrival, Inbox, Wire
from modeldeck.backend.protocol import (
    PROTOCOL_VERSION,
    Download,
    DownloadFailed,
    EngineReady,
    EngineStarted,
    FindModel,
    Generate,
    GenerationFailed,
    Load,
    LoadFailed,
    ModelMissing,
    ReadModel,
    Scan,
    Shutdown,
    Stop,
)

if TYPE_CHECKING:
    from modeldeck.backend.engine.session import Session


def serve(wire: Wire, inbox: Inbox) -> None:
    """Answer requests for ever; the inbox ends the process."""
    wire.send(EngineStarted(PROTOCOL_VERSION, os.getpid()))
    try:
        versions = import_libraries()
    except ImportError as error:
        traceback.print_exc()
        sys.exit(f"The engine cannot import what it needs: {error}. Run `modeldeck doctor` to see what is missing.")
    from modeldeck.backend.engine.session import Session  # needs torch and transformers

    wire.send(EngineReady(versions))
    session = Session(wire)
    while True:
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
        case Download():
            wire.send(DownloadFailed(request.request_id, "An engine downloads nothing; a process of its own does."))
        case Scan() | FindModel() | ReadModel():
            wire.send(ModelMissing(request.request_id, "An engine looks for no models; a process of its own does."))
        case Stop() | Shutdown():  # the inbox deals with them
            pass
        case _:
            assert_never(request)
