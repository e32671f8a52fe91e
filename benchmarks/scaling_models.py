"""Ten times the models: how the time grows until they are read, listed on a second start, and filtered.

Each size has a tree of its own and a user of its own, who has no spare engine: it would import torch meanwhile. One
round goes through all sizes. What is linear takes ten times as long for ten times the models, and less where a part of
it is the same for any number; so the last step, from 300 to 3,000, is set against ten times the first of the two.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.catalog import SETTLE_SECONDS, Tree, scan, seconds_to_list, user_with_models, write_index
from benchmarks.charts import Chart, Series
from benchmarks.figures import ratio
from benchmarks.filter import deck_keys
from benchmarks.report import Report

SIZES = (100, 300, 1_000, 3_000)
KEYS = 24
LEAST_FOR_KEYS = 300
"""With fewer models the keys would leave the same."""
SCAN = "models listed, no index"
START = "second start to the complete list"
KEY = "a key in the filter to the settled list"

Times = dict[str, dict[int, list[float]]]
"""Seconds of every round, by what was done and how many models there were."""


def main(pairs: int, report: Report) -> None:
    """Measure, and set the last step against a straight line."""
    times: Times = {what: {size: [] for size in SIZES} for what in (SCAN, START, KEY)}
    with TemporaryDirectory() as folder:
        users = [_user(Path(folder).resolve(), size) for size in SIZES]
        time.sleep(SETTLE_SECONDS)
        for tree, environ in users:
            write_index(environ, tree.root / "home", tree.count)
        for number in range(pairs):
            for tree, environ in users if number % 2 == 0 else reversed(users):
                times[SCAN][tree.count].append(scan(tree).listed)
                times[START][tree.count].append(seconds_to_list(environ, tree.count))
                if tree.count >= LEAST_FOR_KEYS:
                    _, settled = deck_keys(tree.count, KEYS)
                    times[KEY][tree.count].append(median(settled) / 1000)
    _tell(times, report)


def _user(root: Path, size: int) -> tuple[Tree, Mapping[str, str]]:
    tree = Tree(root / f"{size}", size)
    tree.make(bare=True)
    home = tree.root / "home"
    environ = user_with_models(home, tree)
    settings = home / ".config" / "modeldeck" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("spare_engine = false\n")
    return tree, environ


def _tell(times: Times, report: Report) -> None:
    few, many = SIZES[-3], SIZES[-1]
    for what, by_size in times.items():
        straight = [many / few * seconds for seconds in by_size[few]]
        growth = median(long / short for short, long in zip(by_size[few], by_size[many], strict=True))
        figure = ratio(
            f"{what}, {many:,} models",
            f"{many // few} times the time of {few:,}",
            by_size[many],
            straight,
            target=1.0,
            detail=f"{many // few} times the models take {growth:.1f} times as long.",
        )
        report.add(figure)
    series = (
        Series(
            what,
            tuple(size for size in SIZES if by_size[size]),
            tuple(median(by_size[size]) for size in SIZES if by_size[size]),
        )
        for what, by_size in times.items()
    )
    report.chart(
        Chart("scaling-models", "Ten times the models", "lines", "models", "seconds", tuple(series), logarithmic=True)
    )
