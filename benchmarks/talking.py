"""Runs ``peers.talking_deck`` as a process of its own, in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

_ROOT = Path(__file__).resolve().parent.parent


def talk(scenario: str, number: int) -> dict[str, float]:
    """What it says of a scenario. Raises CalledProcessError when it fails."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as home:
        result = Path(home, "result")
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environ = kept | {"HOME": home, "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-m", "benchmarks.peers.talking_deck", scenario, str(number), str(result)]
        subprocess.run(command, check=True, env=environ)
        told: dict[str, float] = json.loads(result.read_text())
        return told
