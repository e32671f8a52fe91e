"""Wraps text that only ever grows: adding to it costs what was added, however long it is already."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

_WORD = re.compile(r"\S+\s*|\s+")
_TAB = 4


class GrowingText:
    """Rows of at most ``width`` cells; wrapping is greedy, so that only the last row can still change."""

    def __init__(self, width: int, *, words: bool = True) -> None:
        self.width = max(1, width)
        self.words = words
        """Break between words where possible; code breaks at the edge."""
        self.rows: list[str] = []

    def extend(self, text: str) -> int:
        """Add text; returns the first row that is not what it was before."""
        changed = max(0, len(self.rows) - 1)
        last = self.rows.pop() if self.rows else ""
        for line in (last + text).split("\n"):
            self.rows.extend(self._wrap(line.expandtabs(_TAB)))
        return changed

    def _wrap(self, line: str) -> list[str]:
        if cell_len(line) <= self.width:
            return [line]
        if not self.words:
            return chop_cells(line, self.width)
        rows: list[str] = []
        row, used = "", 0
        for word in _WORD.findall(line):
            cells = cell_len(word.rstrip())
            if used + cells > self.width and row:
                rows.append(row)
                row, used = "", 0
            if cells > self.width:
                *full, row = chop_cells(word.rstrip(), self.width)
                rows.extend(full)
                row += word[len(word.rstrip()) :]
                used = cell_len(row)
                continue
            row += word
            used += cell_len(word)
        rows.append(row)
        return rows
