"""How late the UI loop is while a real model loads and while a reply streams, against the same app idle.

The p99 of the lateness of a 5 ms tick, in milliseconds; rounds are interleaved, and the difference to the idle round
beside it counts. The engine that streams is scripted (20 tokens a second), the one that loads is real.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from benchmarks.compare import FEWEST_PAIRS, interval
from benchmarks.peers.in_pty import in_pty

TARGET_MS = 20.0
_LIMIT_SECONDS = 180.0
_ROOT = Path(__file__).resolve().parent.parent


def _p99(scenario: str) -> float:
    """Run one scenario in a terminal of its own. Raises RuntimeError when it does not come to its end."""
    with TemporaryDirectory() as home:
        result = Path(home, "lateness")
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environ = kept | {"HOME": home, "TERM": "xterm-256color", "PYTHONPATH": str(_ROOT)}
        command = (sys.executable, "-m", "benchmarks.peers.ticking_deck", scenario, str(result))
        with in_pty(command, environ) as program:
            deadline = monotonic() + _LIMIT_SECONDS
            while not result.exists() and monotonic() < deadline:
                program.drain()  # or a full terminal would hold up the loop
                sleep(0.01)
        if not result.exists():
            raise RuntimeError(f"the scenario {scenario} did not end")
        return quantiles([float(line) for line in result.read_text().split()], n=100)[98]


def _report(name: str, busy: Sequence[float], idle: Sequence[float]) -> float:
    differences = [mine - theirs for mine, theirs in zip(busy, idle, strict=True)]
    low, high = interval(differences)
    middle = median(differences)
    few = len(differences) < FEWEST_PAIRS
    verdict = "undecided" if few else "met" if high <= TARGET_MS else "missed" if low > TARGET_MS else "undecided"
    print(
        f"loop delay while {name}, p99: {middle:+.1f} ms against idle [{low:+.1f} to {high:+.1f}], "
        f"{len(busy)} pairs, target at most +{TARGET_MS:g} ms: {verdict}   "
        f"({name} {median(busy):.1f}, idle {median(idle):.1f})",
        flush=True,
    )
    return middle


def main(pairs: int = 10) -> list[float]:
    """Print and return the differences in milliseconds: loading, streaming."""
    rounds = [(_p99("idle"), _p99("load"), _p99("stream")) for _ in range(pairs)]
    idle, load, stream = zip(*rounds, strict=True)
    return [_report("loading", load, idle), _report("streaming 20 tokens a second", stream, idle)]


if __name__ == "__main__":
    main()
