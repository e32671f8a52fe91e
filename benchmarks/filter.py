"""A key typed into the filter: the time to its first frame and to the settled list, against a label that changes.

Everything is measured from outside, in a pseudo-terminal: from the key that is written to the bytes that are drawn. The
p99 of each round counts, and the one-label app is measured in the same round; milliseconds.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import sleep

from benchmarks.compare import FEWEST_PAIRS, interval
from benchmarks.peers.deck_of_many import names
from benchmarks.peers.in_pty import InPty, in_pty

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


def _environ(home: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": home, "TERM": "xterm-256color", "PYTHONPATH": str(_ROOT)}


def _measure(program: InPty, keys: Sequence[tuple[str, str]]) -> Figures:
    """Press each key and wait for its mark."""
    firsts, lasts = [], []
    for key, mark in keys:
        first, last = program.answer(key, mark)
        firsts.append(first * 1000)
        lasts.append(last * 1000)
        sleep(random.uniform(0.02, 0.06))  # a person's fingers keep no step with the repaints
    return firsts, lasts


def _label(home: str) -> Figures:
    command = (sys.executable, str(_ROOT / "benchmarks" / "peers" / "one_label.py"))
    with in_pty(command, _environ(home)) as program:
        program.seconds_until("count 0.")
        sleep(_SETTLE_SECONDS)
        return _measure(program, [("x", f"count {number}.") for number in range(1, KEYS + 1)])


def _deck(home: str, rows: int) -> Figures:
    command = (sys.executable, "-m", "benchmarks.peers.deck_of_many", str(rows))
    with in_pty(command, _environ(home)) as program:
        program.seconds_until(f"Models {rows} ", "NOT LOADED", "Ask the model")
        sleep(_SETTLE_SECONDS)
        program.answer("/", "or: fits 4bit")
        typed = _typed(rows)
        _measure(program, typed[:6])  # whatever is done once only
        return _measure(program, typed)


def _typed(rows: int) -> list[tuple[str, str]]:
    """Keys, and what the title of the pane says after each."""
    listed = [name.casefold() for name in names(rows)]
    chance = random.Random(rows)
    keys: list[tuple[str, str]] = []
    while len(keys) < KEYS:
        number = f"{chance.randrange(rows):05}"[-3:]
        counts = [sum(number[:length] in name for name in listed) for length in (1, 2, 3)]
        if len({rows, *counts}) == 4:  # each key is seen
            marks = [f"{count} of {rows} " for count in counts]
            keys += zip(number, marks, strict=True)
            keys += zip(_BACKSPACE * 3, (marks[1], marks[0], f"Models {rows} "), strict=True)
    return keys[:KEYS]


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]


def _report(what: str, ours: Sequence[float], theirs: Sequence[float], target: float) -> float:
    differences = [mine - label for mine, label in zip(ours, theirs, strict=True)]
    low, high = interval(differences)
    middle = median(differences)
    few = len(differences) < FEWEST_PAIRS
    verdict = "undecided" if few else "met" if high <= target else "missed" if low > target else "undecided"
    print(
        f"{what}, p99: {middle:+.1f} ms against a label [{low:+.1f} to {high:+.1f}], {len(differences)} rounds of "
        f"{KEYS} keys, target at most +{target:g} ms: {verdict}   "
        f"(ours {median(ours):.1f}, label {median(theirs):.1f})",
        flush=True,
    )
    return middle


def main(pairs: int = 10) -> list[float]:
    """Print and return the differences in milliseconds: first frame and settled list, for each number of rows."""
    labels: list[Figures] = []
    decks: dict[int, list[Figures]] = {rows: [] for rows in ROWS}
    for _ in range(pairs):
        with TemporaryDirectory() as home:
            labels.append(_label(home))
            for rows in ROWS:
                decks[rows].append(_deck(home, rows))
    middles: list[float] = []
    for rows in ROWS:
        for part, name, target in ((0, "first frame", FIRST_FRAME_MS), (1, "settled list", SETTLED_MS)):
            ours, theirs = ([_p99(figures[part]) for figures in side] for side in (decks[rows], labels))
            middles.append(_report(f"a key in the filter of {rows:,} models, {name}", ours, theirs, target))
            keys = [value for figures in decks[rows] for value in figures[part]]
            print(
                f"    of {len(keys)} keys: median {median(keys):.1f} ms, p90 {quantiles(keys, n=10)[8]:.1f} ms",
                flush=True,
            )
    return middles


if __name__ == "__main__":
    main()
