"""What a hundred loads and unloads of a small model leave behind in the program itself, run by name.

The manager runs here as it does in the app, with real engines; what counts is this process, after the tenth unload and
after each that follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from msgspec import Struct

from benchmarks.figures import each
from benchmarks.report import Report
from benchmarks.sides import load_seconds, make_llama, our_manager
from modeldeck.backend.pipeline_manager import PipelineManager

FIRST = 10
"""Cycles after which everything that is needed once is there."""
PER_PAIR = 9
GROWTH_MB = 2.0
MB = 1e6


class Own(Struct, frozen=True):
    """What this process itself has."""

    unique_bytes: int
    descriptors: int
    threads: int
    children: int

    def more_than(self, first: Own) -> int:
        """How many more there are of descriptors, threads or children, whichever grew most."""
        counts = ((self.descriptors, first.descriptors), (self.threads, first.threads), (self.children, first.children))
        return max(now - before for now, before in counts)


def main(pairs: int, report: Report) -> None:
    """Ten cycles, and nine for each pair."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as folder:
        cycled = asyncio.run(_measure(make_llama(Path(folder) / "small"), FIRST + PER_PAIR * pairs))
    first, later = cycled[FIRST - 1], cycled[FIRST:]
    grown = [(one.unique_bytes - first.unique_bytes) / MB for one in later]
    report.add(
        each(
            "memory that the program grew by since 10 loads and unloads",
            grown,
            target=GROWTH_MB,
            unit="MB",
            detail=f"{grown[-1]:+.2f} MB after {len(cycled)} of them (USS)",
        ),
        each(
            "descriptors, threads or children more than after 10 loads and unloads",
            [float(one.more_than(first)) for one in later],
            target=0,
            unit="",
            detail=_told(first, later),
        ),
    )


def _told(first: Own, later: Sequence[Own]) -> str:
    last = later[-1]
    return (
        f"descriptors {first.descriptors} to {last.descriptors}, threads {first.threads} to {last.threads}, "
        f"children {first.children} to {last.children}"
    )


async def _measure(model: Path, cycles: int) -> Sequence[Own]:
    async with our_manager() as manager:
        return [await _cycle(manager, model) for _ in range(cycles)]


async def _cycle(manager: PipelineManager, model: Path) -> Own:
    await manager.warm()
    await load_seconds(manager, model, device="cpu", dtype="bfloat16")
    await manager.unload()
    await manager.warm()
    this = psutil.Process()
    return Own(this.memory_full_info().uss, this.num_fds(), this.num_threads(), len(this.children(recursive=True)))
