"""The policy: load, cancel, switch, unload, generate. The only owner of the engines and of their state.

Everything runs on one event loop; nothing here blocks it. A script drives it like this::

    manager = PipelineManager(embedded_engine(settings, paths, print))
    async with aclosing(manager.load(request)) as steps:
        async for progress in steps:
            print(progress.stage, progress.fraction)
    async with aclosing(manager.generate(messages, settings)) as events:
        async for event in events: ...
    await manager.close()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from time import monotonic

from modeldeck.backend.errors import BackendError, EngineBusy, NotLoaded
from modeldeck.backend.load_operation import LoadOperation
from modeldeck.backend.manager_state import Reason
from modeldeck.backend.models import LoadRequest
from modeldeck.backend.protocol import LoadProgress
from modeldeck.backend.spare_engine import EngineStarter
from modeldeck.backend.talking import Talking
from modeldeck.backend.text import clean_name

__all__ = ["EngineStarter", "PipelineManager"]

CLOSE_GRACE = 0.5
"""Seconds for each step of the ladder when the program quits."""


class PipelineManager(Talking):
    """Holds models, each in an engine process of its own.

    ``keep_spare`` has one more engine kept ready (see ``warm``); ``stall_seconds`` is how long a load may make no
    progress before it is ended; ``clock`` is for tests.
    """

    def __init__(
        self,
        start_engine: EngineStarter,
        *,
        keep_spare: bool = True,
        stall_seconds: float = 300.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(start_engine, keep_spare, stall_seconds, clock)

    @property
    def spare_error(self) -> BackendError | None:
        """Why the last spare engine died or could not start; None while all is well."""
        return self._spare.error

    @property
    def engine_pids(self) -> tuple[int, ...]:
        """The processes that are alive: those of ``model_pids``, and the spare, which holds no model."""
        return (*self.model_pids, self._spare.pid) if self._spare.pid is not None else self.model_pids

    async def warm(self) -> None:
        """Start the spare engine if it is wanted and missing; returns when a load would begin at once. Never raises."""
        if not self._closed:
            self._spare.start()
            await self._spare.until_ready()

    async def load(
        self,
        request: LoadRequest,
        *,
        unload: Collection[str] = (),
        wait_for: Mapping[str, int] | None = None,
        replace: bool = False,
    ) -> AsyncGenerator[LoadProgress, None]:
        """Load a model beside those that are held; yields progress and returns when it is LOADED and the current one.

        ``unload`` names the models that make room first; one that is held with the same id always does. When memory
        runs out all the same, the load is tried once more after everything that may make room has gone
        (``Resident.may_make_room``). When it fails, the models that made room are loaded again before the error is
        raised; ``failure`` tells of it then. What was pinned, or has begun a reply, since this was called stays.

        ``wait_for`` are bytes of devices (``cuda:0``, ``ram``) that must be free, or come back from what makes room,
        before any of that begins, however long it takes; ``waiting`` tells what is missing.

        Closing or cancelling the generator cancels the load: its engine is killed and reaped. ``replace=True`` first
        ends a load that is running; of several, the last one asked for wins.
        Raises EngineBusy when a load runs (and not ``replace``), LoadError and its kinds, EngineDied, EngineStalled,
        and LoadCancelled when ``cancel_load`` or another load ended this one.
        """
        if self._closed:
            raise EngineBusy("modeldeck is closing.")
        running = self._operation if self.load_running else None
        if not replace:
            self._refuse_while_loading()
        elif running is not None:
            running.abandon()
        self._operation = operation = LoadOperation(request, unload, after=running, wait_for=wait_for)
        operation.replying = frozenset(one.model_id for one in self.residents if one.generating)
        operation.start(self._run_load)
        async with aclosing(operation.steps()) as steps:
            async for progress in steps:
                yield progress

    async def cancel_load(self) -> bool:
        """End the load that runs; its engine is killed and reaped on return. False when none runs."""
        operation = self._operation
        if operation is None or not operation.abandon():
            return False
        await operation.wait()
        return True

    async def unload(self, model_id: str | None = None) -> None:
        """End a model and its process, stopping its reply first; the current one where none is named.

        Also forgets an error. Returns when its memory is back, as ``freed`` tells, or ``unloading.PATIENCE`` seconds
        later; a second unload waits for the first. The model that was used last becomes the current one.
        Raises EngineBusy where the model is being loaded.
        """
        resident = self.residents.current if model_id is None else self.residents.find(model_id)
        if resident is None:
            self._refuse_while_loading(model_id)
        elif self._operation is not None:
            self._operation.made_room.discard(resident)  # it shall not come back when that load fails
        if resident is None or not self.load_running:
            self._forget_failure()
        if resident is not None:
            await self._release(resident, Reason.ASKED)
        self._changed()

    def switch(self, model_id: str) -> None:
        """Talk to this model from now on, at once; replies that are being written go on. Raises NotLoaded."""
        resident = self.residents.find(model_id)
        if resident is None or not resident.holds:
            raise NotLoaded("That model is not loaded.")
        self._choose(resident)

    def pin(self, model_id: str, pinned: bool) -> None:
        """Say whether a model that is held may make room for others and may time out. Raises NotLoaded."""
        resident = self.residents.find(model_id)
        if resident is None:
            raise NotLoaded("That model is not loaded.")
        resident.pinned = pinned
        self._start_idling(resident)
        self._changed()

    async def close(self) -> None:
        """End everything that runs, and reap it; nothing can be loaded afterwards."""
        self._closed = True
        self.on_unloaded = None  # that is no news any more
        await self.cancel_load()
        await self._spare.close()
        moves = [one.moving for one in self.residents if one.moving is not None]
        await asyncio.gather(*(self._release(one, Reason.ASKED, CLOSE_GRACE, look=False) for one in self.residents))
        await asyncio.gather(*moves, return_exceptions=True)

    def _refuse_while_loading(self, model_id: str | None = None) -> None:
        operation = self._operation
        if operation is None or not operation.running:
            return
        loading = self._loading.request if self._loading is not None else operation.request
        if model_id is None or model_id == loading.model_id:
            raise EngineBusy(f"{clean_name(loading.model_id)} is being loaded; cancel that first.")
