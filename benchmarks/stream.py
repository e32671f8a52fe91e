"""A reply of 4,000 tokens at 100 tokens a second: how late the loop is, what the app takes, whether it grows.

The same as plain Markdown, inside one long code fence, and in a table; the engine is scripted.
"""

from __future__ import annotations

from benchmarks.figures import difference, level
from benchmarks.report import Report
from benchmarks.ui_delay import Phases, Played, play

DELAY_MS = 30.0
CORE_PERCENT = 35.0
GROWTH = 1.3
KINDS = {"text": "prose", "code": "one code block", "table": "a table"}


def main(pairs: int, report: Report) -> None:
    """Each kind in turns; a reply takes 40 seconds."""
    played: dict[str, list[Phases]] = {kind: [] for kind in KINDS}
    for _ in range(pairs):
        for kind in KINDS:
            played[kind].append(play(kind))
    for kind, name in KINDS.items():
        busy, idle = ([one[phase] for one in played[kind]] for phase in ("reply", "idle"))
        what = f"4,000 tokens at 100 per second, {name}"
        report.add(
            difference(
                f"{what}: UI loop delay, p99",
                "the same app idle",
                [one.p99 for one in busy],
                [one.p99 for one in idle],
                target=DELAY_MS,
                detail=f"The greatest of all rounds was {max(max(one.late) for one in busy):.0f} ms.",
            ),
            difference(  # the clock in the loop is no part of the app
                f"{what}: share of a core",
                "the same app idle",
                [_percent(one) for one in busy],
                [_percent(one) for one in idle],
                target=CORE_PERCENT,
                unit="%",
            ),
            level(
                f"{what}: processor time of the last quarter over the first",
                [one.cpu[-1] / one.cpu[0] for one in busy],
                target=GROWTH,
                unit="x",
            ),
        )


def _percent(played: Played) -> float:
    return 100 * sum(played.cpu) / len(played.cpu)
