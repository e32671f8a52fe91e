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
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from time import monotonic

from modeldeck.backend.errors import BackendError, EngineBusy, GenerationError, LoadError, NotEnoughMemory, NotLoaded
from modeldeck.backend.estimate.credit import added, held_by
from modeldeck.backend.load_operation import LoadOperation, load_in
from modeldeck.backend.manager_state import ManagerState, Reason, Unloaded
from modeldeck.backend.measurements import measured_load, measured_reply
from modeldeck.backend.memory_reading import MemoryReading
from modeldeck.backend.models import ChatMessage, LoadRequest, LoadStage, ModelStatus
from modeldeck.backend.protocol import GenerationFinished, LoadProgress, TokensGenerated
from modeldeck.backend.reply import Reply
from modeldeck.backend.residents import Resident
from modeldeck.backend.spare_engine import EngineStarter, SpareEngine
from modeldeck.backend.stall import StallWatch
from modeldeck.backend.text import clean_name
from modeldeck.backend.unloading import Freed, Unloading
from modeldeck.backend.waiting import WAIT_SECONDS, Shortage, shortage
from modeldeck.config.generation import GenerationSettings

__all__ = ["EngineStarter", "PipelineManager"]

CLOSE_GRACE = 0.5
"""Seconds for each step of the ladder when the program quits."""


