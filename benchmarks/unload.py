"""What a cancelled load and an unload leave behind, and how soon they are done.

The manager runs here as it does in the app, with real engines. Memory is the proportional set size (PSS) of this
process and all below it, the spare engine left out, since it holds no model. What is left is measured one second after
the end, against what the load had added at that moment. What many of them leave is measured by ``cycles``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from msgspec import Struct

from benchmarks.figures import Figure, each, level
from benchmarks.report import Report
from benchmarks.sides import load_seconds, make_llama, our_manager
from benchmarks.tree_memory import our_bytes
from modeldeck.backend.errors import LoadCancelled
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.pipeline_manager import PipelineManager

CANCEL_MS = 300.0
LEFT_PERCENT = 2.0
DTYPE = "bfloat16"
"""Not that of the file, so that the weights are copied, which is harder to give back than what is mapped."""
MB = 1e6

Load = Callable[[], Awaitable[float]]
"""Its seconds."""


class Ended(Struct, frozen=True):
    """One cancel or unload."""

    milliseconds: float
    added: int
    """Bytes that the load had added when it ended."""
    left: int
    """Of them, a second later."""

    @property
    def left_percent(self) -> float:
        """What is left of what was added; 0 where the load had added nothing yet."""
        return 100 * max(0, self.left) / self.added if self.added > MB else 0.0


def main(pairs: int, report: Report) -> None:
    """Two of each for a pair."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as folder:
        model = make_llama(Path(folder) / "large", "large")
        asyncio.run(_measure(model, pairs, report))


async def _measure(model: Path, pairs: int, report: Report) -> None:
    async with our_manager() as manager:
        held = partial(our_bytes, manager)
        load = partial(load_seconds, manager, model, device="cpu", dtype=DTYPE)
        usual = await load()
        await manager.unload()
        cancelled = [await cancel(manager, load, held, random.uniform(0, usual)) for _ in range(2 * pairs)]
        report.add(
            each(
                "cancel of a load of 1 GB at a random moment, until nothing of it runs",
                [one.milliseconds for one in cancelled],
                target=CANCEL_MS,
                unit="ms",
            ),
            left("what a cancelled load had added is left 1 s after", cancelled, "PSS"),
        )
        unloaded = [await unload(manager, load, held) for _ in range(2 * pairs)]
    report.add(
        level(
            "unload of 1 GB, until nothing of it runs",
            [one.milliseconds for one in unloaded],
            target=None,
            unit="ms",
            detail=f"{max(one.milliseconds for one in unloaded):.0f} ms at the most",
        ),
        left("what a load had added is left 1 s after its unload", unloaded, "PSS"),
    )


def left(what: str, ended: Sequence[Ended], kind: str) -> Figure:
    """The shares that are left; ``kind`` says which memory it is of."""
    shares = [one.left_percent for one in ended]
    within = sum(share <= LEFT_PERCENT for share in shares)
    added = max(one.added for one in ended) / MB
    told = f"{within} of {len(shares)} within; {kind}, of up to {added:.0f} MB"
    return each(what, shares, target=LEFT_PERCENT, unit="%", detail=told)


async def cancel(manager: PipelineManager, load: Load, held: Callable[[], int], seconds: float) -> Ended:
    """Begin a load and cancel it after so long; ``held`` reads the bytes that we hold."""
    await manager.warm()
    before = held()
    loading = asyncio.ensure_future(load())
    await asyncio.sleep(seconds)
    added = held() - before
    took = await _timed(manager.cancel_load)
    with suppress(LoadCancelled):
        await loading
    if manager.status is not ModelStatus.NOT_LOADED:  # it was quicker than usual, and there was nothing to cancel
        took = await _timed(manager.unload)
    await asyncio.sleep(1)
    return Ended(took, added, held() - before)


async def unload(manager: PipelineManager, load: Load, held: Callable[[], int]) -> Ended:
    """Load and unload; ``held`` reads the bytes that we hold."""
    await manager.warm()
    before = held()
    await load()
    added = held() - before
    took = await _timed(manager.unload)
    await asyncio.sleep(1)
    return Ended(took, added, held() - before)


async def _timed(end: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    start = perf_counter()
    await end()
    return 1000 * (perf_counter() - start)
