"""Bars beside the names of their places, so that long names and many forces fit."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cordon.workbench.drawing import Bars, Mark, Series
from cordon.workbench.plots.intervals import Limits, draw_intervals, extent
from cordon.workbench.plots.lettering import height, shorten, width, wrap
from cordon.workbench.plots.page import LABEL, SMALL, Key, Painting, dress, named
from cordon.workbench.plots.palette import ABSENT_HATCH, FAINT, INK, PALE, RULE, look_of
from cordon.workbench.plots.words import CAPS, full_words, reading, tick, value_words

READING = (
    (CAPS,),
    "A white bar with a broken edge and '?' is too noisy to read.",
    "A hatched row has no value, which is not zero.",
)

NAMES = 2.4
"""Widest names of places, in inches."""
_ROW = 0.27
_SLIM = 0.19
"""Of one bar among several of a place."""
_SCALE = 0.62
_SPELT = 15
"""Bars beside which intervals are written too."""
_NEAR = 2.0
"""Times the longest bar: a total that is longer is written and not drawn, because nothing else could be read."""


def painting(bars: Bars) -> Painting:
    """Bars as they come onto a page."""
    names = [wrap(mark.label, NAMES, LABEL) for mark in bars.series[0].marks]
    row = max([_ROW, _SLIM * len(bars.series) + 0.1, *(height(len(lines), LABEL) + 0.06 for lines in names)])
    totals = bars.totals.marks if bars.totals is not None else ()
    tall = row * (len(names) + (len(totals) + 0.5 if totals else 0)) + _SCALE

    def paint(figure: Figure, spec: SubplotSpec, prefix: str) -> Axes:
        return _paint(figure.add_subplot(spec), bars, ["\n".join(lines) for lines in names], prefix)

    several = len(bars.series) > 1
    keys = tuple(Key(series.name, _swatch(at)) for at, series in enumerate(bars.series)) if several else ()
    said = reading([*(mark for series in bars.series for mark in series.marks), *totals], *READING)
    return Painting(tall, said, keys, paint)


def _paint(axes: Axes, bars: Bars, names: list[str], prefix: str) -> Axes:
    drawn = [mark for series in bars.series for mark in series.marks]
    totals = bars.totals.marks if bars.totals is not None else ()
    near = _is_near(drawn, totals)
    limits = extent([*drawn, *totals] if near else drawn, zero=True)
    spelt = len(drawn) <= _SPELT
    written = [full_words(mark) if spelt else value_words(mark) for mark in drawn]
    limits, right = _with_room(limits, max((width(text, SMALL) for text in written), default=0.0))
    axes.set_xlim(limits[0], right)
    slot = 0.8 / len(bars.series)
    for at, series in enumerate(bars.series):
        places = [place - 0.4 + slot * (at + 0.5) for place in range(len(series.marks))]
        _draw(axes, series, places, slot, at, limits, f"{prefix}-{at}", spelt=spelt)
    below = [len(names) + 0.5 + at for at in range(len(totals))]
    if bars.totals is not None:
        axes.axhline(len(names) - 0.25, color=INK, linewidth=0.8)
        _draw_totals(axes, bars.totals, below, limits, f"{prefix}-total", near=near)
    axes.set_yticks([*range(len(names)), *below], [*names, *(wrap(mark.label, NAMES, LABEL)[0] for mark in totals)])
    axes.set_ylim(len(names) - 0.5 + (len(totals) + 0.5 if totals else 0), -0.5)
    dress(axes, grid="x")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.set_xlabel("\n".join(wrap(bars.measure, 6.0, LABEL, most=2)), fontsize=LABEL, color=INK)
    return axes


def _is_near(drawn: Sequence[Mark], totals: Sequence[Mark]) -> bool:
    longest = max((abs(mark.estimate) for mark in drawn if not mark.is_absent), default=0.0)
    return all(mark.is_absent or abs(mark.estimate) <= _NEAR * longest for mark in totals)


def _with_room(limits: Limits, words: float) -> tuple[Limits, float]:
    """Limits with some air, and the right end of the axis, where the widest words still fit."""
    low, high = limits
    air = 0.03 * (high - low)
    low, high = (low - air if low < 0 else 0.0), high + air
    share = min(0.5, (words + 0.15) / 6.2)
    return (low, high), low + (high - low) / (1 - share)


def _draw(
    axes: Axes, series: Series, places: list[float], slot: float, at: int, limits: Limits, name: str, *, spelt: bool
) -> None:
    look = look_of(at)
    for place, mark in zip(places, series.marks, strict=True):
        if mark.is_absent:
            _draw_absent(axes, place, slot, mark, f"{name}-absent")
            continue
        (bar,) = axes.barh(
            place,
            mark.estimate,
            slot * 0.86,
            facecolor="white" if mark.noisy else look.colour,
            edgecolor=INK if mark.noisy or look.hatch else look.colour,
            hatch="" if mark.noisy else look.hatch,
            linestyle=":" if mark.noisy else "-",
            linewidth=0.9,
            zorder=3,
        )
        named(bar, f"{name}-bar")
        _write(axes, place, mark, limits, full_words(mark) if spelt else value_words(mark), f"{name}-value")
    draw_intervals(axes, places, series.marks, limits, f"{name}-interval")


def _draw_absent(axes: Axes, place: float, slot: float, mark: Mark, name: str) -> None:
    span = axes.axhspan(
        place - slot * 0.43, place + slot * 0.43, facecolor=PALE, edgecolor=RULE, hatch=ABSENT_HATCH, linewidth=0
    )
    named(span, name)
    text = axes.text(
        0.5, place, shorten(value_words(mark), 5.0, SMALL), va="center", ha="center",
        transform=axes.get_yaxis_transform(), fontsize=SMALL, style="italic", color=FAINT, zorder=6,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
    named(text, f"{name}-words")


def _write(axes: Axes, place: float, mark: Mark, limits: Limits, words: str, name: str) -> None:
    end = min(max(mark.high, mark.estimate, 0.0), limits[1])
    text = axes.annotate(
        words, (end, place), xytext=(5, 0), textcoords="offset points", va="center", ha="left", fontsize=SMALL,
        color=INK, zorder=6,
    )  # fmt: skip
    named(text, name)


def _draw_totals(axes: Axes, totals: Series, places: list[float], limits: Limits, name: str, *, near: bool) -> None:
    for place, mark in zip(places, totals.marks, strict=True):
        if mark.is_absent:
            _draw_absent(axes, place, 0.8, mark, f"{name}-absent")
        elif near:
            (bar,) = axes.barh(place, mark.estimate, 0.6, facecolor="#888888", edgecolor=INK, linewidth=0.9, zorder=3)
            named(bar, f"{name}-bar")
            _write(axes, place, mark, limits, full_words(mark), f"{name}-value")
        else:
            _write(
                axes, place, Mark(mark.label, 0.0, 0.0, 0.0), limits, f"{full_words(mark)}, not drawn to scale", name
            )
    if near:
        draw_intervals(axes, places, totals.marks, limits, f"{name}-interval")


def _swatch(at: int) -> Patch:
    look = look_of(at)
    return Patch(facecolor=look.colour, edgecolor=INK, hatch=look.hatch, linewidth=0.6)
