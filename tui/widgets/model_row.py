"""One model as one line of text in columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from modeldeck.backend.models import ModelInfo
from modeldeck.backend.text import clean_name
from modeldeck.tui.format import parameters, size
from modeldeck.tui.marks import model_type

_MARK_WIDTH = 3
_COLUMNS = (("Params", 7, 0), ("Type", 8, 0), ("Size", 9, 56), ("Context", 8, 66))
"""Title, cells with the gap before it, and the width of the line from which the column is shown; names go first."""


def title_line(width: int) -> str:
    """The titles of the columns that a line of this width has."""
    return _line(" " * _MARK_WIDTH, "Name", [title for title, _, least in _COLUMNS if width >= least], width, "")


def model_line(model: ModelInfo, mark: str, width: int, *, ellipsis: str = "…") -> str:
    """A model in exactly ``width`` cells; its texts are made harmless here."""
    context = parameters(model.context_length) if model.context_length else "?"
    figures = (
        parameters(model.parameters),
        clean_name(model_type(model), 7),
        size(model.size_bytes) if model.size_bytes else "?",
        context,
    )
    shown = [figure for figure, (_, _, least) in zip(figures, _COLUMNS, strict=True) if width >= least]
    return _line(f" {mark} ", clean_name(model.name), shown, width, ellipsis)


def _line(mark: str, name: str, figures: Sequence[str], width: int, ellipsis: str) -> str:
    cells = [wide for _, wide, least in _COLUMNS if width >= least]
    room = max(1, width - _MARK_WIDTH - sum(cells) - 1)
    if cell_len(name) > room:
        name = set_cell_size(name, room - 1) + ellipsis
    columns = "".join(" " + _right(figure, wide - 1) for figure, wide in zip(figures, cells, strict=True))
    return set_cell_size(mark + set_cell_size(name, room) + columns, width)


def _right(text: str, width: int) -> str:
    missing = width - cell_len(text)
    return " " * missing + text if missing >= 0 else set_cell_size(text, width)
