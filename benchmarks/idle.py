"""What the program takes while nobody does anything: its memory and its processor time, beside a bare Textual app.

Both run in a pseudo-terminal. Settled means that a list of 100 models is complete and known by the index, and that the
spare engine has imported its libraries: its children take no processor time any more. The memory is what this process
alone has (USS), without its engines and the search for models, which are processes of their own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from benchmarks.catalog import SETTLE_SECONDS, Tree, list_completes, user_with_models, write_index
from benchmarks.figures import difference, level
from benchmarks.peers.in_pty import InPty, in_pty
from benchmarks.report import Report
from benchmarks.startup import BARE, DECK

MODELS = 100
MEMORY_MB = 40.0
CORE_PERCENT = 1.0
IDLE_SECONDS = 5.0
_MOST_SETTLING_SECONDS = 60.0
_BUSY_SECONDS = 0.02
"""Processor time that children may take in a second once they are settled."""


@dataclass(frozen=True)
class Idle:
    """One program at rest."""

    megabytes: float
    percent: float
    """Of a core; the clock that it is read from ticks every 10 ms."""
    children: tuple[float, ...] = ()
    """Megabytes of each child."""


def main(pairs: int, report: Report) -> None:
    """Both figures, in turns."""
    decks: list[Idle] = []
    bares: list[Idle] = []
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        tree = Tree(root, MODELS)
        tree.make(bare=True)
        time.sleep(SETTLE_SECONDS)
        user = user_with_models(root / "home", tree)
        write_index(user, root / "home", MODELS)
        for number in range(pairs):
            for measure, found in (
                ((_deck, decks), (_bare, bares)) if number % 2 == 0 else ((_bare, bares), (_deck, decks))
            ):
                found.append(measure(user))
    engines = median(max(deck.children, default=0.0) for deck in decks)
    report.add(
        difference(
            f"UI process, idle with {MODELS} models listed: memory",
            "a bare Textual app",
            [deck.megabytes for deck in decks],
            [bare.megabytes for bare in bares],
            target=MEMORY_MB,
            unit="MB",
            detail=f"What it shares with nobody; its spare engine, a process of its own, has {engines:.0f} MB.",
        ),
        level(
            "UI process, idle: share of a core",
            [deck.percent for deck in decks],
            target=CORE_PERCENT,
            unit="%",
            detail=f"The bare app takes {median(bare.percent for bare in bares):.2f}%.",
        ),
    )


def _deck(user: Mapping[str, str]) -> Idle:
    with in_pty(DECK, user) as program:
        list_completes(program, MODELS)
        _settle(program)
        return _at_rest(program)


def _bare(user: Mapping[str, str]) -> Idle:
    with in_pty(BARE, user) as program:
        program.seconds_until("model 9", "palette")
        program.let_run(1.0)
        return _at_rest(program)


def _settle(program: InPty) -> None:
    """Wait until the children have nothing left to do. Raises RuntimeError when they never rest."""
    deadline = time.monotonic() + _MOST_SETTLING_SECONDS
    program.let_run(SETTLE_SECONDS)
    while time.monotonic() < deadline:
        children = psutil.Process(program.pid).children(recursive=True)
        before = sum(map(_processor_seconds, children))
        program.let_run(1.0)
        if sum(map(_processor_seconds, children)) - before <= _BUSY_SECONDS:
            return
    raise RuntimeError("its children never come to rest")


def _at_rest(program: InPty) -> Idle:
    process = psutil.Process(program.pid)
    before, started = _processor_seconds(process), time.perf_counter()
    program.let_run(IDLE_SECONDS)
    percent = 100 * (_processor_seconds(process) - before) / (time.perf_counter() - started)
    return Idle(_megabytes(process), percent, tuple(map(_megabytes, process.children(recursive=True))))


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss / 1e6)
