"""What a model reasons before it replies, as rows above the reply: folded to one, or all of it."""

from __future__ import annotations

from modeldeck.backend.text import clean_text
from modeldeck.tui.wrapping import GrowingText

_GUTTER = "│ "


class ThoughtRows:
    """Grows as the model reasons; adding to it costs what was added."""

    def __init__(self) -> None:
        self.folded = True
        self._pieces: list[str] = []
        self._text = GrowingText(1)
        self._wrapped = 0
        self._words = 0
        self._ends_in_word = False

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def write(self, text: str) -> None:
        """The next piece."""
        text = clean_text(text)
        words = len(text.split())
        if self._ends_in_word and text[:1].strip():
            words -= 1  # it goes on with the word before
        self._words += words
        self._ends_in_word = bool(text[-1:].strip())
        self._pieces.append(text)

    def height(self, width: int) -> int:
        """How many rows it takes, the empty one below it included; 0 where nothing was reasoned."""
        return len(self.rows(width))

    def rows(self, width: int) -> list[str]:
        """One line that says what is there, then what it is while it is not folded, then an empty one."""
        if not self._pieces:
            return []
        words = "1 word" if self._words == 1 else f"{self._words:,} words"
        if self.folded:
            return [f"▸ reasoning · {words} (f shows it)", ""]
        return ["▾ reasoning (f folds it)", *(_GUTTER + row for row in self._all(max(1, width - len(_GUTTER)))), ""]

    def _all(self, width: int) -> list[str]:
        if self._text.width != width:
            self._text, self._wrapped = GrowingText(width), 0
        if self._wrapped < len(self._pieces):
            self._text.extend("".join(self._pieces[self._wrapped :]))
            self._wrapped = len(self._pieces)
        rows = self._text.rows
        return rows[: len(rows) - 1] if len(rows) > 1 and not rows[-1] else rows
