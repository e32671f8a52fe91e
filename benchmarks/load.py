"""Time until a model can reply: from ``PipelineManager.load``, which enter calls, to LOADED, with a ready spare engine.

The sides of one comparison take turns; ours are loads in a row in one manager. Each begins when the spare is ready; how
long that takes after the load before is told, and the peers have their turn only then. They are ``from_pretrained`` and
one token in a process that has imported everything, the same in a fresh ``python -c``, and, for a model that is not in
the page cache, reading its bytes. All are on the CPU.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.charts import Chart, Series
from benchmarks.figures import level, ratio
from benchmarks.page_cache import StillCached, evict, read_seconds
from benchmarks.report import Report
from benchmarks.sides import Ended, fresh_stages, load_seconds, load_stages, make_llama, our_manager, peer, starter
from modeldeck.backend.prefetch import Prefetch

LIMIT = 20 * 2**30
"""Bytes that prepared copies may take."""
WARM_TARGET = 1.1
FRESH_TARGET = 0.5
COLD_TARGET = 1.2
AHEAD_TARGET = 1.0
FIRST_GGUF_TARGET = 0.5
SECOND_GGUF_TARGET = 0.1
DIALOG_SECONDS = 2.0
WARM_PEER = "from_pretrained and one token in a process that has imported everything"
_COPY_SECONDS = 300.0
"""How long the writing of a prepared copy may take."""

Side = Callable[[], Awaitable[None]]


def main(pairs: int, report: Report) -> None:
    """Of 1 GB from the page cache and from the disk, and of the starter's GGUF."""
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary)
        large = make_llama(root / "large", "large")
        asyncio.run(_warm(large, pairs, report))
        try:
            asyncio.run(_cold(large, sorted(file for file in large.iterdir() if file.is_file()), pairs, report))
        except StillCached as error:
            report.skip("load of 1 GB that is not in the page cache", str(error))
        if (gguf := starter()) is None:
            report.skip("load of a GGUF", "the starter model is not installed; make run installs it")
        else:
            asyncio.run(_gguf(gguf, root, pairs, report))


async def _in_rounds(rounds: int, *sides: Side) -> None:
    """Each side once a round, another one first each time."""
    for number in range(rounds):
        first = number % len(sides)
        for side in (*sides[first:], *sides[:first]):
            await side()


async def _warm(model: Path, pairs: int, report: Report) -> None:
    ours: list[list[Ended]] = []
    waits: list[float] = []
    warm: list[float] = []
    fresh: list[list[Ended]] = []
    async with our_manager() as manager:

        async def load() -> None:
            ours.append(await load_stages(manager, model, device="cpu"))
            start = perf_counter()
            await manager.warm()
            waits.append(perf_counter() - start)
            await manager.unload()

        async def in_warm_process() -> None:
            with peer() as side:  # nothing of ours shall run meanwhile, so it may hold up the loop
                warm.append(side.measure(load=str(model)))

        async def in_fresh_process() -> None:
            fresh.append(fresh_stages(model))

        await manager.warm()
        await _in_rounds(1, load, in_warm_process, in_fresh_process)  # after these all files are cached
        for figures in (ours, waits, warm, fresh):
            figures.clear()
        await _in_rounds(pairs, load, in_warm_process, in_fresh_process)
    seconds, theirs = ([run[-1].seconds for run in runs] for runs in (ours, fresh))
    what = "load of 1 GB, enter to LOADED"
    report.add(
        ratio(what, WARM_PEER, seconds, warm, target=WARM_TARGET),
        ratio(what, "the same in a fresh process, with its imports", seconds, theirs, target=FRESH_TARGET),
        level(
            "the next spare engine is ready, after LOADED",
            waits,
            target=None,
            unit="s",
            detail=f"{max(waits):.1f} s at the most; a load that is asked for before waits for what is left of it",
        ),
    )
    report.chart(_timeline(_usual(ours), _usual(fresh)))


