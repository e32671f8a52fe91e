"""What the estimate says against what our engine measures: bytes of the weights, of the cache, and of the peak.

Each model is written, loaded in every way that this machine can, asked for a reply of 200 tokens, and deleted. The
weights and the cache are counted by the engine from its own tensors. The peak on a GPU, where there is one, is what the
engine's process held of it at the most: PyTorch's reserved memory, and what the driver counts beside it. On the CPU it
is the engine's ``VmHWM`` over what was resident before the load, mapped weights included.
"""

from __future__ import annotations

import queue
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from benchmarks.estimate_models import GPU_ONLY, QUICK, RECIPES, write_checkpoint
from benchmarks.figures import each
from benchmarks.report import Report
from benchmarks.sides import engine, starter
from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.chat_messages import GenerationStats
from modeldeck.backend.devices import available_devices, usable_cores
from modeldeck.backend.estimate.engine_cost import IMPORTED_BYTES
from modeldeck.backend.estimate.estimating import count_parts, estimate
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.backend.models import LoadedModel, LoadRequest, ModelInfo, ModelSource, Quantization
from modeldeck.backend.protocol import LoadFailed
from tests.real.engine import PATIENCE, Engine

TOKENS = 200
SENTENCE = "The quick brown fox jumps over the lazy dog. "
LIMITS = {"weights": 1.0, "cache": 2.0, "peak": 10.0}
"""How far the estimate may be from the measurement, in percent of that."""
MB = 1e6
_CORES_OF_AN_ENGINE = 3
"""On a GPU, whose memory is counted for each process, engines are measured beside each other."""


class Way(Struct, frozen=True):
    """How a model is loaded, and how long its prompt is."""

    dtype: str
    quantization: str = "none"
    sentences: int = 2
    """Of the prompt; one is 15 tokens of the made-up models, and 10 of the starter."""

    def __str__(self) -> str:
        kind = self.dtype if self.quantization == "none" else self.quantization
        return kind if self.sentences == 2 else f"{kind}, long prompt"


PLAIN = (Way("float32"), Way("bfloat16"))
WAYS = (*PLAIN, Way("auto", "8bit"), Way("auto", "4bit"))
LONG = Way("bfloat16", sentences=500)


class Part(Struct, frozen=True):
    """One prediction and its measurement, in bytes."""

    what: str
    predicted: int
    measured: int

    @property
    def ratio(self) -> float:
        """Predicted by measured."""
        return self.predicted / self.measured if self.measured else float(self.predicted == 0)

    @property
    def off_percent(self) -> float:
        """How far the prediction is from the measurement, above or below."""
        return 100 * abs(self.ratio - 1)

    def __str__(self) -> str:
        mark = "" if self.off_percent <= LIMITS[self.what] else " **missed**"
        return f"{self.predicted / MB:.1f} / {self.measured / MB:.1f} = {self.ratio:.3f}{mark}"


class Row(Struct, frozen=True):
    """One model in one way."""

    model: str
    way: str
    parts: tuple[Part, ...] = ()
    refused: str = ""
    """Why the libraries could not load it or reply with it, or empty."""

    def __str__(self) -> str:
        cells = [str(part) for part in self.parts] or [self.refused, "", ""]
        return f"| {self.model} | {self.way} | {' | '.join(cells)} |"


def main(pairs: int, report: Report) -> None:
    """Every model in every way, told as a Markdown table; a few of them where ``pairs`` is 1."""
    device = "cuda:0" if "cuda:0" in available_devices() else "cpu"
    rows = []
    print(f"On {_label(device)}.\n")
    print("| model | loaded as | weights, MB predicted / measured | cache | peak |\n| --- | --- | --- | --- | --- |")
    with TemporaryDirectory(prefix="modeldeck-bench-") as temporary:
        for row in _rows(Path(temporary), device, quick=pairs == 1):
            print(row, flush=True)
            rows.append(row)
    print()
    for what, limit in LIMITS.items():
        found = [(part, row) for row in rows for part in row.parts if part.what == what]
        if found:
            worst, of = max(found, key=lambda one: one[0].off_percent)
            within = sum(part.off_percent <= limit for part, _ in found)
            told = f"{within} of {len(found)} within; the farthest is {of.model} as {of.way}, {worst.ratio:.3f} times"
            off = [part.off_percent for part, _ in found]
            report.add(each(f"estimate of the {what}, off by", off, target=limit, unit="%", detail=told))
    for row in rows:
        if row.refused:
            report.skip(f"estimate of {row.model} as {row.way}", row.refused.removeprefix("refused: "))


