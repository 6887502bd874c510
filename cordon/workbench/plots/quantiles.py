"""Where the values of a number lie: its quantiles as steps that rise, for each group."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cordon.workbench.drawing import Mark, Quantiles, Series
from cordon.workbench.plots.bars import NAMES
from cordon.workbench.plots.intervals import Limits, draw_intervals, extent
from cordon.workbench.plots.lettering import height, shorten, width, wrap
from cordon.workbench.plots.page import LABEL, SMALL, Key, Painting, dress, named
from cordon.workbench.plots.palette import ABSENT_HATCH, FAINT, GROUND, INK, PALE, RULE, look_of
from cordon.workbench.plots.words import CAPS, reading, reasons, tick, value_words

READING = (
    ("The share named by a marker has this value or less.", CAPS),
    "A hollow marker with '?' is too noisy to read.",
    "A hatched row has no value, which is not zero.",
)
_STEP = 0.17
"""Height of one quantile, in inches."""
_SCALE = 0.62


def painting(drawing: Quantiles) -> Painting:
    """A quantile plot as it comes onto a page."""
    points = [mark.label for mark in drawing.series[0].marks]
    names = [wrap(series.name, NAMES, LABEL) for series in drawing.series]
    row = max(_STEP * len(points) + 0.14, *(height(len(lines), LABEL) + 0.06 for lines in names))
    keys = tuple(Key(point, _sample(at)) for at, point in enumerate(points))

    def paint(figure: Figure, spec: SubplotSpec, prefix: str) -> Axes:
        axes = figure.add_subplot(spec)
        marks = [mark for series in drawing.series for mark in series.marks]
        low, high = extent(marks, zero=False)
        air = 0.04 * (high - low)
        limits = (low - air, high + air)
        words = max((width(value_words(mark), SMALL) for mark in marks), default=0.0)
        axes.set_xlim(limits[0], limits[0] + (limits[1] - limits[0]) / (1 - min(0.4, (words + 0.15) / 6.5)))
        for at, series in enumerate(drawing.series):
            _draw(axes, series, at, _STEP / row, limits, f"{prefix}-{at}")
        axes.set_yticks(range(len(names)), ["\n".join(lines) for lines in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        dress(axes, grid="x")
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.set_xlabel("\n".join(wrap(drawing.measure, 6.0, LABEL, most=2)), fontsize=LABEL, color=INK)
        return axes

    said = reading((mark for series in drawing.series for mark in series.marks), *READING)
    return Painting(row * len(names) + _SCALE, said, keys, paint)


def _draw(axes: Axes, series: Series, at: int, step: float, limits: Limits, name: str) -> None:
    count = len(series.marks)
    # The least quantile lowest, so that the steps rise as a cumulative curve does.
    places = [at + step * ((count - 1) / 2 - place) for place in range(count)]
    known = [(place, mark) for place, mark in zip(places, series.marks, strict=True) if not mark.is_absent]
    if not known:
        _say(axes, series, at, name)
        return
    if len(known) > 1:
        steps, values = [place for place, _ in known], [mark.estimate for _, mark in known]
        (line,) = axes.plot(values, steps, color=RULE, linewidth=3.0, zorder=2, solid_joinstyle="round")
        named(line, f"{name}-steps")
    draw_intervals(axes, places, series.marks, limits, f"{name}-interval")
    for number, (place, mark) in enumerate(zip(places, series.marks, strict=True)):
        if not mark.is_absent:
            _draw_point(axes, place, mark, number, limits, name)


def _draw_point(axes: Axes, place: float, mark: Mark, number: int, limits: Limits, name: str) -> None:
    look = look_of(number)
    (point,) = axes.plot(
        [mark.estimate], [place], linestyle="none", marker=look.marker, markersize=5.5, zorder=6,
        markerfacecolor="white" if mark.noisy else look.colour, markeredgecolor=INK, markeredgewidth=0.7,
    )  # fmt: skip
    named(point, f"{name}-point")
    end = min(max(mark.high, mark.estimate), limits[1])
    text = axes.annotate(
        value_words(mark), (end, place), xytext=(6, 0), textcoords="offset points", va="center", ha="left",
        fontsize=SMALL, color=INK, zorder=6,
    )  # fmt: skip
    named(text, f"{name}-value")


def _say(axes: Axes, series: Series, at: int, name: str) -> None:
    span = axes.axhspan(at - 0.42, at + 0.42, facecolor=PALE, edgecolor=RULE, hatch=ABSENT_HATCH, linewidth=0)
    named(span, f"{name}-absent")
    text = axes.text(
        0.5, at, shorten(reasons(series.marks), 5.0, SMALL), transform=axes.get_yaxis_transform(),
        ha="center", va="center", fontsize=SMALL, style="italic", color=FAINT,
        bbox={"facecolor": "white", "edgecolor": GROUND, "pad": 1.0},
    )  # fmt: skip
    named(text, f"{name}-absent-words")


def _sample(at: int) -> Line2D:
    look = look_of(at)
    return Line2D(
        [], [], linestyle="none", marker=look.marker, markersize=5.5, markerfacecolor=look.colour, markeredgecolor=INK
    )
