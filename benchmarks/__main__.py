"""``python -m benchmarks [NAME ...] [--pairs N | --quick] [--gpu]``: every benchmark of this folder, or those named.

A run is kept in ``results.json``, ``RESULTS.md``, the README and ``docs/plots``, except a quick one.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from benchmarks import results_page
from benchmarks.charts import draw
from benchmarks.figures import FEWEST_ROUNDS
from benchmarks.report import Report, Results
from modeldeck.backend.devices import available_devices

_ON_GPU = ("decode", "estimate", "gpu_load")
_BY_NAME = ("cycles", "estimate", "filter", "generate", "growth", "serve", "stream")
"""Cycles, soaks, tables, and what the table of targets does not ask for; the others take 35 minutes on two cores."""


def names() -> list[str]:
    """The benchmarks that are here: every module with a ``main(pairs, report)``."""
    folder = Path(__file__).parent
    return sorted(file.stem for file in folder.glob("*.py") if "\ndef main(pairs" in file.read_text())


def chosen(named: Sequence[str], *, gpu: bool) -> Sequence[str]:
    """What to run where these were named."""
    if named:
        return named
    if gpu:
        return [name for name in names() if name in _ON_GPU]
    return [name for name in names() if name not in {*_BY_NAME, *_ON_GPU}]


def main() -> None:
    """Run what was asked for; figures of a busy machine decide nothing, and the verdicts say so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}")
    parser.add_argument("--pairs", type=int, default=10, help="how often each side is measured (default 10)")
    parser.add_argument("--quick", action="store_const", const=1, dest="pairs", help="once, and few rows of many")
    parser.add_argument("--gpu", action="store_true", help="only what measures a GPU; nothing where there is none")
    options = parser.parse_args()
    unknown = [name for name in options.benchmarks if name not in names()]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(names())}")
    wanted = chosen(options.benchmarks, gpu=options.gpu)
    if options.gpu and "cuda:0" not in available_devices():
        print(f"skipped: {', '.join(wanted)}, for there is no GPU on this machine")
        return
    started = monotonic()
    failed = [name for name in wanted if not _measured(name, options.pairs, gpu=options.gpu)]
    print(f"{(monotonic() - started) / 60:.1f} minutes in all")
    if failed:
        sys.exit(f"failed, and their last figures stand: {', '.join(failed)}")


def _measured(name: str, pairs: int, *, gpu: bool) -> bool:
    """Run one and keep its figures; False, with a traceback, where it failed, for the others can be had without it."""
    report = Report(name if not gpu or name.startswith("gpu") else f"{name}-gpu")
    try:
        importlib.import_module(f"benchmarks.{name}").main(pairs, report)
    except Exception:  # noqa: BLE001  # whatever it is, the next benchmark has nothing to do with it
        traceback.print_exc()
        return False
    if pairs >= FEWEST_ROUNDS and report.whole().figures:
        _keep(report)
    return True


def _keep(report: Report) -> None:
    run = report.whole()
    results = Results.read().with_run(run)
    results.write()
    for chart in run.charts:
        draw(chart)
    results_page.write(results)


if __name__ == "__main__":
    main()
