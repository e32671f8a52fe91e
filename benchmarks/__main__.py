"""``python -m benchmarks [NAME ...] [--pairs N | --quick]``: every benchmark of this folder, or those named."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

_PARTS = {"__init__", "__main__", "compare", "estimate_models", "model_tree", "sides"}


def names() -> list[str]:
    """The benchmarks that are here: every module with a ``main(pairs)``."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in _PARTS)


def main() -> None:
    """Run what was asked for; figures of a busy machine decide nothing, and the verdicts say so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; all by default")
    parser.add_argument("--pairs", type=int, default=10, help="how often each side is measured (default 10)")
    parser.add_argument("--quick", action="store_const", const=1, dest="pairs", help="once, and few rows of many")
    options = parser.parse_args()
    unknown = [name for name in options.benchmarks if name not in names()]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(names())}")
    for name in options.benchmarks or names():
        importlib.import_module(f"benchmarks.{name}").main(options.pairs)


if __name__ == "__main__":
    main()
