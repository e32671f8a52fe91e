"""Where the figures of a run go: to the screen as they are known, and into ``results.json`` when all are there."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from msgspec import Struct, field, json

from benchmarks.charts import Chart
from benchmarks.figures import Figure
from modeldeck.backend.memory import MemoryMonitor, usable_cores

RESULTS = Path(__file__).parent / "results.json"
_PACKAGES = ("textual", "torch", "transformers", "accelerate", "bitsandbytes", "huggingface-hub", "llama-cpp-python")


class Skipped(Struct, frozen=True):
    """A figure that this machine could not give."""

    what: str
    why: str


class Machine(Struct, frozen=True):
    """Where it was measured."""

    processor: str
    cores: int
    memory_gb: float
    gpus: tuple[str, ...]
    system: str
    python: str
    packages: dict[str, str]
    load: float
    """How busy the machine was when the benchmark began: processes that wanted a core, over the last minute."""


class Benchmark(Struct, frozen=True):
    """One file of this folder, run once."""

    name: str
    date: str
    seconds: float
    machine: Machine
    figures: tuple[Figure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    charts: tuple[Chart, ...] = ()


class Report:
    """Takes what one benchmark finds, and tells it at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = datetime.now(UTC)
        self._machine = this_machine()
        self._figures: list[Figure] = []
        self._skipped: list[Skipped] = []
        self._charts: list[Chart] = []

    def add(self, *figures: Figure) -> None:
        """What was found."""
        for figure in figures:
            self._figures.append(figure)
            print(figure, flush=True)
            if figure.detail:
                print(f"    {figure.detail}", flush=True)

    def skip(self, what: str, why: str) -> None:
        """What could not be measured here."""
        self._skipped.append(Skipped(what, why))
        print(f"skipped: {what}, for {why}", flush=True)

    def chart(self, chart: Chart) -> None:
        """A picture of what was found; it is drawn when the run is kept."""
        self._charts.append(chart)

    def whole(self) -> Benchmark:
        """Everything, when the benchmark is done."""
        seconds = (datetime.now(UTC) - self._started).total_seconds()
        date = self._started.strftime("%Y-%m-%d")
        found = tuple(self._figures), tuple(self._skipped), tuple(self._charts)
        return Benchmark(self._name, date, seconds, self._machine, *found)


class Results(Struct, frozen=True):
    """The newest run of every benchmark, by name."""

    benchmarks: dict[str, Benchmark] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path = RESULTS) -> Results:
        """What was kept; nothing where no run ever was."""
        return json.decode(file.read_bytes(), type=cls) if file.exists() else cls()

    def with_run(self, run: Benchmark) -> Results:
        """This run in the place of the one before."""
        return Results(dict(sorted({**self.benchmarks, run.name: run}.items())))

    def write(self, file: Path = RESULTS) -> None:
        """For ``read``, and for whoever wants the raw figures."""
        file.write_bytes(json.format(json.encode(self), indent=1) + b"\n")


def this_machine() -> Machine:
    """What a reader needs to compare the figures with those of another; no name of it, nor of its owner."""
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        gpus=tuple(device.label for device in MemoryMonitor().read().devices),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        packages=_versions(),
        load=round(os.getloadavg()[0], 2),
    )


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
