"""What the workers tell the screen. Messages of one widget stand in that widget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from modeldeck.backend.protocol import LoadProgress


class PanesMounted(Message):
    """Every pane is there, and with them all keys that the deck has."""


@dataclass
class EngineChanged(Message):
    """The manager's state is another one; whoever shows it asks the manager."""

    def can_replace(self, message: Message) -> bool:
        """The manager is asked when this arrives, so one is as good as many."""
        return isinstance(message, EngineChanged)


@dataclass
class LoadProgressed(Message):
    """The load moved on; only the newest matters."""

    progress: LoadProgress

    def can_replace(self, message: Message) -> bool:
        """Only the newest is shown."""
        return isinstance(message, LoadProgressed)
