"""One load, from the confirmed request to its outcome, in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping
from typing import Any

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import (
    EngineStalled,
    LoadCancelled,
    LoadError,
    NotEnoughMemory,
    PicklesRefused,
    QuantizationUnavailable,
    RemoteCodeRefused,
    UnsupportedModel,
)
from modeldeck.backend.models import LoadedModel, LoadRequest, LoadStage
from modeldeck.backend.protocol import Load, LoadFailed, LoadFailure, LoadFinished, LoadProgress, ProtocolError
from modeldeck.backend.residents import Resident
from modeldeck.backend.stall import Stalled, StallWatch
from modeldeck.backend.text import clean_text

ERRORS: dict[LoadFailure, type[LoadError]] = {
    "load": LoadError,
    "memory": NotEnoughMemory,
    "unsupported": UnsupportedModel,
    "quantization": QuantizationUnavailable,
    "remote_code": RemoteCodeRefused,
    "pickles": PicklesRefused,
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
    """The task of one load and what its caller is told of it.

    ``unload`` are the models that make room first, ``wait_for`` the bytes of each device that must be free before that.
    It begins when the load ``after`` which it comes has ended.
    """

    def __init__(
        self,
        request: LoadRequest,
        unload: Collection[str] = (),
        after: LoadOperation | None = None,
        wait_for: Mapping[str, int] | None = None,
    ) -> None:
        self.request = request
        self.unload = tuple(unload)
        self.made_room: set[Resident] = set()
        """What was unloaded for it, and comes back if it fails."""
        self.replying: frozenset[str] = frozenset()
        """Which models were replying when it was asked for."""
        self.wait_for = dict(wait_for or {})
        self._after = after
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._progress: dict[LoadStage, LoadProgress] = {}
        self._moved = asyncio.Event()

    def start(self, work: Callable[[LoadOperation], Coroutine[Any, Any, None]]) -> None:
        """Run the work in the background."""
        self._task = asyncio.create_task(self._run(work), name=f"load of {self.request.model_id}")
        self._task.add_done_callback(lambda _: self._moved.set())

    @property
    def running(self) -> bool:
        """Whether it has not come to its end yet, or has never begun since the one before it still ends."""
        return self._ends_later or (self._after is not None and self._after.running)

    @property
    def _ends_later(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _run(self, work: Callable[[LoadOperation], Coroutine[Any, Any, None]]) -> None:
        if self._after is not None:
            await self._after.wait()
            self._after = None  # or a chain of all loads before would be kept
        await work(self)

    def put(self, progress: LoadProgress) -> None:
        """Keep progress for the caller; newer progress of a stage replaces older."""
        self._progress[progress.stage] = progress
        self._moved.set()

    async def steps(self) -> AsyncGenerator[LoadProgress, None]:
        """Progress until the end. Raises what the load ended with; closing it early cancels the load."""
        try:
            while self._ends_later or self._progress:
                await self._moved.wait()
                while self._progress:
                    yield self._progress.pop(next(iter(self._progress)))
                if self._ends_later:
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
            self._task.cancel()  # which does nothing where it is done
        return True

    async def wait(self) -> None:
        """Wait until the load has ended, however it ended, and its engine is reaped or handed over."""
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._after is not None:  # this one was cancelled before its turn came
            await self._after.wait()