class PipelineManager(ManagerState):
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
        super().__init__()
        self._spare = SpareEngine(start_engine, keep_spare, on_death=self._changed)
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._watch: StallWatch | None = None
        self._operation: LoadOperation | None = None
        self._releases: set[asyncio.Task[None]] = set()
        """Of models whose time-out has passed; kept so that they are not collected before they end."""
        self._closed = False

    @property
    def idle_seconds(self) -> float:
        """How long the load that runs has made no progress; 0 when none runs."""
        return self._watch.idle_seconds if self._watch is not None else 0.0

    @property
    def load_running(self) -> bool:
        """Whether a load runs, which may still be unloading models before it; ``cancel_load`` ends it."""
        return self._operation is not None and self._operation.running

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
        if resident is None or resident.status is not ModelStatus.LOADED:
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

    async def generate(
        self, messages: Sequence[ChatMessage], settings: GenerationSettings
    ) -> AsyncGenerator[TokensGenerated | GenerationFinished, None]:
        """Have the current model reply; the last event is GenerationFinished. Closing it stops the reply.

        Raises NotLoaded, GenerationError when this reply failed or the model writes another one (it stays loaded), and
        EngineDied. The text is untrusted.
        """
        resident = self.residents.current
        engine, loaded = (resident.engine, resident.loaded) if resident is not None else (None, None)
        if resident is None or engine is None or loaded is None or resident.status is not ModelStatus.LOADED:
            raise NotLoaded("No model is loaded; load one first.")
        if resident.generating:
            raise GenerationError("A reply is being written; stop it first.")
        with engine.open_stream() as stream:
            resident.stop_idling()
            resident.reply = reply = Reply(engine, stream)
            self._changed()
            try:
                await reply.ask(messages, settings)
                while not isinstance(event := await reply.next(), GenerationFinished):
                    yield event
                self._measured(measured_reply(resident.request, loaded, event.stats))
                yield event
            finally:
                await reply.stop()
                resident.last_used = self._clock()
                self._start_idling(resident)
                self._changed()

    async def stop_reply(self) -> None:
        """Have every engine stop its reply, which then ends as ``cancelled``; an engine that does not is killed."""
        await asyncio.gather(*(one.reply.stop() for one in self.residents if one.reply is not None))

    async def close(self) -> None:
        """End everything that runs, and reap it; nothing can be loaded afterwards."""
        self._closed = True
        self.on_unloaded = None  # that is no news any more
        await self.cancel_load()
        await self._spare.close()
        await asyncio.gather(*(self._release(one, Reason.ASKED, CLOSE_GRACE, look=False) for one in self.residents))

    def _refuse_while_loading(self, model_id: str | None = None) -> None:
        operation = self._operation
        if operation is None or not operation.running:
            return
        loading = self._loading.request if self._loading is not None else operation.request
        if model_id is None or model_id == loading.model_id:
            raise EngineBusy(f"{clean_name(loading.model_id)} is being loaded; cancel that first.")

    async def _run_load(self, operation: LoadOperation) -> None:
        """The task of one load, which ends with the model among the residents or with no engine for it at all."""
        try:
            for leaving in [one for one in self.residents if one.ended is not None]:
                await self._release(leaving, Reason.ASKED)  # joins who ends it
            self._forget_failure()
            await self._wait_for_room(operation)
            before, same = self.residents.current, self.residents.find(operation.request.model_id)
            await self._make_room(operation, Reason.ROOM, [*operation.unload, operation.request.model_id])
            resident = self.residents.new(operation.request)
            resident.pinned = same is not None and same.pinned
            try:
                await self._load_or_retry(operation, resident)
            except BackendError:
                await self._bring_back(operation, resident, before)
                raise
            self._choose(resident)
        except asyncio.CancelledError:
            self._lost = None
            raise
        finally:
            self._choose_another()
            if self._operation is operation and not self._closed:
                self._spare.start()

    async def _wait_for_room(self, operation: LoadOperation) -> None:
        if not operation.wait_for or self.read_memory is None:
            return
        waiting = self._loading = Resident(operation.request, 0)
        waiting.become(ModelStatus.LOADING)
        try:
            while (short := self._shortage(operation, await self.read_memory())) is not None:
                self._waiting = short
                self._changed()
                await asyncio.sleep(WAIT_SECONDS)
        finally:
            self._loading = self._waiting = None
            waiting.become(ModelStatus.NOT_LOADED)
            self._changed()

    def _shortage(self, operation: LoadOperation, reading: MemoryReading | None) -> Shortage | None:
        """What is missing once those have gone that make room and are still there."""
        going = [one.held_at for one in self.residents if self._may_go(operation, one, Reason.ROOM)]
        held = [held_by(reading, *at) for at in going if at is not None] if reading is not None else []
        credit = added(held)
        needed = {device: max(0, size - credit.get(device, 0)) for device, size in operation.wait_for.items()}
        return shortage(reading, needed)

    async def _make_room(self, operation: LoadOperation, reason: Reason, model_ids: Collection[str]) -> None:
        for model_id in dict.fromkeys(model_ids):
            resident = self.residents.find(model_id)
            if resident is None:
                continue
            if resident.ended is not None:  # somebody else wants it to go, and its memory counts
                await self._release(resident, reason)
            elif self._may_go(operation, resident, reason):
                operation.made_room.add(resident)
                await self._release(resident, reason)

    def _may_go(self, operation: LoadOperation, resident: Resident, reason: Reason) -> bool:
        """Whether it makes room for this load now: time has passed since that was said."""
        if reason is Reason.SHORT:
            return resident.may_make_room
        if resident.status is not ModelStatus.LOADED:
            return False
        if resident.model_id == operation.request.model_id:
            return True
        replies_anew = resident.generating and resident.model_id not in operation.replying
        return resident.model_id in operation.unload and not resident.pinned and not replies_anew

    async def _load_or_retry(self, operation: LoadOperation, resident: Resident) -> None:
        """Load; when memory runs out, once more without what may make room."""
        try:
            try:
                await self._load_engine(operation, resident)
            except NotEnoughMemory:
                if not (others := self.residents.least_recently_used()):
                    raise
                await self._make_room(operation, Reason.SHORT, [one.model_id for one in others])
                await self._load_engine(operation, resident)
        except asyncio.CancelledError:
            resident.error = None  # of the first try, which nobody is told of any more
            raise
        finally:
            if resident.error is not None:
                self._fail(resident, resident.error)

    async def _bring_back(self, operation: LoadOperation, failed: Resident, before: Resident | None) -> None:
        """Load what made room for a load that failed; ``before`` first, which becomes the current one again."""
        for resident in sorted(operation.made_room, key=lambda one: (one is not before, -one.last_used)):
            try:
                await self._load_engine(operation, resident)
            except BackendError as error:
                if failed.error is not None:
                    name = clean_name(resident.model_id)
                    told = f"{failed.error.detail}\n\n{name} could not be loaded again: {error}\n{error.detail}"
                    failed.error.detail = told.strip()
            else:
                if self.residents.current is None:
                    self._choose(resident)
                self._changed()

    async def _load_engine(self, operation: LoadOperation, resident: Resident) -> None:
        """Load into a fresh engine; then the resident is held, or has no engine."""

        def on_progress(progress: LoadProgress) -> None:
            self._progress = progress
            operation.put(progress)
            self._changed()

        request = resident.request
        self._loading = resident
        resident.become(ModelStatus.LOADING)
        on_progress(LoadProgress(0, LoadStage.STARTING))
        self._watch = StallWatch(self._stall_seconds, self._clock)
        engine = None
        try:
            engine = resident.engine = await self._spare.take()
            engine.on_copy_written = self._copy_written
            model = await load_in(engine, request, self._watch, on_progress)
        except BaseException as error:  # a cancel too: an engine that holds no model never stays
            try:
                if engine is not None:
                    await engine.kill()
            finally:
                self._loading = self._watch = self._progress = resident.engine = None
                self._freed = ()  # which would look as if this load had held it
                _end_load(resident, error)
                if isinstance(error, asyncio.CancelledError):
                    self._changed()  # a failure is told by who knows what becomes of it
            raise
        self._loading = self._watch = self._progress = None
        self._freed = ()
        resident.loaded = model
        resident.become(ModelStatus.LOADED)
        self.residents.put(resident)
        self._spare.trust()
        engine.gone.add_done_callback(lambda _: self._engine_gone(resident))
        self._start_idling(resident)
        self._measured(measured_load(request, model))

    def _choose(self, resident: Resident) -> None:
        self.residents.choose(resident)
        resident.last_used = self._clock()
        self._lost = None
        self._changed()

    def _choose_another(self) -> None:
        """Where the current model is gone, the chat goes on with another that is held."""
        if self.residents.current is None and (other := self.residents.previous) is not None:
            self.residents.choose(other)
            self._lost = None
            self._changed()

    def _engine_gone(self, resident: Resident) -> None:
        """The engine died while it held a model, perhaps with nobody waiting for it."""
        engine = resident.engine
        if engine is not None and resident.status is ModelStatus.LOADED:
            resident.engine = None
            resident.stop_idling()
            error = engine.gone.result()
            resident.become(ModelStatus.FAILED, error)
            self.residents.remove(resident)
            self._fail(resident, error)

    def _start_idling(self, resident: Resident) -> None:
        """Count its time-out from now, if it has one."""
        resident.stop_idling()
        seconds = resident.request.idle_minutes * 60
        if seconds > 0 and not resident.pinned and resident.status is ModelStatus.LOADED:
            resident.idle_timer = asyncio.get_running_loop().call_later(seconds, self._time_out, resident)

    def _time_out(self, resident: Resident) -> None:
        if resident.may_make_room:
            task = asyncio.create_task(self._release(resident, Reason.IDLE), name=f"time-out of {resident.model_id}")
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)

    async def _release(self, resident: Resident, reason: Reason, grace: float = 1.0, *, look: bool = True) -> None:
        """End a model that is held, or wait for who does so; ``look`` waits for its memory to come back."""
        if resident.ended is not None:
            await resident.ended.wait()
            return
        engine, loaded, read = resident.engine, resident.loaded, self.read_memory if look else None
        if engine is None or loaded is None or resident.status is not ModelStatus.LOADED:
            return
        resident.ended = asyncio.Event()
        resident.stop_idling()
        resident.become(ModelStatus.UNLOADING)
        self._changed()
        freed: tuple[Freed, ...] = ()
        try:
            if look and resident.reply is not None:
                await resident.reply.stop()
            unloading = await Unloading.begin(read, engine.pid, loaded) if read is not None else None
            await engine.stop(grace)
            resident.engine = None  # or the readings of ``finish`` would still look at its process
            freed = await unloading.finish() if unloading is not None else ()
        except asyncio.CancelledError:
            await engine.kill()
            raise
        finally:
            resident.engine = None
            resident.become(ModelStatus.NOT_LOADED)
            self.residents.remove(resident)
            if reason in {Reason.ASKED, Reason.IDLE} and self._lost is None:
                self._choose_another()
            self._freed = freed
            resident.ended.set()
            resident.ended = None
            if self.on_unloaded is not None:
                self.on_unloaded(Unloaded(resident.request, reason, freed))
            self._changed()


def _end_load(resident: Resident, error: BaseException) -> None:
    """What a load ended with is the state of its model."""
    if isinstance(error, asyncio.CancelledError):
        resident.become(ModelStatus.NOT_LOADED)
        return
    unexpected = LoadError(f"The load failed unexpectedly ({type(error).__name__}); the log has more.", repr(error))
    resident.become(ModelStatus.FAILED, error if isinstance(error, BackendError) else unexpected)
