"""What can be done with the models that are held: talk to them, pin, park, unload."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from modeldeck.backend.errors import BackendError, NotLoaded
from modeldeck.backend.models import PARKING
from modeldeck.backend.text import clean_name
from modeldeck.tui.format import seconds, size
from modeldeck.tui.messages import EngineChanged

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel
    from textual.screen import Screen

    from modeldeck.backend.models import ModelInfo
    from modeldeck.backend.residents import Resident
    from modeldeck.tui.services import Services


class HeldFlow:
    """``show_chat`` is called when another model is talked to; ``name_of`` says what people call one."""

    def __init__(
        self, screen: Screen[Any], services: Services, name_of: Callable[[str], str], show_chat: Callable[[], None]
    ) -> None:
        self._screen = screen
        self._manager = services.manager
        self._log = services.log
        self._name_of = name_of
        self._show_chat = show_chat

    def talk_to(self, model_id: str) -> bool:
        """Show the chat with this model; False where it is not held."""
        try:
            self._manager.switch(model_id)
        except NotLoaded:
            return False
        self._show_chat()
        return True

    def talk_to_number(self, number: int) -> None:
        """Talk to the model with this number."""
        found = next((one for one in self._manager.residents if one.number == number), None)
        if found is None:
            self._say(f"No model has the number {number}.")
        else:
            self.talk_to(found.model_id)

    def talk_back(self) -> None:
        """Talk to the model that was talked to before this one."""
        if (before := self._manager.residents.previous) is None:
            self._say("No other model is loaded.")
        else:
            self.talk_to(before.model_id)

    def pin(self, model: ModelInfo | None) -> None:
        """Pin this model, or without one the one that is talked to; or take the pin away."""
        if (resident := self._meant(model)) is not None:
            self._manager.pin(resident.model_id, not resident.pinned)
            said = "is pinned: it stays loaded until u" if resident.pinned else "is no longer pinned"
            self._say(f"{self._name(resident)} {said}.")

    def park(self, model: ModelInfo | None) -> None:
        """Move this model to RAM, or without one the one that is talked to; one that is parked comes back."""
        if (resident := self._meant(model)) is not None:
            self._run(self._wake(resident) if resident.status in PARKING else self._park(resident))

    def unload(self, model: ModelInfo | None) -> None:
        """Give the memory of this model back, or without one that of the current one; its reply ends first."""
        if (resident := self._meant(model)) is not None:
            self._run(self._unload(resident))

    def _meant(self, model: ModelInfo | None) -> Resident | None:
        """The highlighted model, which is to be held, or where none is highlighted the current one."""
        residents = self._manager.residents
        if model is None:
            return residents.current
        if (resident := residents.find(model.id)) is None:
            self._say(f"{clean_name(model.name)} is not loaded; highlight one that is.")
        return resident

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._screen.run_worker(self._told(work), group="engine", exit_on_error=False)

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._screen.post_message(EngineChanged())

    async def _unload(self, resident: Resident) -> None:
        try:
            await self._manager.unload(resident.model_id)
        except BackendError as error:
            self._say(str(error), "error")

    async def _park(self, resident: Resident) -> None:
        try:
            moved = await self._manager.park(resident.model_id)
        except BackendError as error:
            self._say(f"{self._name(resident)} is not parked. {error}", "warning")
        else:
            took = f"{size(moved.moved_bytes)} of RAM, {seconds(moved.seconds)}"
            self._say(f"{self._name(resident)} is parked ({took}); z or the next message brings it back.")

    async def _wake(self, resident: Resident) -> None:
        try:
            moved = await self._manager.wake(resident.model_id)
        except BackendError as error:
            self._say(f"{self._name(resident)} cannot be woken. {error}", "warning")
        else:
            self._say(f"{self._name(resident)} was back after {seconds(moved.seconds)}.")

    def _name(self, resident: Resident) -> str:
        return clean_name(self._name_of(resident.model_id))

    def _say(self, sentence: str, severity: SeverityLevel = "information") -> None:
        said = clean_name(sentence, 1000)
        self._log.append(said)
        self._screen.notify(said, severity=severity, markup=False)
