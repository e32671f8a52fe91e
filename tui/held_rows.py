"""What the list shows of the models that are held, or were to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldeck.backend.models import HOLDING, ModelStatus

if TYPE_CHECKING:
    from modeldeck.backend.pipeline_manager import PipelineManager


@dataclass(frozen=True, slots=True)
class HeldRow:
    """The state of one model."""

    status: ModelStatus
    number: int = 0
    """The key that brings it before the user; 0 where there is nothing to choose."""
    current: bool = True
    """Whether the chat talks to it."""
    pinned: bool = False

    @property
    def holds(self) -> bool:
        """Whether an engine holds it, so that it can be talked to."""
        return self.status in HOLDING


HeldRows = Mapping[str, HeldRow]
"""By the id of the model."""


def held_rows(manager: PipelineManager) -> dict[str, HeldRow]:
    """The residents, and the model that loads or failed."""
    residents, front = tuple(manager.residents), manager.front
    current = manager.residents.current
    many = any(one is not front for one in residents)
    rows = {
        one.model_id: HeldRow(one.status, one.number if many else 0, one is current, one.pinned) for one in residents
    }
    if front is not None and front.model_id not in rows and front.status is not ModelStatus.NOT_LOADED:
        rows[front.model_id] = HeldRow(front.status)
    return rows
