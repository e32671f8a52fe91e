"""What the user said, with its gutter."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.tui import format as fmt
from modeldeck.tui.chats.turns import Turn


class Question(Static):
    """The question, the files that it brings along, and where it stands among its versions."""

    DEFAULT_CSS = """
    Question {
        height: auto;
        margin-bottom: 1;
    }
    """

    def __init__(self, turn: Turn) -> None:
        super().__init__(markup=False)
        self._turn = turn
        self._drawn: tuple[str, bool, bool] | None = None

    def mark(self, version: str, *, chosen: bool, left_out: bool) -> None:
        """Draw it anew where it is not as it was: ``version`` is ``2/3``, or empty where there is only one."""
        marks = (version, chosen, left_out)
        if marks == self._drawn:
            return
        self._drawn = marks
        row = Table.grid(padding=0)
        row.add_column(width=6)
        row.add_column(ratio=1, overflow="fold")
        row.add_column(justify="right", style="dim")
        row.expand = True
        you = Text("▸you" if chosen else "you", style="bold reverse" if chosen else "bold")
        row.add_row(you, self._text(left_out=left_out), Text(f"  {version}" if version else ""))
        self.update(row)

    def _text(self, *, left_out: bool) -> Text:
        text = Text(clean_text(self._turn.question))
        for line in self._lines(left_out=left_out):
            text.append(f"\n{line}", style="dim")
        return text

    def _lines(self, *, left_out: bool) -> list[str]:
        turn = self._turn
        lines = [
            clean_name(file.path) + (f" · {fmt.tokens(file.tokens)}" if file.tokens is not None else "")
            for file in turn.files
        ]
        lines += [f"image {clean_name(path)}" for path in turn.images]
        lines += ["raw completion"] if turn.mode == "raw" else []
        lines += ["left out: not sent to the model any more"] if left_out else []
        return lines
