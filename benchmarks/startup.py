"""How long the user waits: to the first frame, to all panes, each against a bare Textual app, in a pseudo-terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.figures import ratio
from benchmarks.peers.in_pty import in_pty, of_a_user
from benchmarks.report import Report
from benchmarks.turns import in_turns

STARTS = 3
"""In a round on each side; their median counts, since a start is short and a shared machine hiccups."""
DECK = (sys.executable, "-c", "import sys; from modeldeck.tui.cli import main; sys.exit(main())")
BARE = (sys.executable, str(Path(__file__).parent / "peers" / "bare_app.py"))
_FIRST_FRAME = ("Params", "Filter", "Palette")
_ALL_PANES = (*_FIRST_FRAME, "NOT LOADED", "Ask the model")


def main(pairs: int, report: Report) -> None:
    """Both figures."""
    with TemporaryDirectory() as home:
        environ = of_a_user(home)
        all_panes: list[float] = []

        def one_deck() -> tuple[float, float]:
            with in_pty(DECK, environ) as program:
                first = program.seconds_until(*_FIRST_FRAME)
                program.type("/")  # honoured from the first frame on, or the filter never comes
                panes = program.seconds_until(*_ALL_PANES)
                program.seconds_until("or: fits 4bit")
                return first, panes

        def deck() -> float:
            starts = [one_deck() for _ in range(STARTS)]
            all_panes.append(median(panes for _, panes in starts))
            return median(first for first, _ in starts)

        def one_bare() -> float:
            with in_pty(BARE, environ) as program:
                return program.seconds_until("model 9", "palette")

        def bare() -> float:
            return median(one_bare() for _ in range(STARTS))

        one_deck(), one_bare()  # so that neither has to compile anything
        firsts, theirs = in_turns(pairs, deck, bare)
    detail = f"Each round is the median of {STARTS} starts of each side."
    report.add(
        ratio("start to the first frame", "a bare Textual app", firsts, theirs, target=1.3, detail=detail),
        ratio("start to all panes", "a bare Textual app's first frame", all_panes, theirs, target=2.0),
    )
