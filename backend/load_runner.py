"""One load after the other: room is made, an engine loads, and what made room for a failure comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from modeldeck.backend.errors import BackendError, LoadError, NotEnoughMemory
from modeldeck.backend.estimate.credit import added, held_by
from modeldeck.backend.load_operation import LoadOperation, load_in
from modeldeck.backend.manager_state import Reason
from modeldeck.backend.measurements import measured_load
from modeldeck.backend.memory_reading import MemoryReading
from modeldeck.backend.models import LoadRequest, LoadStage, ModelStatus
from modeldeck.backend.protocol import LoadProgress
from modeldeck.backend.releasing import Releasing
from modeldeck.backend.residents import Resident
from modeldeck.backend.spare_engine import EngineStarter, SpareEngine
from modeldeck.backend.stall import StallWatch
from modeldeck.backend.text import clean_name
from modeldeck.backend.waiting import WAIT_SECONDS, Shortage, shortage


class LoadRunner(Releasing):
    """The part of the manager that loads; see ``PipelineManager`` for what it is given."""

    def __init__(
        self, start_engine: EngineStarter, keep_spare: bool, stall_seconds: float, clock: Callable[[], float]
    ) -> None:
        super().__init__(clock)
        self._spare = SpareEngine(start_engine, keep_spare, on_death=self._changed)
        self._stall_seconds = stall_seconds
        self._watch: StallWatch | None = None
        self._operation: LoadOperation | None = None
        self._closed = False

    @property
    def idle_seconds(self) -> float:
        """How long the load that runs has made no progress; 0 when none runs."""
        return self._watch.idle_seconds if self._watch is not None else 0.0

    @property
    def load_running(self) -> bool:
        """Whether a load runs, which may still be unloading models before it; ``cancel_load`` ends it."""
        return self._operation is not None and self._operation.running

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
            except Exception:  # a bug of ours too must not cost the user's models
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
        if not resident.holds:
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
                others = [one for one in self.residents.least_recently_used() if _frees(one, operation.request)]
                if not others:
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


def _frees(resident: Resident, request: LoadRequest) -> bool:
    """Whether its end helps that load: one that is parked has only RAM to give."""
    return resident.status is not ModelStatus.PARKED or request.device == "cpu"


def _end_load(resident: Resident, error: BaseException) -> None:
    """What a load ended with is the state of its model."""
    if isinstance(error, asyncio.CancelledError):
        resident.become(ModelStatus.NOT_LOADED)
        return
    unexpected = LoadError(f"The load failed unexpectedly ({type(error).__name__}); the log has more.", repr(error))
    resident.become(ModelStatus.FAILED, error if isinstance(error, BackendError) else unexpected)
