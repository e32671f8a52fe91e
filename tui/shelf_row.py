"""One model on the shelf, with what is known about it beside its files."""

from __future__ import annotations

from dataclasses import dataclass, field

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.models import ModelInfo
from modeldeck.tui.marks import model_type

NO_RECENT = 1_000_000
"""The rank of a model that was not loaded here, behind all that were."""


@dataclass(slots=True, eq=False)
class ShelfRow:
    """A row of the list; a model that changes on the disk gets another one."""

    model: ModelInfo
    id: str = field(init=False)
    """The model's."""
    text: str = field(init=False)
    """Everything that words are looked for in, in lower case."""
    name: str = field(init=False)
    """What names are compared by."""
    favourite: bool = False
    recent: int = NO_RECENT
    """0 for the model that was loaded last when the order was made."""
    loaded: bool = False
    verdict: Verdict | None = None
    """Whether it fits now; None until it was worked out."""
    verdict_age: int = -1
    """Which memory reading the verdict is of."""
    key: tuple[object, ...] = ()
    """What the order compares."""
    indented: bool = False
    """An adapter that stands under its base model."""

    def __post_init__(self) -> None:
        """Work out once what every key in the filter needs."""
        self.id = self.model.id
        self.text = _searched(self.model)
        self.name = self.model.name.casefold()


def _searched(model: ModelInfo) -> str:
    parts = (
        model.name,
        model.architecture,
        model.architecture_class,
        model_type(model),
        model.dtype,
        model.licence,
        model.source.value,
        *model.tags,
    )
    return "\n".join(part for part in parts if part).casefold()
