"""``results.json`` as people read it: ``RESULTS.md``, and the table of the README."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.report import Benchmark, Machine, Results

PAGE = Path(__file__).parent / "RESULTS.md"
README = Path(__file__).resolve().parent.parent / "README.md"
START, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"
_HEAD = """# Results

Written by `make bench`, which measures every figure again; `make bench BENCH=load` measures one part, and changes its
rows alone. The raw data are in `results.json`. Each figure is the median of its rounds; a ratio or a difference is that
of pairs taken side by side in one run, with its 95% bootstrap interval in brackets. A target is *met* or *missed* only
where the whole interval says so, else *undecided*; where each round shall meet it, the brackets hold all rounds.
"""
_TABLE = "| What | Against | Measured | Rounds | Target | |\n|---|---|---|---|---|---|\n"


def page(results: Results) -> str:
    """The whole of ``RESULTS.md``."""
    return "\n".join([_HEAD, *(_section(run) for run in results.benchmarks.values())])


def table(results: Results) -> str:
    """Every figure that has a target, for the README; those of a GPU apart, with their machine."""
    runs = results.benchmarks.values()
    found = _TABLE + _aimed(run for run in runs if not run.machine.gpus)
    elsewhere: dict[str, list[Benchmark]] = {}
    for run in runs:
        if run.machine.gpus:
            elsewhere.setdefault(f"{run.date}. {_machine(run.machine)}", []).append(run)
    for where, together in elsewhere.items():
        found += f"\nOn another machine, {where}.\n\n{_TABLE}{_aimed(together)}"
    return found


def _aimed(runs: Iterable[Benchmark]) -> str:
    return "".join(_row(figure) for run in runs for figure in run.figures if figure.target is not None)


def in_readme(text: str, results: Results) -> str:
    """The README with the table of these results. Raises ValueError where it has no place for one."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"README.md has no lines {START.strip()} and {END.strip()}")
    return f"{before}{start}\n{table(results)}\n{end}{after}"


def write(results: Results) -> None:
    """Both files."""
    PAGE.write_text(page(results))
    README.write_text(in_readme(README.read_text(), results))


def _section(run: Benchmark) -> str:
    busy = f"load {run.machine.load:g} before it began"
    where = f"{run.date}, {run.seconds / 60:.1f} minutes. {_machine(run.machine)}; {busy}."
    return "\n".join([f"## {run.name}\n", where, "", *_body(run)])


def _body(run: Benchmark) -> Iterator[str]:
    if run.figures:
        yield _TABLE + "".join(_row(figure) for figure in run.figures)
    told = [f"- {figure.what}: {figure.detail}" for figure in run.figures if figure.detail]
    told += [f"- Skipped: {one.what}, for {one.why}" for one in run.skipped]
    if told:
        yield "\n".join(told) + "\n"
    for chart in run.charts:
        yield f"![{chart.title}](../docs/plots/{chart.name}.svg)\n"


def _machine(machine: Machine) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    gpus = f", {', '.join(machine.gpus)}" if machine.gpus else ", no GPU"
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:g} GB{gpus}; {machine.system}, "
        f"Python {machine.python}, {packages}"
    )


def _row(figure: Figure) -> str:
    aim = "" if figure.target is None else figure.aim
    verdict = "" if figure.target is None else figure.verdict
    cells = (figure.what, figure.against, figure.spread, str(figure.rounds), aim, verdict)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
