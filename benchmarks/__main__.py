"""``python -m benchmarks [NAME ...] [--pairs N | --quick] [--gpu]``: every benchmark of this folder, or those named."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from modeldeck.backend.devices import available_devices

_ON_GPU = ("estimate",)
_PARTS = {"__init__", "__main__", "compare", "estimate_models", "model_tree", "page_cache", "sides"}


def names() -> list[str]:
    """The benchmarks that are here: every module with a ``main(pairs)``."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in _PARTS)


def main() -> None:
    """Run what was asked for; figures of a busy machine decide nothing, and the verdicts say so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; all by default")
    parser.add_argument("--pairs", type=int, default=10, help="how often each side is measured (default 10)")
    parser.add_argument("--quick", action="store_const", const=1, dest="pairs", help="once, and few rows of many")
    parser.add_argument("--gpu", action="store_true", help="only what measures a GPU; nothing where there is none")
    options = parser.parse_args()
    unknown = [name for name in options.benchmarks if name not in names()]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(names())}")
    if options.gpu and "cuda:0" not in available_devices():
        print(f"skipped: {', '.join(_ON_GPU)}, for there is no GPU on this machine")
        return
    for name in options.benchmarks or (_ON_GPU if options.gpu else names()):
        importlib.import_module(f"benchmarks.{name}").main(options.pairs)


if __name__ == "__main__":
    main()