def _usual(runs: Sequence[list[Ended]]) -> list[Ended]:
    """The run that took the median time."""
    return sorted(runs, key=lambda stages: stages[-1].seconds)[len(runs) // 2]


def _timeline(ours: Sequence[Ended], theirs: Sequence[Ended]) -> Chart:
    """One row for each stage, one after the other."""
    rows = []
    for name, stages in (("modeldeck", ours), ("python -c", theirs)):
        starts = [0.0, *(stage.seconds for stage in stages)]
        for stage, start in zip(stages, starts, strict=False):
            rows.append(Series(f"{name}: {stage.stage}", (start,), (stage.seconds,)))
    return Chart(
        name="load-timeline",
        title="Load of 1 GB on the CPU: with the spare engine, and in a fresh process",
        kind="spans",
        x="seconds after enter, or after the start of the process",
        y="",
        series=tuple(rows),
    )


async def _cold(model: Path, files: Sequence[Path], pairs: int, report: Report) -> None:
    """Against four threads that read the same bytes, and with the files read ahead while the dialog is open.

    Raises StillCached where the machine keeps files in memory.
    """
    weights = [file for file in files if file.suffix == ".safetensors"]
    loads: list[float] = []
    reads: list[float] = []
    ahead: list[float] = []
    async with our_manager() as manager:

        async def load() -> None:
            await manager.warm()
            evict(files)
            loads.append(await load_seconds(manager, model, device="cpu"))
            await manager.unload()

        async def read() -> None:
            await manager.warm()
            evict(files)
            reads.append(read_seconds(files))

        async def load_after_dialog() -> None:
            await manager.warm()
            evict(files)
            prefetch = Prefetch(weights, 2**40)
            await asyncio.sleep(DIALOG_SECONDS)
            prefetch.stop()
            ahead.append(await load_seconds(manager, model, device="cpu"))
            await manager.unload()

        await _in_rounds(
            1, read, load
        )  # neither counts: the machine below may keep files in its own memory from now on
        loads.clear()
        reads.clear()
        await _in_rounds(pairs, load, read, load_after_dialog)
    size = sum(file.stat().st_size for file in files) / 1e9
    told = f"{size:.2f} GB, read at {size / median(reads):.2f} GB/s (median)"
    what = "load of 1 GB that is not in the page cache"
    report.add(
        ratio(what, "reading its bytes, 4 threads", loads, reads, target=COLD_TARGET, detail=told),
        ratio(f"the same after {DIALOG_SECONDS:g} s in the load dialog", what, ahead, loads, target=AHEAD_TARGET),
    )


async def _gguf(gguf: Path, root: Path, pairs: int, report: Report) -> None:
    """The first load writes the prepared copy, the second takes it; the peer loads that copy, and then the GGUF."""
    cache, copy = root / "cache", root / "copy"
    first: list[float] = []
    second: list[float] = []
    as_copy: list[float] = []
    plain: list[float] = []
    async with our_manager(cache) as manager:

        async def load() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            before, written = manager.copies_written, asyncio.Event()
            manager.on_change = lambda: written.set() if manager.copies_written > before else None
            for figures in (first, second):
                figures.append(await load_seconds(manager, gguf, device="cpu", prepared_copy_limit_bytes=LIMIT))
                await asyncio.wait_for(written.wait(), _COPY_SECONDS)
                await manager.unload()
                await manager.warm()

        async def load_plainly() -> None:
            with peer() as side:
                as_copy.append(side.measure(load=str(copy)))
                plain.append(side.measure(load=str(gguf)))

        await manager.warm()
        await load()
        shutil.copytree(next(config.parent for config in cache.glob("gguf/*/config.json")), copy)
        first.clear()
        second.clear()
        await _in_rounds(pairs, load, load_plainly)
    report.add(
        ratio("first load of a GGUF", "transformers alone", first, plain, target=FIRST_GGUF_TARGET),
        ratio("second load of a GGUF", "first load by transformers alone", second, plain, target=SECOND_GGUF_TARGET),
        ratio("second load of a GGUF", "from_pretrained of it as safetensors", second, as_copy, target=WARM_TARGET),
    )
