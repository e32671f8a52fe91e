"""The policy: load, cancel, switch, unload, generate. The only owner of the engine and of the state.

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
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import monotonic

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import BackendError, EngineBusy, GenerationError, LoadError, NotLoaded
from modeldeck.backend.load_operation import LoadOperation, load_in
from modeldeck.backend.manager_state import Failure, ManagerState
from modeldeck.backend.measurements import measured_load, measured_reply
from modeldeck.backend.models import ChatMessage, LoadRequest, LoadStage, ModelStatus
from modeldeck.backend.protocol import GenerationFinished, LoadProgress, TokensGenerated
from modeldeck.backend.reply import Reply
from modeldeck.backend.spare_engine import EngineStarter, SpareEngine
from modeldeck.backend.stall import StallWatch
from modeldeck.backend.text import clean_name
from modeldeck.backend.unloading import Unloading
from modeldeck.config.generation import GenerationSettings

__all__ = ["EngineStarter", "PipelineManager"]

CLOSE_GRACE = 0.5
"""Seconds for each step of the ladder when the program quits."""


class PipelineManager(ManagerState):
    """Holds at most one model, in an engine process of its own.

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
        super().__init__()
        self._spare = SpareEngine(start_engine, keep_spare, on_death=self._changed)
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._lock = asyncio.Lock()  # held while the engine changes hands
        self._watch: StallWatch | None = None
        self._operation: LoadOperation | None = None
        self._engine: EngineClient | None = None
        self._loading_engine: EngineClient | None = None
        self._reply: Reply | None = None
        self._closed = False

    @property
    def idle_seconds(self) -> float:
        """How long the load that runs has made no progress; 0 when none runs."""
        return self._watch.idle_seconds if self._watch is not None else 0.0

    @property
    def generating(self) -> bool:
        """Whether the engine is writing a reply."""
        return self._reply is not None and self._reply.running

    @property
    def load_running(self) -> bool:
        """Whether a load runs, which may still be unloading the model before it; ``cancel_load`` ends it."""
        return self._operation is not None and self._operation.running

    @property
    def spare_error(self) -> BackendError | None:
        """Why the last spare engine died or could not start; None while all is well."""
        return self._spare.error

    @property
    def engine_pids(self) -> tuple[int, ...]:
        """The processes that are alive: the engine, the one that is loading, the spare."""
        return (*self.model_pids, self._spare.pid) if self._spare.pid is not None else self.model_pids

    @property
    def model_pids(self) -> tuple[int, ...]:
        """The engine that holds the model and the one that is loading; the spare holds none."""
        engines = (self._engine, self._loading_engine)
        return tuple(engine.pid for engine in engines if engine is not None and engine.alive)

    async def warm(self) -> None:
        """Start the spare engine if it is wanted and missing; returns when a load would begin at once. Never raises."""
        if not self._closed:
            self._spare.start()
            await self._spare.until_ready()

    async def load(self, request: LoadRequest, *, replace: bool = False) -> AsyncGenerator[LoadProgress, None]:
        """Load a model, unloading the one before; yields progress and returns when it is LOADED.

        When it fails, the model before is loaded again before the error is raised; ``failure`` tells of it then.
        Closing or cancelling the generator cancels the load: its engine is killed and reaped. ``replace=True`` first
        ends a load that is running; of several, the last one asked for wins.
        Raises EngineBusy when a load or an unload runs (and not ``replace``), LoadError and its kinds, EngineDied,
        EngineStalled, and LoadCancelled when ``cancel_load`` or another load ended this one.
        """
        if self._closed:
            raise EngineBusy("modeldeck is closing.")
        running = self._operation if self._operation is not None and self._operation.running else None
        if not replace:
            self._refuse_while_busy(running)
        elif running is not None:
            running.abandon()  # and give the lock back once its engine is reaped
        self._operation = operation = LoadOperation(request)
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

    async def unload(self) -> None:
        """End the model and its process, stopping a running reply first; also forgets an error.

        Returns when its memory is back, as ``freed`` tells, or ``unloading.PATIENCE`` seconds later.
        Raises EngineBusy while a load runs. A second unload waits for the first.
        """
        self._refuse_while_loading(self._operation)
        async with self._lock:
            await self._release_engine()
            self._failure = None
            if self._status is ModelStatus.FAILED:
                self._set_status(ModelStatus.NOT_LOADED)

    async def generate(
        self, messages: Sequence[ChatMessage], settings: GenerationSettings
    ) -> AsyncGenerator[TokensGenerated | GenerationFinished, None]:
        """Have the loaded model reply; the last event is GenerationFinished. Closing it stops the reply.

        Raises NotLoaded, GenerationError when this reply failed or another one is being written (the model stays
        loaded), and EngineDied. The text is untrusted.
        """
        engine = self._engine
        if engine is None or self._status is not ModelStatus.LOADED:
            raise NotLoaded("No model is loaded; load one first.")
        if self.generating:
            raise GenerationError("A reply is being written; stop it first.")
        with engine.open_stream() as stream:
            self._reply = reply = Reply(engine, stream)
            self._changed()
            try:
                await reply.ask(messages, settings)
                while not isinstance(event := await reply.next(), GenerationFinished):
                    yield event
                if self._request is not None and self._loaded is not None:
                    self._measured(measured_reply(self._request, self._loaded, event.stats))
                yield event
            finally:
                await reply.stop()
                self._changed()

    async def stop_reply(self) -> None:
        """Have the engine stop the reply, which then ends as ``cancelled``; an engine that does not is killed."""
        if self._reply is not None:
            await self._reply.stop()

    async def close(self) -> None:
        """End everything that runs, and reap it; nothing can be loaded afterwards."""
        self._closed = True
        await self.cancel_load()
        await self._spare.close()
        async with self._lock:
            await self._release_engine(grace=CLOSE_GRACE, closing=True)

    def _refuse_while_loading(self, operation: LoadOperation | None) -> None:
        if operation is not None and operation.running:
            loading = self._request if self._loading_engine is not None and self._request else operation.request
            raise EngineBusy(f"{clean_name(loading.model_id)} is being loaded; cancel that first.")

    def _refuse_while_busy(self, operation: LoadOperation | None) -> None:
        self._refuse_while_loading(operation)
        if self._status is ModelStatus.UNLOADING:
            raise EngineBusy("A model is being unloaded; load again in a moment.")

    async def _run_load(self, operation: LoadOperation) -> None:
        """The task of one load, which ends with the model in ``_engine`` or with no engine at all."""
        try:
            async with self._lock:
                self._failure = None
                before = self._request if self._engine is not None else None
                await self._release_engine()
                try:
                    await self._load_engine(operation, operation.request)
                except BackendError:
                    if before is not None and (failure := self.failure) is not None:
                        await self._bring_back(operation, before, failure)
                    raise
        finally:
            if self._operation is operation and not self._closed:
                self._spare.start()

    async def _bring_back(self, operation: LoadOperation, before: LoadRequest, failure: Failure) -> None:
        """Load the model again that had to make room for one that failed; the failure stays what is told."""
        try:
            await self._load_engine(operation, before)
        except BackendError as error:
            detail = f"{failure.error.detail}\n\nThe model before could not be loaded again: {error}\n{error.detail}"
            failure.error.detail = detail.strip()
            self._request, self._error = failure.request, failure.error
        self._failure = failure
        self._changed()

    async def _load_engine(self, operation: LoadOperation, request: LoadRequest) -> None:
        def on_progress(progress: LoadProgress) -> None:
            self._progress = progress
            operation.put(progress)
            self._changed()

        self._request = request
        self._set_status(ModelStatus.LOADING)
        on_progress(LoadProgress(0, LoadStage.STARTING))
        self._watch = StallWatch(self._stall_seconds, self._clock)
        engine = None
        try:
            engine = self._loading_engine = await self._spare.take()
            engine.on_copy_written = self._copy_written
            model = await load_in(engine, request, self._watch, on_progress)
        except BaseException as error:  # a cancel too: an engine that holds no model never stays
            try:
                if engine is not None:
                    await engine.kill()
            finally:
                self._load_ended_with(error)
            raise
        finally:
            self._watch = self._loading_engine = None
        self._engine, self._loaded, self._freed = engine, model, ()
        self._spare.trust()
        self._set_status(ModelStatus.LOADED)
        self._measured(measured_load(request, model))
        engine.gone.add_done_callback(lambda _: self._engine_gone(engine))

    def _load_ended_with(self, error: BaseException) -> None:
        self._freed = ()  # which would look as if this load had held it
        if isinstance(error, asyncio.CancelledError):
            self._set_status(ModelStatus.NOT_LOADED)
            return
        unexpected = LoadError(f"The load failed unexpectedly ({type(error).__name__}); the log has more.", repr(error))
        self._set_status(ModelStatus.FAILED, error if isinstance(error, BackendError) else unexpected)

    def _engine_gone(self, engine: EngineClient) -> None:
        """The engine died while it held a model, perhaps with nobody waiting for it."""
        if self._engine is engine and self._status is ModelStatus.LOADED:
            self._engine = None
            self._set_status(ModelStatus.FAILED, engine.gone.result())

    async def _release_engine(self, grace: float = 1.0, *, closing: bool = False) -> None:
        """End the engine that holds a model, if there is one; the lock is held."""
        engine, loaded = self._engine, self._loaded
        if engine is None:
            return
        read = None if closing else self.read_memory
        self._set_status(ModelStatus.UNLOADING)
        try:
            if not closing:
                await self.stop_reply()
            unloading = await Unloading.begin(read, loaded) if read is not None and loaded is not None else None
            await engine.stop(grace)
            self._engine = None  # or the readings of ``finish`` would still look at its process
            self._freed = await unloading.finish() if unloading is not None else ()
        except asyncio.CancelledError:
            await engine.kill()
            raise
        finally:
            self._engine = None
            self._set_status(ModelStatus.NOT_LOADED)
