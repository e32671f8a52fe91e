"""One model in one process: load it, then reply with it until the process ends."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import torch

from modeldeck.backend.engine.failures import as_load_error, first_line, is_fatal, is_out_of_memory, kind_of, trace
from modeldeck.backend.engine.loading import Loaded, load_model
from modeldeck.backend.engine.parking import ParkedWeights
from modeldeck.backend.engine.prepared import CopyWriter
from modeldeck.backend.engine.progress import Progress
from modeldeck.backend.engine.wire import Arrival, Wire
from modeldeck.backend.errors import GenerationError, ParkingFailed
from modeldeck.backend.models import SPARING_SECONDS
from modeldeck.backend.protocol import (
    EXIT_DEVICE_LOST,
    CopyWritten,
    CountTokens,
    EngineLog,
    Generate,
    GenerationFailed,
    GenerationFinished,
    Load,
    LoadFailed,
    LoadFinished,
    LookedInto,
    LookInto,
    Moved,
    MoveFailed,
    Park,
    PrefillProgress,
    TokensCounted,
    Wake,
)


class Session:
    """Holds the model; sends what happens to the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loaded: Loaded | None = None
        self._parked: ParkedWeights | None = None
        self._copy_writer: CopyWriter | None = None
        self.used = False
        """Whether a load was tried; there is no second one."""

    @property
    def loaded(self) -> bool:
        """Whether there is a model to reply with."""
        return self._loaded is not None

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
        self._loaded = loaded
        described = loaded.describe(monotonic() - start)
        if described.on_cpu:
            self._wire.token_interval = SPARING_SECONDS
        self._wire.send(LoadFinished(load.request_id, described))
        if loaded.unprepared is not None:
            self._copy_writer = CopyWriter(loaded.unprepared, self.log, self._copy_written)

    def use_spare_time(self, interrupted: Callable[[], bool]) -> bool:
        """Nobody has asked for anything; ``interrupted`` says when that has changed.

        Whether there is more to do soon, though nothing is asked in between.
        """
        if self._loaded is None or self._parked is not None:
            return False
        try:
            return self._loaded.replier.use_spare_time(interrupted)
        except Exception as caught:  # noqa: BLE001  # nobody asked for it, so nobody is told but the log
            self.log(f"What was tried in spare time failed: {first_line(caught)}")
            self._end_if_fatal(caught)
            return False

    def _copy_written(self, gguf: Path) -> None:
        self._wire.send(CopyWritten(str(gguf)))

    def reply(self, request: Generate, arrival: Arrival) -> None:
        """Stream a reply, and send ``GenerationFinished`` or ``GenerationFailed``; the model stays usable."""
        assert self._loaded is not None
        if self._parked is not None:
            self._wire.send(GenerationFailed(request.request_id, "The model is parked; wake it first."))
            return
        if self._copy_writer is not None:
            self._copy_writer.pause()
        out_of_memory = False

        def say(text: str, new_tokens: int, reasoning: bool) -> None:
            self._wire.tokens(request.request_id, text, new_tokens, reasoning)

        def read(done: int, total: int) -> None:
            self._wire.send(PrefillProgress(request.request_id, done, total))

        try:
            stats = self._loaded.replier.reply(request, arrival, say, read)
            self._wire.send(GenerationFinished(request.request_id, stats))
        except Exception as caught:  # noqa: BLE001  # the last handler of a reply
            out_of_memory = is_out_of_memory(caught)
            self._wire.send(_failure(request, caught))
            self._end_if_fatal(caught)
        finally:
            if self._copy_writer is not None:
                self._copy_writer.resume()
        if out_of_memory:  # out here the exception is gone, and with it the frames that hold the tensors
            self._loaded.replier.make_room()
            _give_memory_back()
            self._end_if_lost()

    def answer(self, request: CountTokens | LookInto, arrival: Arrival) -> None:
        """Send ``TokensCounted``, ``LookedInto``, or ``GenerationFailed``."""
        assert self._loaded is not None
        out_of_memory = False
        try:
            if isinstance(request, CountTokens):
                counts = tuple(self._loaded.replier.prompts.count(text) for text in request.texts)
                self._wire.send(TokensCounted(request.request_id, counts))
            elif self._parked is not None:
                self._wire.send(GenerationFailed(request.request_id, "The model is parked; wake it first."))
            else:
                tokens = self._loaded.replier.look_into(request.asked, request.token_ids, arrival)
                self._wire.send(LookedInto(request.request_id, tokens))
        except Exception as caught:  # noqa: BLE001  # the last handler of a question
            out_of_memory = is_out_of_memory(caught)
            self._wire.send(_failure(request, caught))
            self._end_if_fatal(caught)
        if out_of_memory:
            _give_memory_back()

    def move(self, request: Park | Wake) -> None:
        """Move the weights to RAM or back, and send ``Moved`` or ``MoveFailed``; a failure leaves them where they are.

        Asked for what is so already, it has moved nothing.
        """
        assert self._loaded is not None
        start, moved = monotonic(), 0
        failed = None
        try:
            if isinstance(request, Park) and self._parked is None:
                moved = self._park(self._loaded)
            elif isinstance(request, Wake) and self._parked is not None:
                moved = self._wake(self._parked)
        except Exception as caught:  # noqa: BLE001  # the last handler of a move
            failed = MoveFailed(request.request_id, _why_not_moved(request, caught), trace(caught))
            self._end_if_fatal(caught)
        if failed is not None:  # out here the exception is gone, and with it the frames that hold the tensors
            _give_memory_back()
        self._wire.send(failed or Moved(request.request_id, moved, monotonic() - start))

    def _end_if_fatal(self, error: Exception) -> None:
        """After such an error every call to the device fails; only a new process mends it (F7)."""
        if is_fatal(error):
            self._wire.send(EngineLog("error", "The device no longer answers; the engine ends. Load again."))
            self._wire.drain(1.0)
            os._exit(EXIT_DEVICE_LOST)

    def _end_if_lost(self) -> None:
        """Where memory ran out the device may be lost besides: the next reply is not to find that out."""
        assert self._loaded is not None
        try:
            _probe(next(tensor.device for tensor in self._loaded.model.parameters() if not tensor.is_meta))
        except Exception as caught:  # noqa: BLE001  # whatever it is but the one thing, the next reply tells
            self._end_if_fatal(caught)

    def _park(self, loaded: Loaded) -> int:
        loaded.replier.forget()
        device = next(loaded.model.parameters()).device
        if device.type != "cuda":
            raise ParkingFailed("The model lies in RAM already.")
        if self._copy_writer is not None:
            self._copy_writer.pause()  # until it is awake again: it reads the weights
        try:
            self._parked = ParkedWeights.of(loaded.model, device)
        except BaseException:
            if self._copy_writer is not None:
                self._copy_writer.resume()
            raise
        return self._parked.size

    def _wake(self, parked: ParkedWeights) -> int:
        parked.wake()
        self._parked = None
        if self._copy_writer is not None:
            self._copy_writer.resume()
        return parked.size


def _why_not_moved(request: Park | Wake, error: Exception) -> str:
    if isinstance(error, ParkingFailed):
        return str(error)
    if is_out_of_memory(error):
        where = "RAM" if isinstance(request, Park) else "The GPU"
        what = "unload or park another one first" if isinstance(request, Wake) else "unload it instead"
        return f"{where} has no room for this model now; {what}."
    return f"The model could not be moved: {first_line(error)}"


def _failure(request: Generate | CountTokens | LookInto, error: Exception) -> GenerationFailed:
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


def _probe(device: torch.device) -> None:
    """Compute something there. Raises what torch raises for a device that is lost."""
    (torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)).sum().item()


def _give_memory_back() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
