"""Lines with bands over places in order; a picture of its own for each series where one could not hold them all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cordon.workbench.drawing import Change, Lines, Mark, Series
from cordon.workbench.plots.intervals import Limits, draw_intervals, ends, extent
from cordon.workbench.plots.lettering import LINE, width, wrap
from cordon.workbench.plots.page import LABEL, SMALL, Key, Painting, dress, named
from cordon.workbench.plots.palette import ABSENT_HATCH, FAINT, INK, PALE, RULE, Look, look_of
from cordon.workbench.plots.words import reading, reasons, tick

READING = (
    ("Bands and lines with caps are 95 % intervals.",),
    "A hollow point is too noisy to read.",
    "A gap has no value, which is not zero.",
)
OWN_SCALES = "Each picture has a scale of its own, which holds 0."
CUT = "not from 0"

MOST_TOGETHER = 4
"""Lines that are still told apart where they cross."""
_MOST_APART = 10.0
"""Times the typical value of the smallest series that the largest may have in one picture."""
ACROSS = 3
_TALL, _SMALL_TALL = 3.9, 1.75


@dataclass(frozen=True, slots=True)
class _Room:
    """Where a picture of lines stands."""

    name: str
    inches: float
    """Width of the axes, about."""
    tall: float


def painting(lines: Lines) -> Painting:
    """Lines as they come onto a page."""
    said = reading((mark for series in lines.series for mark in series.marks), *READING)
    if _fit_together(lines.series):
        keys = [Key(_named(series), _sample(look_of(at))) for at, series in enumerate(lines.series) if series.name]
        gaps = _absent_everywhere(lines.series)
        why = reasons(lines.series[0].marks[at] for at in gaps)
        keys += [Key(why, Patch(facecolor=PALE, edgecolor=RULE, hatch=ABSENT_HATCH, linewidth=0))] if gaps else []
        return Painting(_TALL, said, tuple(keys), lambda figure, spec, name: _paint_one(figure, spec, lines, name))
    rows = -(-len(lines.series) // ACROSS)
    return Painting(
        rows * _SMALL_TALL,
        (*said, OWN_SCALES),
        (),
        lambda figure, spec, name: _paint_many(figure, spec, lines, name),
    )


def _fit_together(series: Sequence[Series]) -> bool:
    typical = [
        float(np.median(values))
        for one in series
        if (values := [abs(m.estimate) for m in one.marks if not m.is_absent])
    ]
    return len(series) <= MOST_TOGETHER and (len(typical) < 2 or max(typical) <= _MOST_APART * min(typical))


def _paint_one(figure: Figure, spec: SubplotSpec, lines: Lines, name: str) -> Axes:
    axes = figure.add_subplot(spec)
    room = _Room(name, 8.4, 3.0)
    marks = [mark for series in lines.series for mark in series.marks]
    limits, cut = _scale(extent(marks, zero=False))
    looks = {series.name: look_of(at) for at, series in enumerate(lines.series)}
    for at, series in enumerate(lines.series):
        _draw(axes, series, looks[series.name], limits, f"{name}-{at}")
    _draw_changes(axes, lines, lines.changes, limits, room, looks if len(looks) > 1 else {})
    _draw_gaps(axes, lines.series, name)
    _finish(axes, lines.series[0], room)
    measure = f"{lines.measure} ({CUT})" if cut else lines.measure
    axes.set_ylabel("\n".join(wrap(measure, 3.0, LABEL)), fontsize=LABEL, color=INK)
    return axes


def _paint_many(figure: Figure, spec: SubplotSpec, lines: Lines, name: str) -> Axes:
    rows = -(-len(lines.series) // ACROSS)
    grid = spec.subgridspec(rows, ACROSS)
    outer = figure.add_subplot(spec)
    outer.set_axis_off()
    for at, series in enumerate(lines.series):
        axes = figure.add_subplot(grid[at // ACROSS, at % ACROSS])
        room = _Room(f"{name}-{at}", 2.4, 0.9)
        limits, _ = _scale(extent(series.marks, zero=True))
        _draw(axes, series, look_of(0), limits, f"{name}-{at}")
        _draw_changes(
            axes, lines, [change for change in lines.changes if change.series == series.name], limits, room, {}
        )
        _draw_gaps(axes, [series], f"{name}-{at}", words=True)
        _finish(axes, series, room)
        title = "\n".join(wrap(series.name, 2.6, LABEL, most=2, bold=True))
        axes.set_title(title, loc="left", fontsize=LABEL, fontweight="bold", color=INK)
        if at % ACROSS == 0:
            axes.set_ylabel("\n".join(wrap(lines.measure, 1.2, SMALL, most=2)), fontsize=SMALL, color=INK)
    return outer


def _scale(found: Limits) -> tuple[Limits, bool]:
    """Limits with some air, from 0 on unless that would press all into a stripe; and whether 0 is left out."""
    low, high = found
    if 0 < low <= high / 2:
        low = 0.0
    air = 0.06 * (high - low)
    return (low if low == 0 else low - air, high + air), low > 0


def _draw(axes: Axes, series: Series, look: Look, limits: Limits, name: str) -> None:
    values = [mark.estimate for mark in series.marks]
    (line,) = axes.plot(range(len(values)), values, color=look.colour, linestyle=look.dash, linewidth=1.6, zorder=5)
    named(line, f"{name}-line")
    for noisy in (False, True):
        at = [place for place, mark in enumerate(series.marks) if mark.noisy is noisy and not mark.is_absent]
        if at:
            (points,) = axes.plot(
                at, [values[place] for place in at], linestyle="none", marker=look.marker, markersize=4.5, zorder=6,
                markerfacecolor="white" if noisy else look.colour, markeredgecolor=look.colour,
            )  # fmt: skip
            named(points, f"{name}-{'noisy' if noisy else 'points'}")
    for run in _runs(series.marks):
        low, high = zip(*(ends(series.marks[at], limits) for at in run), strict=True)
        band = axes.fill_between(run, low, high, color=look.colour, alpha=0.2, linewidth=0, zorder=2)
        named(band, f"{name}-band")
    places = [float(at) for at in range(len(values))]
    draw_intervals(axes, places, series.marks, limits, f"{name}-interval", upright=True, colour=look.colour)
    axes.set_ylim(limits)


def _runs(marks: Sequence[Mark]) -> Iterator[list[int]]:
    """Places in a row that have a value."""
    run: list[int] = []
    for at, mark in enumerate(marks):
        if mark.is_absent:
            if run:
                yield run
            run = []
        else:
            run.append(at)
    if run:
        yield run


def _absent_everywhere(series: Sequence[Series]) -> list[int]:
    return [at for at in range(len(series[0].marks)) if all(one.marks[at].is_absent for one in series)]


def _draw_gaps(axes: Axes, series: Sequence[Series], name: str, *, words: bool = False) -> None:
    """Hatch the places where nobody has a value."""
    gaps = _absent_everywhere(series)
    for at in gaps:
        named(
            axes.axvspan(at - 0.5, at + 0.5, facecolor=PALE, edgecolor=RULE, hatch=ABSENT_HATCH, linewidth=0, zorder=1),
            f"{name}-absent",
        )
    if words and gaps:
        why = "\n".join(wrap(reasons(series[0].marks[at] for at in gaps), 2.2, SMALL))
        alone = len(gaps) == len(series[0].marks)
        text = axes.text(
            0.5, 0.5 if alone else 0.04, why, transform=axes.transAxes, ha="center", va="center" if alone else "bottom",
            fontsize=SMALL, style="italic", color=FAINT, zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
        named(text, f"{name}-absent-words")
        if alone:
            axes.set_yticks([])


def _draw_changes(
    axes: Axes, lines: Lines, changes: Sequence[Change], limits: Limits, room: _Room, looks: dict[str, Look]
) -> None:
    """A line before each place from which on the level is another, and its words above all that is drawn."""
    labels = [mark.label for mark in lines.series[0].marks]
    found = [(labels.index(change.label), change) for change in changes if change.label in labels]
    used = 0.0
    for at, change in found:
        colour = looks[change.series].colour if change.series in looks else INK
        rule = axes.axvline(at - 0.5, color=colour, linestyle=(0, (1, 1)), linewidth=1.3, zorder=3)
        named(rule, f"{room.name}-change")
        words = f"{change.series}: {change.words}" if looks else change.words
        text = wrap(words, room.inches * 0.46, SMALL)
        left = at - 0.5 < len(labels) / 2
        top = 1 - used * SMALL * LINE / 72 / room.tall
        written = axes.annotate(
            "\n".join(text), (at - 0.5, top), xycoords=axes.get_xaxis_transform(), xytext=(4 if left else -4, -2),
            textcoords="offset points", ha="left" if left else "right", va="top", fontsize=SMALL, color=INK, zorder=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
        named(written, f"{room.name}-change-words")
        used += len(text) + 0.4
    if found:
        share = min(0.6, (used * SMALL * LINE / 72 + 0.05) / room.tall)
        axes.set_ylim(limits[0], limits[0] + (limits[1] - limits[0]) / (1 - share))


def _finish(axes: Axes, series: Series, room: _Room) -> None:
    labels = [mark.label for mark in series.marks]
    widest = max(width(wrap(label, 1.5, LABEL, most=1)[0] if label else "", LABEL) for label in labels) + 0.15
    step = _step(math.ceil(len(labels) * widest / room.inches))
    shown = range(0, len(labels), step)
    axes.set_xticks(list(shown), ["".join(wrap(labels[at], 1.5, LABEL, most=1)) for at in shown])
    axes.set_xlim(-0.5, len(labels) - 0.5)
    dress(axes, grid="y")
    axes.tick_params(axis="x", pad=9)
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_color(RULE)
    if axes.get_ylim()[0] <= 0 and axes.get_yticks().size:
        axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    if axes.get_yticks().size:
        axes.yaxis.set_major_locator(MaxNLocator(6 if room.tall > 2 else 3))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))


def _step(least: int) -> int:
    """Every so manieth place has its label: of months, whole quarters or years."""
    return next((step for step in (1, 2, 3, 4, 6, 12, 24, 60) if step >= least), least)


def _named(series: Series) -> str:
    """The name of a series, with why it has no value at all."""
    if all(mark.is_absent for mark in series.marks):
        return f"{series.name}: {reasons(series.marks)}"
    return series.name


def _sample(look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4.5, linewidth=1.6)
