"""What a cancelled load and an unload leave behind, and how soon they are done; and what many of them leave.

The manager runs here as it does in the app, with real engines. Memory is the proportional set size (PSS) of this
process and all below it, the spare engine left out, since it holds no model. What is left is measured one second after
the end, against what the load had added at that moment.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil
from msgspec import Struct

from benchmarks.sides import load_seconds, make_llama, our_manager
from modeldeck.backend.errors import LoadCancelled
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager

CANCEL_MS = 300.0
LEFT_SHARE = 0.02
GROWTH_MB = 2.0
MB = 1e6


class Ended(Struct, frozen=True):
    """One cancel or unload."""

    seconds: float
    added: int
    """Bytes that the load had added when it ended."""
    left: int
    """Of them, a second later."""

    @property
    def share(self) -> float:
        """What is left of what was added; 0 where the load had added nothing yet."""
        return max(0, self.left) / self.added if self.added > MB else 0.0


class Own(Struct, frozen=True):
    """What this process itself has."""

    unique_bytes: int
    descriptors: int
    threads: int
    children: int


def main(pairs: int = 10) -> list[bool]:
    """Print the figures; return which targets were met."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as folder:
        return asyncio.run(_measure(Path(folder), pairs))


async def _measure(root: Path, pairs: int) -> list[bool]:
    large, small = make_llama(root / "large", large=True), make_llama(root / "small")
    size = sum(file.stat().st_size for file in large.glob("*.safetensors"))
    async with our_manager() as manager:
        start = perf_counter()
        await _load(manager, large)
        usual = perf_counter() - start
        await manager.unload()
        cancelled = [await _cancel(manager, large, random.uniform(0, usual)) for _ in range(2 * pairs)]
        unloaded = [await _unload(manager, large) for _ in range(2 * pairs)]
        cycled = [await _cycle(manager, small) for _ in range(10 * pairs)]
    met = [
        _report_cancels(cancelled, size),
        _report_left("cancels", cancelled),
        _report_left("unloads", unloaded),
        _report_cycles(cycled),
    ]
    print(f"unload, asked to NOT_LOADED: median {1000 * median(one.seconds for one in unloaded):.0f} ms")
    return met


async def _load(manager: PipelineManager, model: Path) -> None:
    await manager.warm()
    await load_seconds(manager, model, device="cpu", dtype="bfloat16")


async def _cancel(manager: PipelineManager, model: Path, seconds: float) -> Ended:
    await manager.warm()
    before = _tree_bytes(manager)
    load = asyncio.create_task(_load(manager, model))
    await asyncio.sleep(seconds)
    added = _tree_bytes(manager) - before
    start = perf_counter()
    await manager.cancel_load()
    took = perf_counter() - start
    with suppress(LoadCancelled):
        await load
    if manager.status is not ModelStatus.NOT_LOADED:  # it was quicker than usual, and there was nothing to cancel
        start = perf_counter()
        await manager.unload()
        took = perf_counter() - start
    await asyncio.sleep(1)
    return Ended(took, added, _tree_bytes(manager) - before)


async def _unload(manager: PipelineManager, model: Path) -> Ended:
    await manager.warm()
    before = _tree_bytes(manager)
    await _load(manager, model)
    added = _tree_bytes(manager) - before
    start = perf_counter()
    await manager.unload()
    took = perf_counter() - start
    await asyncio.sleep(1)
    return Ended(took, added, _tree_bytes(manager) - before)


async def _cycle(manager: PipelineManager, model: Path) -> Own:
    await _load(manager, model)
    await manager.unload()
    await manager.warm()
    this = psutil.Process()
    return Own(this.memory_full_info().uss, this.num_fds(), this.num_threads(), len(this.children(recursive=True)))


def _tree_bytes(manager: PipelineManager) -> int:
    """PSS of this process and its children; the spare is left out while it is one."""
    spares = set(manager.engine_pids) - set(manager.model_pids)
    processes = [psutil.Process(os.getpid()), *psutil.Process().children(recursive=True)]
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += 0 if process.pid in spares else process.memory_full_info().pss
    return total


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def _report_cancels(cancelled: Sequence[Ended], size: int) -> bool:
    times = sorted(1000 * one.seconds for one in cancelled)
    within = sum(time <= CANCEL_MS for time in times)
    met = within == len(times)
    print(
        f"cancel of a load of {size / 1e9:.2f} GB at a random moment, asked to NOT_LOADED: median {median(times):.0f} "
        f"ms, longest {times[-1]:.0f} ms; {within} of {len(times)} within {CANCEL_MS:g} ms: {_verdict(met)}",
        flush=True,
    )
    return met


def _report_left(what: str, ended: Sequence[Ended]) -> bool:
    worst = max(one.share for one in ended)
    within = sum(one.share <= LEFT_SHARE for one in ended)
    met = within == len(ended)
    print(
        f"left one second after {what}, of {max(one.added for one in ended) / MB:.0f} MB at the most: "
        f"{100 * worst:.2f}% at the worst; {within} of {len(ended)} within {100 * LEFT_SHARE:g}%: {_verdict(met)}",
        flush=True,
    )
    return met


def _report_cycles(cycled: Sequence[Own]) -> bool:
    first, last = cycled[min(9, len(cycled) - 1)], cycled[-1]
    grown = (last.unique_bytes - first.unique_bytes) / MB
    same = (first.descriptors, first.threads, first.children) == (last.descriptors, last.threads, last.children)
    met = grown <= GROWTH_MB and same
    print(
        f"{len(cycled)} loads and unloads of a small model: this process grew by {grown:+.2f} MB after the first ten, "
        f"target at most {GROWTH_MB:g} MB; descriptors {first.descriptors} to {last.descriptors}, "
        f"threads {first.threads} to {last.threads}, children {first.children} to {last.children}: {_verdict(met)}",
        flush=True,
    )
    return met


if __name__ == "__main__":
    main()
