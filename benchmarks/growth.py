"""Whether the UI process grows while somebody talks: 1,000 turns with the scripted engine, in the real app.

Counted is the anonymous memory of the process (its USS without the files that it maps, which are its own or not as
other programs come and go), after the garbage collector ran, from the tenth turn on: once in one conversation, whose
turns are kept and whose first ones can be scrolled back to, and once in a new conversation after every tenth turn.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks.figures import FEWEST_ROUNDS, level
from benchmarks.report import Report
from benchmarks.sides import starter
from benchmarks.talking import talk

TURNS = 1_000
MB_AFTER = 10.0
MB = 1e6
KINDS = {"stay": "in one conversation", "leave": "in a new conversation after every tenth"}


def main(pairs: int, report: Report) -> None:
    """Each kind three times, at the same time, since no clock is read; a tenth of the turns with one pair."""
    if starter() is None:
        report.skip("growth of the UI process", "the starter model is not installed")
        return
    turns = TURNS if pairs > 1 else TURNS // 10
    runs = min(pairs, FEWEST_ROUNDS)
    for scenario, words in KINDS.items():
        with ThreadPoolExecutor(runs) as together:
            told = list(together.map(talk, [scenario] * runs, [turns] * runs))
        last = told[-1]
        detail = (
            f"The {last['turns']:,.0f} turns of the conversation on show take {last['bare'] / MB:.1f} MB without a "
            f"screen; {last['widgets']:.0f} widgets are there at the end."
        )
        what = f"growth of the UI process over {turns:,} turns {words}"
        report.add(level(what, [one["grown"] / MB for one in told], target=MB_AFTER, unit="MB", detail=detail))
