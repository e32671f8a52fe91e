"""Bars and sparklines in one line of characters. ``ascii = true`` needs nothing here: AsciiFilter redraws them."""

from __future__ import annotations

from math import ceil

from modeldeck.tui.memory_history import LENGTH, Trace

_LEVELS = "▁▂▃▄▅▆▇█"
FULL, REST = "▇", "▁"


def bar(share: float, cells: int) -> tuple[str, str]:
    """The full part and the rest, together ``cells`` wide; ``share`` is 0 to 1."""
    full = round(min(1.0, max(0.0, share)) * cells)
    return FULL * full, REST * (cells - full)


def sparkline(trace: Trace, cells: int, length: int = LENGTH) -> str:
    """The last ``length`` readings in at most ``cells`` cells, the newest on the right.

    Where there are fewer cells than readings, each shows the highest of a group; a reading stays in its group.
    """
    if cells <= 0:
        return ""
    step = ceil(length / cells)
    first = trace.total - len(trace.values)
    groups: dict[int, float | None] = {}
    for number, value in enumerate(trace.values, first):
        before = groups.get(number // step)
        groups[number // step] = before if value is None else max(value, before or 0.0)
    shown = min(cells, ceil(length / step))
    return "".join(_level(value) for value in list(groups.values())[-shown:]).rjust(shown)


def _level(share: float | None) -> str:
    return " " if share is None else _LEVELS[min(len(_LEVELS) - 1, int(max(0.0, share) * len(_LEVELS)))]
