"""One model in one process: load it, then reply with it until the process ends."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from time import monotonic

import torch

from modeldeck.backend.engine.failures import as_load_error, first_line, is_fatal, is_out_of_memory, kind_of, trace
from modeldeck.backend.engine.generating import Replier
from modeldeck.backend.engine.loading import load_model
from modeldeck.backend.engine.prepared import CopyWriter
from modeldeck.backend.engine.progress import Progress
from modeldeck.backend.engine.wire import Arrival, Wire
from modeldeck.backend.errors import GenerationError
from modeldeck.backend.protocol import (
    CopyWritten,
    EngineLog,
    Generate,
    GenerationFailed,
    GenerationFinished,
    Load,
    LoadFailed,
    LoadFinished,
)

EXIT_DEVICE_LOST = 70
"""The exit status after an error that leaves the device unusable (EX_SOFTWARE of sysexits)."""


class Session:
    """Holds the model; sends what happens to the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._replier: Replier | None = None
        self._copy_writer: CopyWriter | None = None
        self.used = False
        """Whether a load was tried; there is no second one."""

    @property
    def loaded(self) -> bool:
        """Whether there is a model to reply with."""
        return self._replier is not None

    def log(self, text: str) -> None:
        """Say something in the log view."""
        self._wire.send(EngineLog("info", text))

    def load(self, load: Load) -> None:
        """Load, produce one token, and send ``LoadFinished`` or ``LoadFailed``."""
        self.used = True
        start = monotonic()
        try:
            loaded = load_model(load.request, Progress(self._wire.send, load.request_id), self.log)
        except Exception as caught:  # noqa: BLE001  # the last handler of a load: whatever was raised is told
            error = as_load_error(caught, load.request)
            self._wire.send(LoadFailed(load.request_id, kind_of(error), str(error), error.detail))
            return
        self._replier = loaded.replier
        self._wire.send(LoadFinished(load.request_id, loaded.describe(monotonic() - start)))
        if loaded.unprepared is not None:
            self._copy_writer = CopyWriter(loaded.unprepared, self.log, self._copy_written)

    def _copy_written(self, gguf: Path) -> None:
        self._wire.send(CopyWritten(str(gguf)))

    def reply(self, request: Generate, arrival: Arrival) -> None:
        """Stream a reply, and send ``GenerationFinished`` or ``GenerationFailed``; the model stays usable."""
        assert self._replier is not None
        if self._copy_writer is not None:
            self._copy_writer.pause()
        out_of_memory = False
        try:
            stats = self._replier.reply(request, arrival, self._wire.tokens)
            self._wire.send(GenerationFinished(request.request_id, stats))
        except Exception as caught:  # noqa: BLE001  # the last handler of a reply
            out_of_memory = is_out_of_memory(caught)
            self._wire.send(_failure(request, caught))
            if is_fatal(caught):
                self._wire.send(EngineLog("error", "The device no longer answers; the engine ends. Load again."))
                self._wire.drain(1.0)
                os._exit(EXIT_DEVICE_LOST)
        finally:
            if self._copy_writer is not None:
                self._copy_writer.resume()
        if out_of_memory:  # out here the exception is gone, and with it the frames that hold the tensors
            _give_memory_back()


def _failure(request: Generate, error: Exception) -> GenerationFailed:
    if isinstance(error, GenerationError):
        return GenerationFailed(request.request_id, str(error), error.detail)
    detail = trace(error)
    if is_out_of_memory(error):
        return GenerationFailed(
            request.request_id,
            "The device ran out of memory for this reply; shorten the conversation or lower max new tokens.",
            detail,
        )
    return GenerationFailed(request.request_id, f"The reply failed: {first_line(error)}", detail)


def _give_memory_back() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
