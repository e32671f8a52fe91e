"""Whether ten times as much takes more than ten times the work: length of a reply, and of a conversation.

Counted is the processor time of the UI process, in the real app without a terminal, with the scripted engine at 200
tokens a second: of a whole reply; of opening a conversation that is on the disk; and of one more short turn in it.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from benchmarks.charts import Chart, Series
from benchmarks.figures import ratio
from benchmarks.report import Report
from benchmarks.sides import starter
from benchmarks.talking import talk

TOKENS = (100, 300, 1_000)
TURNS = (20, 60, 200)
TIMES = 10.0
"""The last of each is so many times the first, and may take so many times as long."""
MS = 1e3
Taken = dict[str, dict[int, list[float]]]
"""Milliseconds of every round, by what was done and how much of it."""


def main(pairs: int, report: Report) -> None:
    """The small and the large one in turns; what lies between is for the plot."""
    if starter() is None:
        report.skip("work by length of reply and conversation", "the starter model is not installed")
        return
    taken: Taken = defaultdict(lambda: defaultdict(list))
    for number in range(pairs):
        ways = [("reply", tokens) for tokens in TOKENS] + [("turns", turns) for turns in TURNS]
        for scenario, size in ways if number % 2 == 0 else reversed(ways):
            if size in (TOKENS[1], TURNS[1]) and number:
                continue
            for what, seconds in talk(scenario, size).items():
                taken[what][size].append(MS * seconds)
    _report(taken, report)


def _report(taken: Taken, report: Report) -> None:
    for what, words, unit in (
        ("reply", "processor time of the UI for a reply of", "tokens"),
        ("open", "processor time of the UI to open a conversation of", "turns"),
        ("turn", "processor time of the UI for one more turn after", "turns"),
    ):
        sizes = sorted(taken[what])
        small, large = sizes[0], sizes[-1]
        report.add(
            ratio(
                f"{words} {large:,} {unit}",
                f"{small:,} {unit}",
                taken[what][large],
                taken[what][small],
                target=TIMES,
                side_unit="ms",
                detail="At most linear: ten times as much takes at most ten times the time.",
            )
        )
    series = (
        _series("a reply, by its tokens", taken["reply"]),
        _series("opening a conversation, by its turns", taken["open"]),
        _series("one more turn, by the turns before", taken["turn"]),
    )
    title, y = "Work of the UI process by length", "ms of processor time"
    report.chart(Chart("scaling-chat", title, "lines", "tokens or turns", y, series, logarithmic=True))


def _series(name: str, sizes: dict[int, list[float]]) -> Series:
    return Series(
        name, tuple(float(size) for size in sorted(sizes)), tuple(median(sizes[size]) for size in sorted(sizes))
    )
