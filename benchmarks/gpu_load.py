"""What a load onto a GPU takes of time, and what its end leaves of the GPU's memory.

Ours are loads in a row in one manager, each into an engine that was ready. The peer is one process, which has imported
everything and has used the GPU before: unlike each new engine of ours it does not wait for CUDA.

Skipped where there is no GPU.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import each, ratio
from benchmarks.load import WARM_PEER, WARM_TARGET
from benchmarks.report import Report
from benchmarks.sides import Ahead, load_seconds, make_llama, our_manager, peer
from benchmarks.unload import CANCEL_MS, Ended, cancel, left, unload
from modeldeck.backend.devices import available_devices
from modeldeck.backend.memory import MemoryMonitor

_DEVICE = "cuda:0"
_WHAT = "load of 2 GB onto a GPU, enter to LOADED"


def main(pairs: int, report: Report) -> None:
    """Two loads a pair, one of them against the peer, and two cancels."""
    if _DEVICE not in available_devices():
        report.skip("load onto a GPU", "there is no GPU on this machine")
        return
    with TemporaryDirectory(prefix="modeldeck-bench-") as folder:
        model = make_llama(Path(folder) / "model", "two gigabytes")
        asyncio.run(_measure(model, pairs, report))


async def _measure(model: Path, pairs: int, report: Report) -> None:
    rounds = 2 * pairs
    monitor = MemoryMonitor()

    def held() -> int:
        return monitor.read().devices[0].used_bytes

    with peer() as warm:
        async with aclosing(Ahead(2 * rounds + 1)) as ahead, our_manager(started=ahead) as manager:
            await manager.warm()
            await ahead.ready()
            load = partial(load_seconds, manager, model, device=_DEVICE)
            await load()
            await manager.unload()
            warm.measure(load=str(model), device=_DEVICE)
            seconds: list[float] = []
            unloaded: list[Ended] = []
            theirs: list[float] = []

            async def timed() -> float:
                seconds.append(await load())
                return seconds[-1]

            for number in range(rounds):
                unloaded.append(await unload(manager, timed, held))
                if number < pairs:
                    theirs.append(warm.measure(load=str(model), device=_DEVICE))
            cancelled = [
                await cancel(manager, load, held, random.uniform(0, max(seconds[pairs:]))) for _ in range(rounds)
            ]
    report.add(
        ratio(_WHAT, WARM_PEER, seconds[:pairs], theirs, target=WARM_TARGET),
        left("what a load onto a GPU had added is left 1 s after its unload", unloaded, "device memory"),
        each(
            "cancel of a load onto a GPU at a random moment, until nothing of it runs",
            [one.milliseconds for one in cancelled],
            target=CANCEL_MS,
            unit="ms",
        ),
        left("what a cancelled load onto a GPU had added is left 1 s after", cancelled, "device memory"),
    )
