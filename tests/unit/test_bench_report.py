"""The figures of a run are kept, and every page that shows them says what was kept."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from benchmarks import __main__ as command
from benchmarks import gpu_load, results_page, startup, stop
from benchmarks.charts import PLOTS, Chart, Series, draw
from benchmarks.figures import Figure, each, ratio
from benchmarks.report import Report, Results

MET = ratio("start", "a bare app", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], target=1.3)
FREE = ratio("free text", "without | lookup", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], target=None)
LINES = Chart("turns", "Turns", "lines", "turn", "s", (Series("kept", (1, 2), (0.1, 0.2)),))
SPANS = Chart("load", "A load", "spans", "s", "", (Series("read", (0.0, 2.0), (1.0, 2.5)), Series("move", (1,), (2,))))
LATE = Chart("late", "Late", "histogram", "ms", "ticks", (Series("idle", (0.1, 0.2, 9.0)),), logarithmic=True)


def kept(*figures: Figure, skipped: str = "") -> Results:
    report = Report("start")
    report.add(*figures)
    if skipped:
        report.skip(skipped, "it is not installed")
    report.chart(LINES)
    return Results().with_run(report.whole())


def test_a_run_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    assert Results.read(file) == Results()
    results = kept(MET, FREE, skipped="llama.cpp")
    results.write(file)
    assert Results.read(file) == results
    assert Results.read(file).benchmarks["start"].figures == (MET, FREE)


def test_a_run_of_one_benchmark_replaces_its_own_figures_alone() -> None:
    other = Report("load")
    results = kept(MET).with_run(other.whole()).with_run(kept(FREE).benchmarks["start"])
    assert list(results.benchmarks) == ["load", "start"]
    assert results.benchmarks["start"].figures == (FREE,)


def test_what_is_found_and_what_is_skipped_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    kept(MET, each("cancel", [1.0, 2.0], target=3, unit="ms"), skipped="llama.cpp")
    assert capsys.readouterr().out.splitlines() == [
        "start against a bare app: 1.00x (1.00 to 1.00), 3 rounds, at most 1.3x: met   (ours 1.00 s, theirs 1.00 s)",
        "cancel: 1.50 ms (1.00 to 2.00), 2 rounds, each at most 3 ms: undecided",
        "    2 of 2 within",
        "skipped: llama.cpp, for it is not installed",
    ]


def test_the_page_has_every_figure_and_the_readme_those_with_a_target() -> None:
    results = kept(MET, FREE, skipped="llama.cpp")
    row = "| start | a bare app | 1.00x (1.00 to 1.00) | 3 | at most 1.3x | met |\n"
    free = "| free text | without \\| lookup | 1.00x (1.00 to 1.00) | 3 |  |  |\n"
    whole = results_page.page(results)
    assert row in whole
    assert free in whole
    assert "- Skipped: llama.cpp, for it is not installed" in whole
    assert "![Turns](../docs/plots/turns.svg)" in whole
    readme = results_page.in_readme(f"before\n{results_page.START}old\n{results_page.END}after\n", results)
    assert row in readme
    assert free not in readme
    assert readme.startswith("before\n")
    assert readme.endswith("after\n")
    assert "old" not in readme


def test_figures_of_a_gpu_stand_apart_with_their_machine() -> None:
    here, there = (replace(kept(MET).benchmarks["start"].machine, gpus=gpus) for gpus in ((), ("H200 140 GB",)))
    runs = (replace(kept(MET).benchmarks["start"], name=name, machine=one) for name, one in (("a", there), ("b", here)))
    results = Results()
    for run in runs:
        results = results.with_run(run)
    without, _, with_gpu = results_page.table(results).partition("On another machine, ")
    assert without.count("| start | a bare app |") == with_gpu.count("| start | a bare app |") == 1
    assert "H200 140 GB" in with_gpu


def test_runs_on_the_same_gpu_stand_in_one_table() -> None:
    on_gpu = replace(kept(MET).benchmarks["start"].machine, gpus=("H200 140 GB",))
    results = Results()
    for name, machine in (("a", on_gpu), ("b", replace(on_gpu, load=3.0)), ("c", replace(on_gpu, cores=99))):
        results = results.with_run(replace(kept(MET).benchmarks["start"], name=name, machine=machine))
    tables = results_page.table(results).split("On another machine, ")[1:]
    assert [table.count("| start | a bare app |") for table in tables] == [2, 1]


def test_a_benchmark_that_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_pairs: int, report: Report) -> None:
        report.add(MET)
        raise RuntimeError("a reply ended before it was stopped")

    written: list[Results] = []
    monkeypatch.setattr(Results, "write", lambda results: written.append(results))
    monkeypatch.setattr(results_page, "write", lambda _results: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "stop", "startup"])
    monkeypatch.setattr(stop, "main", fails)
    monkeypatch.setattr(startup, "main", lambda _pairs, report: report.add(FREE))
    with pytest.raises(SystemExit, match="failed, and their last figures stand: stop"):
        command.main()
    assert [results.benchmarks["startup"].figures for results in written] == [(FREE,)]
    assert "a reply ended before it was stopped" in capsys.readouterr().err


def test_a_run_that_could_measure_nothing_replaces_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Results] = []
    monkeypatch.setattr(Results, "write", written.append)
    monkeypatch.setattr(results_page, "write", written.append)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu_load"])
    monkeypatch.setattr(gpu_load, "available_devices", lambda: ("cpu",))
    command.main()
    assert written == []


def test_a_readme_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"README\.md has no lines"):
        results_page.in_readme("nothing", Results())


@pytest.mark.parametrize("chart", [LINES, SPANS, LATE], ids=lambda chart: str(chart.kind))
def test_a_chart_is_drawn_the_same_each_time(chart: Chart, tmp_path: Path) -> None:
    first, second = (draw(chart, tmp_path / f"{number}.svg").read_bytes() for number in (1, 2))
    assert first == second
    text = "".join(ElementTree.fromstring(first).itertext())  # written by ourselves, one line above
    assert chart.title in text
    assert all(series.name in text for series in chart.series)


def test_what_is_shown_is_what_was_measured() -> None:
    results = Results.read()
    assert results_page.PAGE.read_text() == results_page.page(results)
    readme = results_page.README.read_text()
    assert readme == results_page.in_readme(readme, results)
    charts = [chart for run in results.benchmarks.values() for chart in run.charts]
    assert sorted(file.name for file in PLOTS.glob("*.svg")) == sorted(chart.file.name for chart in charts)


def test_every_benchmark_is_run_by_some_command() -> None:
    names = command.names()
    assert {"startup", "load", "chat", "unload"} <= set(names)
    assert set(command.chosen([], gpu=False)) < set(names)
    assert command.chosen([], gpu=True) == ["decode", "estimate", "gpu_load"]
    assert command.chosen(["load"], gpu=True) == ["load"]
