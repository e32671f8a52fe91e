"""One load, from the confirmed request to its outcome, in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import (
    EngineStalled,
    LoadCancelled,
    LoadError,
    NotEnoughMemory,
    QuantizationUnavailable,
    RemoteCodeRefused,
    UnsupportedModel,
)
from modeldeck.backend.models import LoadedModel, LoadRequest, LoadStage
from modeldeck.backend.protocol import Load, LoadFailed, LoadFailure, LoadFinished, LoadProgress, ProtocolError
from modeldeck.backend.stall import Stalled, StallWatch
from modeldeck.backend.text import clean_text

ERRORS: dict[LoadFailure, type[LoadError]] = {
    "load": LoadError,
    "memory": NotEnoughMemory,
    "unsupported": UnsupportedModel,
    "quantization": QuantizationUnavailable,
    "remote_code": RemoteCodeRefused,
}
"""What each kind of ``LoadFailed`` becomes."""


async def load_in(
    engine: EngineClient, request: LoadRequest, watch: StallWatch, on_progress: Callable[[LoadProgress], None]
) -> LoadedModel:
    """Have a fresh engine load the model. Raises LoadError, EngineDied or EngineStalled; the engine is then useless."""
    with engine.open_stream() as stream:
        try:
            await engine.send(Load(stream.request_id, request))
        except ProtocolError as error:
            message = "The model's path cannot be sent to the engine; rename its folder to plain characters."
            raise LoadError(message, str(error)) from error
        while True:
            try:
                event = await watch.wait(stream.next)
            except Stalled:
                message = f"The engine made no progress for {watch.seconds:.0f} seconds, and was ended; load again."
                await engine.kill(message)
                raise EngineStalled(message, (await asyncio.shield(engine.gone)).detail) from None
            match event:
                case LoadProgress():
                    on_progress(event)
                case LoadFinished():
                    return event.model
                case LoadFailed():
                    raise ERRORS[event.kind](clean_text(event.message), clean_text(event.detail))
                case _:
                    await engine.kill()
                    raise LoadError("The engine answered the load with something else; load again.", repr(event))


class LoadOperation:
    """The task of one load and what its caller is told of it."""

    def __init__(self, request: LoadRequest) -> None:
        self.request = request
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._progress: dict[LoadStage, LoadProgress] = {}
        self._moved = asyncio.Event()

    def start(self, work: Callable[[LoadOperation], Coroutine[Any, Any, None]]) -> None:
        """Run the work in the background."""
        self._task = asyncio.create_task(work(self), name=f"load of {self.request.model_id}")
        self._task.add_done_callback(lambda _: self._moved.set())

    @property
    def running(self) -> bool:
        """Whether it has not come to its end yet."""
        return self._task is not None and not self._task.done()

    def put(self, progress: LoadProgress) -> None:
        """Keep progress for the caller; newer progress of a stage replaces older."""
        self._progress[progress.stage] = progress
        self._moved.set()

    async def steps(self) -> AsyncGenerator[LoadProgress, None]:
        """Progress until the end. Raises what the load ended with; closing it early cancels the load."""
        try:
            while self.running or self._progress:
                await self._moved.wait()
                while self._progress:
                    yield self._progress.pop(next(iter(self._progress)))
                if self.running:
                    self._moved.clear()
        finally:
            self.abandon()
            await self.wait()
        if self._task is not None and self._task.cancelled():
            raise LoadCancelled("The load was cancelled.")
        if self._task is not None:
            self._task.result()

    def abandon(self) -> bool:
        """End the load if it still runs, without waiting for it. True if there was something to end."""
        if not self.running or self._task is None:
            return False
        if not self._cancelled:  # a second cancel would hit the clean-up
            self._cancelled = True
            self._task.cancel()
        return True

    async def wait(self) -> None:
        """Wait until the load has ended, however it ended, and its engine is reaped or handed over."""
        if self._task is not None:
            await asyncio.wait({self._task})
