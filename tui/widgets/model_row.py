"""One model as one line of text in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from modeldeck.backend.lookalikes import odd_letters
from modeldeck.backend.text import clean_name
from modeldeck.tui.format import parameters, size
from modeldeck.tui.held_rows import HeldRow
from modeldeck.tui.marks import FAVOURITE, fit_mark, model_type
from modeldeck.tui.shelf_order import Order, SortColumn
from modeldeck.tui.shelf_row import ShelfRow

_MARK_WIDTH = 3


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    sort: SortColumn
    width: int
    """Cells, with the gap before it."""
    least: int = 0
    """The width of the line from which the column is shown; names go first."""


_COLUMNS = (
    _Column("Params", SortColumn.PARAMETERS, 7),
    _Column("Type", SortColumn.TYPE, 8),
    _Column("Fit", SortColumn.FIT, 4),
    _Column("Size", SortColumn.SIZE, 9, least=64),
    _Column("Context", SortColumn.CONTEXT, 8, least=78),
)


def title_line(width: int, order: Order, *, ascii_only: bool = False) -> str:
    """The titles of the columns that a line of this width has; an arrow stands before the one that is sorted by."""
    arrow = ("v" if order.descending else "^") if ascii_only else ("▾" if order.descending else "▴")
    name = f"{arrow}Name" if order.column is SortColumn.NAME else "Name"
    titles = [arrow + column.title if column.sort is order.column else column.title for column in _shown(width)]
    return _line(" " * _MARK_WIDTH, name, titles, width, "")


def model_line(row: ShelfRow, mark: str, width: int, *, held: HeldRow | None = None, ascii_only: bool = False) -> str:
    """A model in exactly ``width`` cells; its texts are made harmless here."""
    model = row.model
    figures = {
        SortColumn.PARAMETERS: parameters(model.parameters),
        SortColumn.TYPE: clean_name(model_type(model), 7),
        SortColumn.FIT: fit_mark(row.verdict, ascii_only) if model.loadable else "",
        SortColumn.SIZE: size(model.size_bytes) if model.size_bytes else "?",
        SortColumn.CONTEXT: parameters(model.context_length) if model.context_length else "?",
    }
    star = FAVOURITE[ascii_only] if row.favourite else " "
    branch = ("- " if ascii_only else "└ ") if row.indented else ""
    shown = [figures[column.sort] for column in _shown(width)]
    first = str(held.number) if held is not None and held.number else star  # the key that brings it is worth more
    starred = f" {star}" if row.favourite and first != star else ""
    pinned = " (pinned)" if held is not None and held.pinned else ""
    odd = "(odd letters) " if odd_letters(model.name) else ""  # in front, where a long name cannot push it out
    name = branch + odd + clean_name(model.name) + starred + pinned
    return _line(f"{first}{mark} ", name, shown, width, "~" if ascii_only else "…")


def fit_cell(width: int) -> int:
    """At which cell of the line the sign of the Fit column stands."""
    columns = _shown(width)
    before = [column.sort for column in columns].index(SortColumn.FIT) + 1
    return width - 1 - sum(column.width for column in columns[before:]) - 1


def _shown(width: int) -> list[_Column]:
    return [column for column in _COLUMNS if width >= column.least]


def _line(mark: str, name: str, figures: Sequence[str], width: int, ellipsis: str) -> str:
    cells = [column.width for column in _shown(width)]
    room = max(1, width - _MARK_WIDTH - sum(cells) - 1)
    if cell_len(name) > room:
        name = set_cell_size(name, room - 1) + ellipsis
    columns = "".join(_right(figure, wide) for figure, wide in zip(figures, cells, strict=True))
    return set_cell_size(mark + set_cell_size(name, room) + columns, width)


def _right(text: str, width: int) -> str:
    """At the right end of its cells; a text that is too long still leaves the gap, an arrow may stand in it."""
    missing = width - cell_len(text)
    if missing >= 1 or text[:1] in {"▾", "▴", "v", "^"}:
        return " " * missing + text
    return " " + set_cell_size(text, width - 1)
