"""What the estimate says against what our engine measures: bytes of the weights, of the cache, and of the peak.

Each model is written, loaded in every way that this CPU can, asked for a reply of 200 tokens, and deleted. The weights
and the cache are counted by the engine from its own tensors; the peak is the engine's ``VmHWM`` over what was resident
before the load, mapped weights included, as the kernel tells it.
"""

from __future__ import annotations

import queue
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from msgspec import Struct

from benchmarks.estimate_models import QUICK, RECIPES, write_checkpoint
from benchmarks.sides import engine, starter
from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.estimate.engine_cost import IMPORTED_BYTES
from modeldeck.backend.estimate.estimating import count_parts, estimate
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.models import GenerationStats, LoadedModel, LoadRequest, ModelInfo, ModelSource, Quantization
from modeldeck.backend.protocol import LoadFailed
from tests.real.engine import PATIENCE, Engine

TOKENS = 200
PROMPT = "The quick brown fox jumps over the lazy dog. " * 2
WAYS = (("float32", "none"), ("bfloat16", "none"), ("auto", "8bit"), ("auto", "4bit"))
LIMITS = {"weights": 0.01, "cache": 0.02, "peak": 0.10}
"""How far the estimate may be from the measurement."""
MB = 1e6


class Figure(Struct, frozen=True):
    """One prediction and its measurement, in bytes."""

    what: str
    predicted: int
    measured: int

    @property
    def ratio(self) -> float:
        """Predicted by measured."""
        return self.predicted / self.measured if self.measured else float(self.predicted == 0)

    @property
    def met(self) -> bool:
        """Whether it is within its limit."""
        return abs(self.ratio - 1) <= LIMITS[self.what]

    def __str__(self) -> str:
        mark = "" if self.met else " **missed**"
        return f"{self.predicted / MB:.1f} / {self.measured / MB:.1f} = {self.ratio:.3f}{mark}"


class Row(Struct, frozen=True):
    """One model in one way."""

    model: str
    way: str
    figures: tuple[Figure, ...] = ()
    refused: str = ""
    """Why the libraries could not load it or reply with it, or empty."""

    def __str__(self) -> str:
        cells = [str(figure) for figure in self.figures] or [self.refused, "", ""]
        return f"| {self.model} | {self.way} | {' | '.join(cells)} |"


def main(pairs: int) -> list[Row]:
    """Print a Markdown table and return its rows; a few of them where ``pairs`` is 1."""
    start = perf_counter()
    rows = []
    print("| model | loaded as | weights, MB predicted / measured | cache | peak |\n| --- | --- | --- | --- | --- |")
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        for row in _rows(Path(temporary), quick=pairs == 1):
            print(row, flush=True)
            rows.append(row)
    figures = [figure for row in rows for figure in row.figures]
    met = sum(figure.met for figure in figures)
    print(f"{met} of {len(figures)} figures within their limits, in {perf_counter() - start:.0f} s")
    return rows


def _rows(root: Path, *, quick: bool) -> Iterator[Row]:
    if (file := starter()) is not None:
        info = read_model(file, ModelSource.STARTER)
        for way in WAYS[:2]:
            yield measure("starter (GGUF)", info, way, root)
    for name in QUICK if quick else RECIPES:
        folder = write_checkpoint(name, root / name.replace(" ", "-"))
        info = read_model(folder, ModelSource.FOLDER)
        for way in WAYS:
            yield measure(f"{name} ({info.dtype}, {info.size_bytes / MB:.0f} MB)", info, way, root)
        shutil.rmtree(folder)


def measure(name: str, info: ModelInfo, way: tuple[str, str], root: Path) -> Row:
    """Load it, have it reply, and compare."""
    dtype, quantization = way
    said = dtype if quantization == "none" else quantization
    request = LoadRequest(
        model_id=info.id, path=info.path, device="cpu", dtype=dtype, quantization=Quantization(quantization)
    )
    with engine(root) as ours:
        before = _resident(ours, "VmRSS")
        options = {"device": "cpu", "dtype": dtype, "quantization": request.quantization}
        finished = ours.load(info.path, **options)
        if isinstance(finished, LoadFailed):
            return Row(name, said, refused=_short(finished.detail or finished.message))
        try:
            reply = ours.reply(PROMPT, max_new_tokens=TOKENS)
        except queue.Empty:
            return Row(name, said, refused=f"no reply within {PATIENCE:.0f} s on this machine")
        if reply.stats is None:
            return Row(name, said, refused=_short(reply.failure))
        peak = _resident(ours, "VmHWM") - before
        return Row(name, said, _figures(info, request, finished.model, reply.stats, peak))


def _figures(
    info: ModelInfo, request: LoadRequest, loaded: LoadedModel, stats: GenerationStats, peak: int
) -> tuple[Figure, ...]:
    prompt, tokens = stats.prompt_tokens, stats.prompt_tokens + stats.new_tokens
    parts = count_parts(info, request, tokens, prompt)
    if parts is None or parts.cache_total is None:
        raise RuntimeError(f"the headers of {info.path} tell too little")
    memory = MemoryMonitor().read()
    expected = estimate(info, request, memory, context_tokens=tokens, prompt_tokens=prompt).peak_bytes
    return (
        Figure("weights", parts.weight_total, loaded.weight_bytes),
        Figure("cache", parts.cache_total, stats.cache_bytes),
        Figure("peak", expected - IMPORTED_BYTES, peak),
    )


def _resident(ours: Engine, field: str) -> int:
    lines = Path(f"/proc/{ours.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _short(text: str) -> str:
    """The last line of an error."""
    return f"refused: {text.strip().splitlines()[-1][:90]}" if text.strip() else "refused"
