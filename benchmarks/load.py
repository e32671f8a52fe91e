"""Time until a model can reply: from ``PipelineManager.load``, which enter calls, to LOADED, with a ready spare engine.

The loads of one kind are a series in one manager. Each begins when the spare is ready; how long that takes after the
load before is told, and the peer has its turn only then. The peers are ``from_pretrained`` plus one token in a process
that has imported everything, the same in a fresh ``python -c``, and, for a model that is not in the page cache, reading
its bytes. Both sides are on the CPU.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.compare import Comparison, Figures, compare, in_turns_on_loop
from benchmarks.page_cache import StillCached, evict, read_seconds
from benchmarks.sides import fresh_seconds, load_seconds, make_llama, our_manager, peer, starter
from modeldeck.backend.prefetch import Prefetch

LIMIT = 20 * 2**30
"""Bytes that prepared copies may take."""
WARM_TARGET = 1.1
FRESH_TARGET = 0.5
COLD_TARGET = 1.2
AHEAD_TARGET = 1.0
DIALOG_SECONDS = 2.0
_COPY_SECONDS = 300.0
"""How long the writing of a prepared copy may take."""


def main(pairs: int) -> list[Comparison]:
    """Print every comparison as it is known, and return them all."""
    results: list[Comparison] = []
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary)
        small, large = make_llama(root / "small"), make_llama(root / "large", large=True)
        results.append(_compare_series("load, 390 MB llama", small, pairs))
        results.append(_compare_series("load, 1 GB llama", large, pairs))
        name = "load, 1 GB llama, against a fresh python -c"
        results.append(_compare_series(name, large, pairs, fresh_seconds, FRESH_TARGET))
        results += _compare_cold("load, 1 GB llama, cold, against pread", large, pairs)
        results += _compare_ahead("load, 1 GB llama, cold, after 2 s in the dialog", large, pairs)
        if (gguf := starter()) is None:
            print("load, GGUF: left out, the starter model is not installed")
            return results
        cache = root / "cache"
        results += _compare_gguf(gguf, cache, pairs)
        copy = next(config.parent for config in cache.glob("gguf/*/config.json"))
        results.append(_compare_series("load, SmolLM2-135M as safetensors", copy, pairs))
    return results


def _theirs(model: Path) -> float:
    with peer() as side:
        return side.measure(load=str(model))


def _compare_series(
    name: str, model: Path, pairs: int, peer_seconds: Callable[[Path], float] = _theirs, target: float = WARM_TARGET
) -> Comparison:
    return asyncio.run(_series(name, model, pairs, peer_seconds, target))


async def _series(
    name: str, model: Path, pairs: int, peer_seconds: Callable[[Path], float], target: float
) -> Comparison:
    """Loads in a row in one manager; the first of each side, after which all files are cached, does not count."""
    waits: list[float] = []
    async with our_manager() as manager:

        async def ours() -> float:
            seconds = await load_seconds(manager, model, device="cpu")
            start = perf_counter()
            await manager.warm()
            waits.append(perf_counter() - start)
            await manager.unload()
            return seconds

        async def theirs() -> float:
            return peer_seconds(model)  # nothing of ours shall run meanwhile, so it may hold up the loop

        await manager.warm()
        await ours()
        await theirs()
        figures = await in_turns_on_loop(pairs, ours, theirs)
    result = _told(compare(name, *figures, target=target))
    print(
        f"    {len(waits)} loads in a row; the next spare was ready {median(waits):.1f} s after LOADED (median; "
        f"{max(waits):.1f} at the most), and a load before that waits for what is left of it",
        flush=True,
    )
    return result


def _compare_cold(name: str, model: Path, pairs: int) -> list[Comparison]:
    """Against four threads that read the same bytes; nothing where the machine keeps files in memory."""
    files = sorted(file for file in model.iterdir() if file.is_file())
    size = sum(file.stat().st_size for file in files) / 1e9
    try:
        ours, theirs = asyncio.run(_cold(model, files, pairs))
    except StillCached as error:
        print(f"{name}: undecided, for {error}", flush=True)
        return []
    result = _told(compare(name, ours, theirs, target=COLD_TARGET))
    print(f"    {size:.2f} GB, read at {size / median(theirs):.2f} GB/s (median)", flush=True)
    return [result]


async def _cold(model: Path, files: Sequence[Path], pairs: int) -> Figures:
    """Seconds of the load and of the reading. Raises StillCached."""
    async with our_manager() as manager:

        async def ours() -> float:
            await manager.warm()
            evict(files)
            seconds = await load_seconds(manager, model, device="cpu")
            await manager.unload()
            return seconds

        async def theirs() -> float:
            await manager.warm()
            evict(files)
            return read_seconds(files)

        await theirs()
        await ours()  # neither counts: the machine below may keep files in its own memory from now on
        return await in_turns_on_loop(pairs, ours, theirs)


def _compare_ahead(name: str, model: Path, pairs: int) -> list[Comparison]:
    """With the files read ahead while the dialog is open, against the same without."""
    files = sorted(model.glob("*.safetensors"))
    try:
        ours, theirs = asyncio.run(_ahead(files, model, pairs))
    except StillCached as error:
        print(f"{name}: undecided, for {error}", flush=True)
        return []
    return [_told(compare(name, ours, theirs, target=AHEAD_TARGET))]


async def _ahead(files: Sequence[Path], model: Path, pairs: int) -> Figures:
    async with our_manager() as manager:

        async def timed(ahead: bool) -> float:
            await manager.warm()
            evict(files)
            prefetch = Prefetch(files if ahead else [], 2**40)
            await asyncio.sleep(DIALOG_SECONDS)
            prefetch.stop()
            seconds = await load_seconds(manager, model, device="cpu")
            await manager.unload()
            return seconds

        await timed(False)
        return await in_turns_on_loop(pairs, lambda: timed(True), lambda: timed(False))


def _compare_gguf(gguf: Path, cache: Path, pairs: int) -> list[Comparison]:
    """The first load writes the copy, the second takes it; each is compared with the plain load of its pair."""
    first: list[float] = []
    second: list[float] = []
    plain: list[float] = []
    for _ in range(pairs):
        shutil.rmtree(cache, ignore_errors=True)
        first.append(asyncio.run(_load_gguf(gguf, cache, writes=True)))
        plain.append(_theirs(gguf))
        second.append(asyncio.run(_load_gguf(gguf, cache, writes=False)))
    return [
        _told(compare("GGUF, first load", first, plain, target=0.5)),
        _told(compare("GGUF, from the prepared copy", second, plain, target=0.1)),
    ]


async def _load_gguf(gguf: Path, cache: Path, *, writes: bool) -> float:
    """Seconds to LOADED; returns when the prepared copy is there, where this load ``writes`` it."""
    async with our_manager(cache) as manager:
        written = asyncio.Event()
        manager.on_change = lambda: written.set() if manager.copies_written else None
        await manager.warm()
        seconds = await load_seconds(manager, gguf, device="cpu", prepared_copy_limit_bytes=LIMIT)
        if writes:
            await asyncio.wait_for(written.wait(), _COPY_SECONDS)
        return seconds


def _told(result: Comparison) -> Comparison:
    with suppress(BrokenPipeError):
        print(result, flush=True)
    return result
