"""Models that are held move between their GPU and RAM."""

from __future__ import annotations

import asyncio

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import NotLoaded, ParkingFailed
from modeldeck.backend.load_runner import LoadRunner
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.parking import move, refuse_parking, refuse_without_room
from modeldeck.backend.protocol import Moved
from modeldeck.backend.residents import Resident


class Moving(LoadRunner):
    """The part of the manager that parks models and wakes them."""

    async def park(self, model_id: str) -> Moved:
        """Move a model from its GPU to RAM; returns when the GPU is free of its weights.

        Raises ParkingFailed, with the reason, where it cannot be parked or is busy (it stays as it is then), NotLoaded,
        and EngineDied.
        """
        resident = self._held(model_id)
        if resident.status is ModelStatus.PARKED and resident.parked is not None:
            return resident.parked
        refuse_parking(resident)
        if self.read_memory is not None:
            refuse_without_room(resident, await self.read_memory())
            refuse_parking(resident)  # time has passed
        return await self._move(resident)

    async def wake(self, model_id: str) -> Moved:
        """Move a model that is parked back to its GPU; returns when it can reply.

        Raises ParkingFailed where the GPU has no room for it (it stays parked then) or it is not parked, NotLoaded, and
        EngineDied.
        """
        resident = self._held(model_id)
        await self._settled(resident)
        resident = self._held(model_id)
        if resident.status is ModelStatus.LOADED and resident.woken is not None:
            return resident.woken
        if resident.status is not ModelStatus.PARKED:
            raise ParkingFailed("The model is not parked.")
        return await self._move(resident)

    async def _settled(self, resident: Resident) -> None:
        """Wait for a move that runs, however it ends."""
        if resident.moving is not None:
            await asyncio.wait({resident.moving})

    def _held(self, model_id: str) -> Resident:
        if (resident := self.residents.find(model_id)) is None or not resident.holds:
            raise NotLoaded("That model is not loaded.")
        return resident

    async def _move(self, resident: Resident) -> Moved:
        """Have the engine move the weights; that goes on and is told even where nobody waits for it any more."""
        engine, before = resident.engine, resident.status
        assert engine is not None  # it is LOADED or PARKED
        parks = before is ModelStatus.LOADED
        during = ModelStatus.PARKING if parks else ModelStatus.WAKING
        resident.stop_idling()
        resident.become(during)  # at once: nobody else may begin anything with it
        work = self._run_move(resident, engine, before, during)
        task = resident.moving = asyncio.create_task(work, name=f"move of {resident.model_id}")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody asks for it
        self._changed()
        await asyncio.wait({task})
        return task.result()

    async def _run_move(
        self, resident: Resident, engine: EngineClient, before: ModelStatus, during: ModelStatus
    ) -> Moved:
        parks = during is ModelStatus.PARKING
        after = before
        try:
            moved = await move(engine, parks=parks)
            after = ModelStatus.PARKED if parks else ModelStatus.LOADED
            resident.moved(moved, parks=parks)
            return moved
        finally:
            resident.moving = None
            if resident.status is during and engine.alive:  # else somebody else says what has become of it
                resident.become(after)
                self._start_idling(resident)
            self._changed()
