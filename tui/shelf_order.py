"""The orders that a list of models can have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.tui.marks import model_type
from modeldeck.tui.shelf_row import ShelfRow


class SortColumn(StrEnum):
    """What the list is sorted by; the values stand in the file that remembers it."""

    DEFAULT = ""
    """Favourites, then what was loaded last, then names."""
    NAME = "name"
    PARAMETERS = "params"
    TYPE = "type"
    FIT = "fit"
    SIZE = "size"
    CONTEXT = "context"

    @classmethod
    def named(cls, name: str) -> SortColumn:
        """The column with this value; the default for any other text."""
        return next((column for column in cls if column.value == name), cls.DEFAULT)


_LARGEST_FIRST = frozenset({SortColumn.PARAMETERS, SortColumn.SIZE, SortColumn.CONTEXT})
_FIT_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Order:
    """A column and a direction. What is not known stands at the end in both."""

    column: SortColumn = SortColumn.DEFAULT
    reverse: bool = False
    """The other way round than the column begins: figures begin with the largest, texts with A, fits with the best."""

    @property
    def descending(self) -> bool:
        """Whether larger values stand first."""
        return (self.column in _LARGEST_FIRST) is not self.reverse

    @property
    def sorts_backwards(self) -> bool:
        """Whether keys are to be compared the other way round: texts cannot be negated as numbers can."""
        return self.descending and self.column in {SortColumn.DEFAULT, SortColumn.NAME, SortColumn.TYPE}

    def next(self) -> Order:
        """By the next column, in its own direction."""
        columns = list(SortColumn)
        return Order(columns[(columns.index(self.column) + 1) % len(columns)])

    def reversed(self) -> Order:
        """The other way round; the default order, which no title shows, has no other."""
        return self if self.column is SortColumn.DEFAULT else Order(self.column, not self.reverse)

    def key(self, row: ShelfRow) -> tuple[object, ...]:
        """What a row is compared by; equal ones by their names."""
        upright = -1 if self.sorts_backwards else 1
        match self.column:
            case SortColumn.DEFAULT:
                return ((not row.favourite) * upright, row.recent * upright, row.name)
            case SortColumn.NAME:
                return (row.name,)
            case SortColumn.TYPE:
                kind = model_type(row.model)
                return ((kind == "?") * upright, kind.casefold(), row.name)
            case _:
                value = self._figure(row)
                return (value is None, 0 if value is None else -value if self.descending else value, row.name)

    def _figure(self, row: ShelfRow) -> int | None:
        match self.column:
            case SortColumn.PARAMETERS:
                return row.model.parameters
            case SortColumn.SIZE:
                return row.model.size_bytes or None
            case SortColumn.CONTEXT:
                return row.model.context_length
            case _:
                verdict = row.verdict
                return None if verdict in (None, Verdict.UNKNOWN) else _FIT_RANKS[verdict]
