"""Models that are held go: when they are asked to, when they are idle for too long, when their engine dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modeldeck.backend.manager_state import ManagerState, Reason, Unloaded
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.residents import Resident
from modeldeck.backend.unloading import Freed, Unloading


class Releasing(ManagerState):
    """The part of the manager that ends engines and says who is talked to then; ``clock`` is for tests."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._releases: set[asyncio.Task[None]] = set()
        """Of models whose time-out has passed; kept so that they are not collected before they end."""

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
        if engine is not None and resident.holds:
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
        if seconds > 0 and not resident.pinned and resident.holds:
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
        engine, held, read = resident.engine, resident.held_at, self.read_memory if look else None
        if engine is None or not resident.holds:
            return
        resident.ended = asyncio.Event()
        resident.stop_idling()
        resident.become(ModelStatus.UNLOADING)
        self._changed()
        freed: tuple[Freed, ...] = ()
        try:
            if look and resident.reply is not None:
                await resident.reply.stop()
            unloading = await Unloading.begin(read, *held) if read is not None and held is not None else None
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
