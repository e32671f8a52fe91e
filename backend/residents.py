"""The models that are held at the same time, each in an engine of its own, and which of them is talked to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from msgspec import structs

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.errors import BackendError
from modeldeck.backend.event_stream import RequestEvent
from modeldeck.backend.models import HOLDING, PARKING, TRANSITIONS, LoadedModel, LoadRequest, ModelStatus
from modeldeck.backend.protocol import Moved
from modeldeck.backend.reply import Reply


class Resident:
    """One model, from the request to the end of its engine. Only the manager changes it."""

    def __init__(self, request: LoadRequest, number: int) -> None:
        self.request = request
        self.number = number
        """From 1; the key that brings it before the user. It stays the same for as long as the model is held."""
        self.status = ModelStatus.NOT_LOADED
        self.engine: EngineClient | None = None
        """While it holds the model, or loads it."""
        self.loaded: LoadedModel | None = None
        """What the engine holds, while it holds it."""
        self.error: BackendError | None = None
        """Why the status is FAILED."""
        self.reply: Reply | None = None
        self.pinned = False
        """Whether it never makes room for another one, and has no time-out."""
        self.last_used = 0.0
        """Seconds of the manager's clock: the end of its last reply, or when it was last chosen."""
        self.idle_timer: asyncio.TimerHandle | None = None
        self.moving: asyncio.Task[Moved] | None = None
        """While it moves between its GPU and RAM."""
        self.looks: set[asyncio.Task[RequestEvent]] = set()
        """Questions about its replies that it still answers."""
        self.parked: Moved | None = None
        """What the last move to RAM took."""
        self.woken: Moved | None = None
        """What the last move back took."""
        self.ended: asyncio.Event | None = None
        """While somebody ends it: set when that is done."""

    @property
    def model_id(self) -> str:
        """Of the model; no other resident has it."""
        return self.request.model_id

    @property
    def holds(self) -> bool:
        """Whether an engine holds it, on its device or parked, and nobody is ending it."""
        return self.status in HOLDING

    @property
    def generating(self) -> bool:
        """Whether it is writing a reply."""
        return self.reply is not None and self.reply.running

    @property
    def pid(self) -> int | None:
        """Of its engine, while that is alive."""
        return self.engine.pid if self.engine is not None and self.engine.alive else None

    @property
    def may_make_room(self) -> bool:
        """Whether it may be unloaded for another model without a word from the user about its reply."""
        still = self.status in {ModelStatus.LOADED, ModelStatus.PARKED}
        return still and not self.pinned and not self.generating

    @property
    def held_at(self) -> tuple[int, LoadedModel] | None:
        """The engine's pid and what it holds, for who looks at its memory."""
        if self.pid is None or self.loaded is None:
            return None
        parked = self.status in PARKING  # its peak on the GPU is no measure of what it holds there now
        return self.pid, structs.replace(self.loaded, peaks={}) if parked else self.loaded

    def become(self, status: ModelStatus, error: BackendError | None = None) -> None:
        """Change the status as ``models.TRANSITIONS`` allows it."""
        if status not in TRANSITIONS[self.status]:
            raise RuntimeError(f"{self.status} cannot become {status}")
        self.status, self.error = status, error
        if status not in HOLDING and status is not ModelStatus.UNLOADING:
            self.loaded = None

    def moved(self, moved: Moved, *, parks: bool) -> None:
        """Keep what a move took, for the screen."""
        if parks:
            self.parked = moved
        else:
            self.woken = moved

    def stop_idling(self) -> None:
        """Its time-out no longer runs."""
        if self.idle_timer is not None:
            self.idle_timer.cancel()
            self.idle_timer = None


class Residents:
    """Those that hold a model, in the order of their numbers."""

    def __init__(self) -> None:
        self._held: list[Resident] = []
        self.current: Resident | None = None
        """Whom the chat talks to; always one of those that are held."""
        self._previous: Resident | None = None

    def __iter__(self) -> Iterator[Resident]:
        return iter(tuple(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def find(self, model_id: str) -> Resident | None:
        """The one that holds this model."""
        return next((one for one in self._held if one.model_id == model_id), None)

    @property
    def previous(self) -> Resident | None:
        """Whom the chat talked to before the current one; else the one that was used last; None where it is alone."""
        others = [one for one in self._held if one is not self.current and one.holds]
        return max(others, key=lambda one: (one is self._previous, one.last_used), default=None)

    def new(self, request: LoadRequest) -> Resident:
        """One that is still to be loaded, with the lowest number that is free."""
        taken = {one.number for one in self._held}
        return Resident(request, next(number for number in range(1, len(taken) + 2) if number not in taken))

    def put(self, resident: Resident) -> None:
        """It holds its model now."""
        self._held.append(resident)
        self._held.sort(key=lambda one: one.number)

    def remove(self, resident: Resident) -> None:
        """It holds nothing any more."""
        if resident in self._held:
            self._held.remove(resident)
        if self.current is resident:
            self.current = None

    def choose(self, resident: Resident) -> None:
        """The chat talks to it from now on."""
        if self.current is not resident:
            self._previous = self.current
            self.current = resident

    def least_recently_used(self) -> list[Resident]:
        """Those that may make room, in the order in which they should."""
        return sorted((one for one in self._held if one.may_make_room), key=lambda one: one.last_used)
