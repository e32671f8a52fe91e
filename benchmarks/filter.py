"""A key typed into the filter: the time to its first frame and to the settled list, against a label that changes.

Everything is measured from outside, in a pseudo-terminal: from the key that is written to the bytes that are drawn. The
p99 of each round counts, and the one-label app is measured in the same round; milliseconds.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import sleep

from benchmarks.figures import difference
from benchmarks.peers.deck_of_many import names
from benchmarks.peers.in_pty import InPty, in_pty, of_a_user
from benchmarks.report import Report

ROWS = (1_000, 10_000)
FIRST_FRAME_MS = 20.0
SETTLED_MS = 50.0
KEYS = 102
"""In a round; three digits are typed and deleted again, so that every key changes what is listed."""
_SETTLE_SECONDS = 2.0
_ROOT = Path(__file__).resolve().parent.parent
_BACKSPACE = "\x7f"

Figures = tuple[list[float], list[float]]
"""Milliseconds of every key: to the first frame, and to the last."""


def main(pairs: int, report: Report) -> None:
    """First frame and settled list, for each number of rows."""
    labels: list[Figures] = []
    decks: dict[int, list[Figures]] = {rows: [] for rows in ROWS}

    def measure_label() -> None:
        labels.append(_in_new_home(partial(_label, keys=KEYS)))

    def measure_decks() -> None:
        for rows, rounds in decks.items():
            rounds.append(deck_keys(rows, KEYS))

    for number in range(pairs):
        first, second = (measure_label, measure_decks) if number % 2 == 0 else (measure_decks, measure_label)
        first()
        second()
    for rows, rounds in decks.items():
        for part, name, target in ((0, "first frame", FIRST_FRAME_MS), (1, "settled list", SETTLED_MS)):
            ours, theirs = ([_p99(figures[part]) for figures in side] for side in (rounds, labels))
            keys = [value for figures in rounds for value in figures[part]]
            figure = difference(
                f"a key in the filter of {rows:,} models to the {name}, p99",
                "a Textual app with one label",
                ours,
                theirs,
                target=target,
                detail=f"Of {len(keys):,} keys the median is {median(keys):.1f} ms, the p90 "
                f"{quantiles(keys, n=10)[8]:.1f} ms; each round has {KEYS} keys.",
            )
            report.add(figure)


def _in_new_home(measure: Callable[[str], Figures]) -> Figures:
    """With a user whom nothing is known of."""
    with TemporaryDirectory() as home:
        return measure(home)


def _label(home: str, keys: int) -> Figures:
    command = (sys.executable, str(_ROOT / "benchmarks" / "peers" / "one_label.py"))
    with in_pty(command, of_a_user(home, PYTHONPATH=str(_ROOT))) as program:
        program.seconds_until("count 0.")
        sleep(_SETTLE_SECONDS)
        return _press(program, [("x", f"count {number}.") for number in range(1, keys + 1)])


def deck_keys(rows: int, keys: int) -> Figures:
    """Of so many keys in the filter of a deck with so many models, at least 300, or no key would be like another."""
    return _in_new_home(partial(_deck, rows=rows, keys=keys))


def _deck(home: str, rows: int, keys: int) -> Figures:
    command = (sys.executable, "-m", "benchmarks.peers.deck_of_many", str(rows))
    with in_pty(command, of_a_user(home, PYTHONPATH=str(_ROOT))) as program:
        program.seconds_until(f"Models {rows} ", "NOT LOADED", "Ask the model")
        sleep(_SETTLE_SECONDS)
        program.answer("/", "or: fits 4bit")
        typed = _typed(rows, keys)
        _press(program, typed[:6])  # whatever is done once only
        return _press(program, typed)


def _press(program: InPty, keys: Sequence[tuple[str, str]]) -> Figures:
    """Press each key and wait for its mark."""
    firsts, lasts = [], []
    for key, mark in keys:
        first, last = program.answer(key, mark)
        firsts.append(first * 1000)
        lasts.append(last * 1000)
        sleep(random.uniform(0.02, 0.06))  # a person's fingers keep no step with the repaints
    return firsts, lasts


def _typed(rows: int, wanted: int) -> list[tuple[str, str]]:
    """Keys, and what the title of the pane says after each."""
    listed = [name.casefold() for name in names(rows)]
    chance = random.Random(rows)
    keys: list[tuple[str, str]] = []
    while len(keys) < wanted:
        number = f"{chance.randrange(rows):05}"[-3:]
        counts = [sum(number[:length] in name for name in listed) for length in (1, 2, 3)]
        if len({rows, *counts}) == 4:  # each key is seen
            marks = [f"{count} of {rows} " for count in counts]
            keys += zip(number, marks, strict=True)
            keys += zip(_BACKSPACE * 3, (marks[1], marks[0], f"Models {rows} "), strict=True)
    return keys[:wanted]


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]