def _label(device: str) -> str:
    if device == "cpu":
        return f"a CPU with {usable_cores()} cores"
    return MemoryMonitor().read().devices[0].label


def _rows(root: Path, device: str, *, quick: bool) -> Iterator[Row]:
    recipes = QUICK if quick else (*(GPU_ONLY if device != "cpu" else ()), *RECIPES)
    workers = 1 if device == "cpu" else max(1, usable_cores() // _CORES_OF_AN_ENGINE)
    if (file := starter()) is not None:
        info = read_model(file, ModelSource.STARTER)
        for way in PLAIN:
            yield measure("starter (GGUF)", info, way, device, root)
    with ThreadPoolExecutor(workers) as pool:
        for measured in as_completed([pool.submit(_measure_recipe, root, device, name) for name in recipes]):
            yield from measured.result()


def _measure_recipe(root: Path, device: str, name: str) -> list[Row]:
    home = root / name.replace(" ", "-")
    home.mkdir()
    folder = write_checkpoint(name, home / "model", device)
    info = read_model(folder, ModelSource.FOLDER)
    said = f"{name} ({info.dtype}, {info.size_bytes / MB:.0f} MB)"
    ways = (*WAYS, LONG) if name in GPU_ONLY else WAYS
    rows = [measure(said, info, way, device, home) for way in ways]
    shutil.rmtree(folder)
    return rows


def measure(name: str, info: ModelInfo, way: Way, device: str, home: Path) -> Row:
    """Load it, have it reply, and compare."""
    quantization = Quantization(way.quantization)
    request = LoadRequest(model_id=info.id, path=info.path, device=device, dtype=way.dtype, quantization=quantization)
    with engine(home) as ours:
        before = _resident(ours, "VmRSS")
        finished = ours.load(info.path, device=device, dtype=way.dtype, quantization=quantization)
        if isinstance(finished, LoadFailed):
            return Row(name, str(way), refused=_short(finished.detail or finished.message))
        try:
            reply = ours.reply(SENTENCE * way.sentences, max_new_tokens=TOKENS)
        except queue.Empty:
            return Row(name, str(way), refused=f"no reply within {PATIENCE:.0f} s on this machine")
        if reply.stats is None:
            return Row(name, str(way), refused=_short(reply.failure))
        peak = _resident(ours, "VmHWM") - before if device == "cpu" else reply.stats.peaks[device]
        return Row(name, str(way), _parts(info, request, finished.model, reply.stats, peak))


def _parts(
    info: ModelInfo, request: LoadRequest, loaded: LoadedModel, stats: GenerationStats, peak: int
) -> tuple[Part, ...]:
    prompt, tokens = stats.prompt_tokens, stats.prompt_tokens + stats.new_tokens
    on_cpu = request.device == "cpu"
    counted = count_parts(info, request, tokens, prompt, on_cpu=on_cpu)
    if counted is None or counted.cache_total is None:
        raise RuntimeError(f"the headers of {info.path} tell too little")
    found = estimate(info, request, MemoryMonitor().read(), context_tokens=tokens, prompt_tokens=prompt)
    expected = next(need.peak_bytes for need in found.devices if need.device == ("ram" if on_cpu else request.device))
    return (
        Part("weights", counted.weight_total, loaded.weight_bytes),
        Part("cache", counted.cache_total, stats.cache_bytes),
        Part("peak", expected - (IMPORTED_BYTES if on_cpu else 0), peak),
    )


def _resident(ours: Engine, field: str) -> int:
    lines = Path(f"/proc/{ours.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _short(text: str) -> str:
    """The last line of an error."""
    return f"refused: {text.strip().splitlines()[-1][:90]}" if text.strip() else "refused"
