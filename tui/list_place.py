"""Where the highlight and the view stand when the rows of a list have changed: nothing moves under the user's hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Row(Protocol):
    """Anything with an id of its own."""

    @property
    def id(self) -> str:
        """Stays the same when the row's content changes."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The highlighted row and the first one in view; both 0 for an empty list."""

    cursor: int = 0
    top: int = 0


def kept_place(before: Sequence[Row], after: Sequence[Row], place: Place, height: int) -> Place:
    """The highlighted row stays highlighted, on the same line of the screen where there are rows enough above it.

    When it is gone, its neighbour is highlighted: the next row that is still there, else the one before.
    ``height`` is the number of rows that are in view.
    """
    cursor = _where_now(before, after, place.cursor)
    return _on_the_same_line(cursor, place, len(after) - height)


def first_place(before: Sequence[Row], after: Sequence[Row], place: Place, height: int) -> Place:
    """For a list that nobody has touched yet: from its first row on, and what is highlighted stays while in view."""
    cursor = place_of(before[place.cursor].id, after) if place.cursor < len(before) else None
    return Place(cursor) if cursor is not None and cursor < height else Place()


def chosen_place(before: Sequence[Row], after: Sequence[Row], place: Place, height: int) -> Place:
    """For rows that the user's own words have chosen: as ``kept_place``, but from the top where the row is hidden."""
    if place.cursor >= len(before):
        return kept_place(before, after, place, height)
    cursor = place_of(before[place.cursor].id, after)
    return Place() if cursor is None else _on_the_same_line(cursor, place, len(after) - height)


def place_of(row_id: str, rows: Sequence[Row]) -> int | None:
    """Where the row with this id stands; None when it does not."""
    return next((place for place, row in enumerate(rows) if row.id == row_id), None)


def _where_now(before: Sequence[Row], after: Sequence[Row], cursor: int) -> int:
    if not 0 <= cursor < len(before):
        return _clamped(cursor, len(after) - 1)
    if (same := place_of(before[cursor].id, after)) is not None:
        return same
    places = {row.id: place for place, row in enumerate(after)}
    neighbours = (*range(cursor + 1, len(before)), *range(cursor - 1, -1, -1))
    return next((places[before[near].id] for near in neighbours if before[near].id in places), 0)


def _on_the_same_line(cursor: int, place: Place, last_top: int) -> Place:
    return Place(cursor, _clamped(cursor - (place.cursor - place.top), last_top))


def _clamped(value: int, most: int) -> int:
    return max(0, min(value, most))
