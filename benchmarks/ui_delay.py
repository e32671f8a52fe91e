"""How late the UI loop is while a real model loads and while a reply streams.

The clock is a 5 ms tick in the loop of the real app, in a terminal of its own. Against the same app idle, just before,
the 99th percentile of its lateness counts; against the design that loads the model into a thread of the UI process
(``peers/thread_app.py``) the greatest, while the same model loads there and writes the same number of tokens. The
reply of 100 tokens a second comes from a scripted engine, for no real model is so even.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import NamedTuple

from benchmarks.charts import Chart, Series
from benchmarks.figures import Figure, difference, ratio, written
from benchmarks.peers.in_pty import in_pty
from benchmarks.peers.ticking_deck import REAL, REAL_TOKENS
from benchmarks.report import Report
from benchmarks.sides import make_llama, starter, starter_copy

LOAD_MS = 20.0
STREAM_MS = 30.0
OF_THREAD_DESIGN = 0.25
_POINTS = 600
"""Of a series of the plot."""
_LIMIT_SECONDS = 180.0
_ROOT = Path(__file__).resolve().parent.parent


class Played(NamedTuple):
    """One phase of a scenario."""

    late: Sequence[float]
    """Milliseconds, of every tick."""
    cpu: Sequence[float]
    """The share of a core that the UI process took in each quarter."""

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return quantiles(self.late, n=100)[98]


Phases = Mapping[str, Played]


def play(scenario: str, model: Path | None = None) -> Phases:
    """One scenario of ``peers.ticking_deck``. Raises RuntimeError when it does not come to its end."""
    return _watched("benchmarks.peers.ticking_deck", (scenario,), () if model is None else (str(model),), model)


def _play_threads(model: Path) -> Phases:
    return _watched("benchmarks.peers.thread_app", (str(model), str(REAL_TOKENS)), (), None)


def _watched(module: str, before: Sequence[str], after: Sequence[str], model: Path | None) -> Phases:
    """Run a module in a terminal until it has written its result."""
    with TemporaryDirectory() as home:
        result = Path(home, "phases")
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environ = kept | {"HOME": home, "TERM": "xterm-256color", "PYTHONPATH": str(_ROOT)}
        environ |= {} if model is None else {"MODELDECK_MODEL_DIRS": str(model.parent)}
        with in_pty((sys.executable, "-m", module, *before, str(result), *after), environ) as program:
            deadline = monotonic() + _LIMIT_SECONDS
            while not result.exists() and monotonic() < deadline:
                program.drain()  # or a full terminal would hold up the loop
                sleep(0.01)
        told = json.loads(result.read_text()) if result.exists() else {}
        if "reply" not in told:
            raise RuntimeError(f"{module} {' '.join(before)} did not come to its end")
        return {name: Played(phase["late"], phase["cpu"]) for name, phase in told.items()}


class Round(NamedTuple):
    """Everything once."""

    real: Phases
    scripted: Phases
    threads: Phases


def main(pairs: int, report: Report) -> None:
    """Three scenarios in turns: the real app with a real model, with a scripted one, and the thread design."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        model = talking_model(Path(temporary).resolve() / "models" / "model")
        rounds = [_round(model, threads_first=number % 2 == 1) for number in range(pairs)]
    real, scripted, threads = ([one[side] for one in rounds] for side in range(len(Round._fields)))
    report.add(
        _above_idle("loading a model", _all(real, "load"), _all(real, "idle"), LOAD_MS),
        _above_idle("streaming 100 tokens per second", _all(scripted, "reply"), _all(scripted, "idle"), STREAM_MS),
        _against_threads("loading a model", "load", real, threads),
        _against_threads("a real model replies", "reply", real, threads),
    )
    report.chart(
        _histogram(
            {
                "idle": _all(real, "idle"),
                "loading": _all(real, "load"),
                "streaming": _all(scripted, "reply"),
                "thread design, loading": _all(threads, "load"),
                "thread design, replying": _all(threads, "reply"),
            }
        )
    )


def _round(model: Path, *, threads_first: bool) -> Round:
    threads = _play_threads(model) if threads_first else None
    real, scripted = play(REAL, model), play("stream")
    return Round(real, scripted, threads or _play_threads(model))


def talking_model(folder: Path) -> Path:
    """SmolLM2-135M in float32, whose replies have text to show; random weights where the starter is not installed."""
    gguf = starter()
    return make_llama(folder) if gguf is None else starter_copy(gguf, folder)


def _all(rounds: Sequence[Phases], phase: str) -> list[Played]:
    return [one[phase] for one in rounds]


def _above_idle(name: str, busy: Sequence[Played], idle: Sequence[Played], target: float) -> Figure:
    greatest = [max(one.late) for one in busy]
    middle, most = written(median(greatest), "ms"), written(max(greatest), "ms")
    return difference(
        f"UI loop delay while {name}, p99",
        "the same app idle",
        [one.p99 for one in busy],
        [one.p99 for one in idle],
        target=target,
        detail=f"The greatest of a round: {middle} in the median, {most} at most.",
    )


def _against_threads(name: str, phase: str, ours: Sequence[Phases], theirs: Sequence[Phases]) -> Figure:
    """Against the greatest of the whole session there; the same phases are compared in the detail."""
    same = median(max(mine[phase].late) / max(peer[phase].late) for mine, peer in zip(ours, theirs, strict=True))
    p99s = [written(median(one[phase].p99 for one in side), "ms") for side in (ours, theirs)]
    return ratio(
        f"UI loop delay while {name}, max",
        "the greatest while a thread of the UI process loads and replies",
        [max(one[phase].late) for one in ours],
        [max(*one["load"].late, *one["reply"].late) for one in theirs],
        target=OF_THREAD_DESIGN,
        side_unit="ms",
        detail=f"Against the same phase there: max {written(same, 'x')}, p99 {p99s[0]} and {p99s[1]}.",
    )


def _histogram(phases: Mapping[str, Sequence[Played]]) -> Chart:
    return Chart(
        name="ui-delay",
        title="How late the UI loop is",
        kind="histogram",
        x="lateness of a 5 ms tick, in ms",
        y=f"ticks, of {_POINTS} by rank",
        series=tuple(
            Series(name, thinned([late for one in each for late in one.late])) for name, each in phases.items()
        ),
        logarithmic=True,
    )


def thinned(values: Sequence[float], points: int = _POINTS) -> tuple[float, ...]:
    """So many of the values that their distribution is the same: evenly by rank, the greatest always among them."""
    ordered = sorted(values)
    return tuple(round(ordered[-(-len(ordered) * (number + 1) // points) - 1], 2) for number in range(points))
