"""Time until a model can reply: our engine against ``from_pretrained`` plus one token, with all imports done."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.compare import Comparison, compare, in_turns
from benchmarks.sides import LIMIT, engine, load_seconds, make_llama, peer, starter
from modeldeck.backend.protocol import EngineLog


def main(pairs: int) -> list[Comparison]:
    """Print every comparison as it is known, and return them all."""
    results = []
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        root = Path(temporary)
        results.append(_compare_load("load, 390 MB llama", make_llama(root / "llama"), root, pairs))
        if (gguf := starter()) is None:
            print("load, GGUF: left out, the starter model is not installed")
            return results
        copies = root / "copies"
        results += _compare_gguf(gguf, copies, root, pairs)
        copy = next(folder for folder in copies.iterdir() if (folder / "config.json").exists())
        results.append(_compare_load("load, SmolLM2-135M as safetensors", copy, root, pairs))
    return results


def _compare_load(name: str, model: Path, root: Path, pairs: int) -> Comparison:
    ours, theirs = in_turns(pairs, lambda: _ours(model, root), lambda: _theirs(model))
    return _told(compare(name, ours, theirs, target=1.15))


def _compare_gguf(gguf: Path, copies: Path, root: Path, pairs: int) -> list[Comparison]:
    """The first load writes the copy, the second takes it; each is compared with the plain load of its pair."""
    first: list[float] = []
    second: list[float] = []
    plain: list[float] = []
    for _ in range(pairs):
        shutil.rmtree(copies, ignore_errors=True)
        first.append(_ours(gguf, root, copies, wait_for_copy=True))
        plain.append(_theirs(gguf))
        second.append(_ours(gguf, root, copies))
    return [
        _told(compare("GGUF, first load", first, plain, target=0.5)),
        _told(compare("GGUF, from the prepared copy", second, plain, target=0.1)),
    ]


def _ours(model: Path, root: Path, copies: Path | None = None, *, wait_for_copy: bool = False) -> float:
    with engine(root, copies) as side:
        seconds = load_seconds(side, model, LIMIT if copies else 0)
        while wait_for_copy and not any("prepared copy" in line for line in side.logs):
            side.until(EngineLog)
    return seconds


def _theirs(model: Path) -> float:
    with peer() as side:
        return side.measure(load=str(model))


def _told(result: Comparison) -> Comparison:
    with suppress(BrokenPipeError):
        print(result, flush=True)
    return result
