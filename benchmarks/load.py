"""Time until a model can reply: from ``PipelineManager.load``, which enter calls, to LOADED, with a warm spare engine.

The peer is ``from_pretrained`` plus one token in a process that has imported everything.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.compare import Comparison, compare, in_turns
from benchmarks.sides import load_seconds, make_llama, peer, starter

LIMIT = 20 * 2**30
"""Bytes that prepared copies may take."""


def main(pairs: int) -> list[Comparison]:
    """Print every comparison as it is known, and return them all."""
    results = []
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary)
        results.append(_compare_load("load, 390 MB llama", make_llama(root / "llama"), root, pairs))
        if (gguf := starter()) is None:
            print("load, GGUF: left out, the starter model is not installed")
            return results
        cache = root / "cache"
        results += _compare_gguf(gguf, cache, pairs)
        copy = next(config.parent for config in cache.glob("gguf/*/config.json"))
        results.append(_compare_load("load, SmolLM2-135M as safetensors", copy, root, pairs))
    return results


def _compare_load(name: str, model: Path, root: Path, pairs: int) -> Comparison:
    ours, theirs = in_turns(pairs, lambda: load_seconds(model, root), lambda: _theirs(model))
    return _told(compare(name, ours, theirs, target=1.15))


def _compare_gguf(gguf: Path, cache: Path, pairs: int) -> list[Comparison]:
    """The first load writes the copy, the second takes it; each is compared with the plain load of its pair."""
    first: list[float] = []
    second: list[float] = []
    plain: list[float] = []
    for _ in range(pairs):
        shutil.rmtree(cache, ignore_errors=True)
        first.append(load_seconds(gguf, cache, LIMIT))
        plain.append(_theirs(gguf))
        second.append(load_seconds(gguf, cache, LIMIT))
    return [
        _told(compare("GGUF, first load", first, plain, target=0.5)),
        _told(compare("GGUF, from the prepared copy", second, plain, target=0.1)),
    ]


def _theirs(model: Path) -> float:
    with peer() as side:
        return side.measure(load=str(model))


def _told(result: Comparison) -> Comparison:
    with suppress(BrokenPipeError):
        print(result, flush=True)
    return result
