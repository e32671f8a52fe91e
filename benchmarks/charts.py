"""Pictures of what a benchmark found: kept as their data beside the figures, and drawn as SVG into ``docs/plots``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOTS = Path(__file__).resolve().parent.parent / "docs" / "plots"
_SIZE = (7.2, 3.6)
_BINS = 60
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.hashsalt": "modeldeck",  # the same data make the same file
    "svg.fonttype": "none",
}


class Series(Struct, frozen=True):
    """One line, or one row of bars: points for ``lines``, starts and ends for ``spans``, values for ``histogram``."""

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...] = ()


class Chart(Struct, frozen=True, omit_defaults=True):
    """What is drawn."""

    name: str
    """Of the file, without its suffix."""
    title: str
    kind: Literal["lines", "spans", "histogram"]
    x: str
    y: str
    """What the axes show, with units."""
    series: tuple[Series, ...]
    logarithmic: bool = False
    """Both axes of ``lines``, and the counts of a ``histogram``."""

    @property
    def file(self) -> Path:
        """Where it is drawn to."""
        return PLOTS / f"{self.name}.svg"


def draw(chart: Chart, file: Path | None = None) -> Path:
    """Write the picture and return where it is. Raises ModuleNotFoundError without matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    target = file or chart.file
    target.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=_SIZE, layout="constrained")
        axes = canvas.subplots()
        _DRAW[chart.kind](axes, chart)
        canvas.suptitle(chart.title)  # over the whole width: names of spans leave the axes little of it
        axes.set(xlabel=chart.x, ylabel=chart.y)
        canvas.savefig(target, format="svg", metadata={"Date": None})
    return target


def _lines(axes: Axes, chart: Chart) -> None:
    for series in chart.series:
        axes.plot(series.xs, series.ys, marker="o", markersize=3, label=series.name)
    if chart.logarithmic:
        axes.set(xscale="log", yscale="log")
    else:
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _spans(axes: Axes, chart: Chart) -> None:
    for row, series in enumerate(chart.series):
        widths = [end - start for start, end in zip(series.xs, series.ys, strict=True)]
        axes.barh([row] * len(widths), widths, left=list(series.xs), height=0.6)
    axes.set_yticks(range(len(chart.series)), [series.name for series in chart.series])
    axes.invert_yaxis()


def _histogram(axes: Axes, chart: Chart) -> None:
    highest = max(max(series.xs) for series in chart.series)
    edges = [highest * number / _BINS for number in range(_BINS + 1)]
    for series in chart.series:
        axes.hist(series.xs, bins=edges, histtype="step", linewidth=1.5, label=series.name, log=chart.logarithmic)
    axes.legend(frameon=False)


_DRAW = {"lines": _lines, "spans": _spans, "histogram": _histogram}
