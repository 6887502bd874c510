"""A heat map: rows by columns, with each value written, and its interval where there is room."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, PowerNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cordon.workbench.drawing import HeatMap, Mark
from cordon.workbench.plots.bars import NAMES
from cordon.workbench.plots.lettering import height, shorten, width, wrap
from cordon.workbench.plots.page import LABEL, SMALL, Key, Painting, dress, named
from cordon.workbench.plots.palette import (
    ABSENT_HATCH,
    FAINT,
    INK,
    NOISY_HATCH,
    PALE,
    RULE,
    SCALE,
    luminance,
)
from cordon.workbench.plots.words import digits_of, interval_words, number, reading, value_words

READING = (
    ("Colour stands for the estimate alone.",),
    "A hatched cell with '?' is too noisy to read.",
    "A grey, cross-hatched one has no value, which is not zero.",
)
WRITTEN = "Its 95 % interval is written below it."
LEFT_OUT = "There is no room for the 95 % intervals, of which the widest has {width}: the table has them all."
_INSIDE = 6.3
"""Width of all cells, in inches."""
_TINY = 6.5
"""Letters of intervals, in points."""
_SKEWED = 4.0
"""Times the middle value that the largest has where colours grow with the root."""
_BAR = 0.75
_DARK = 0.213
"""Luminance below which white letters have more contrast than those in ink."""


def painting(heat: HeatMap) -> Painting:
    """A heat map as it comes onto a page."""
    wide = _INSIDE / len(heat.rows[0].marks)
    intervals = all(width(interval_words(mark), _TINY) <= wide - 0.06 for row in heat.rows for mark in row.marks)
    names = [wrap(row.name, NAMES, LABEL) for row in heat.rows]
    row = max(0.36 if intervals else 0.25, *(height(len(lines), LABEL) + 0.06 for lines in names))
    heads, upright = _heads(heat, wide)
    above = (
        max(height(1, SMALL) + width(line, SMALL) for head in heads for line in head.split("\n"))
        if upright
        else max(height(head.count("\n") + 1, SMALL) for head in heads)
    )
    tall = row * len(names) + above + 0.3 + _BAR
    marks = [mark for one in heat.rows for mark in one.marks]
    keys = []
    if any(mark.noisy for mark in marks):
        keys.append(
            Key("too noisy to read", Patch(facecolor="white", edgecolor=RULE, hatch=NOISY_HATCH, linewidth=0.5))
        )
    if any(mark.is_absent for mark in marks):
        keys.append(Key("no value", Patch(facecolor=PALE, edgecolor=RULE, hatch=ABSENT_HATCH, linewidth=0.5)))

    def paint(figure: Figure, spec: SubplotSpec, prefix: str) -> Axes:
        axes = figure.add_subplot(spec)
        _paint(figure, axes, heat, prefix, wide=wide, intervals=intervals)
        axes.set_yticks(range(len(names)), ["\n".join(lines) for lines in names])
        axes.set_xticks(range(len(heads)), heads, rotation=90 if upright else 0)
        dress(axes, grid="")
        axes.tick_params(axis="x", labelsize=SMALL, top=True, labeltop=True, bottom=False, labelbottom=False)
        return axes

    said = reading(marks, (*READING[0], WRITTEN if intervals else _left_out(marks)), *READING[1:])
    return Painting(tall, said, tuple(keys), paint)


def _left_out(marks: Sequence[Mark]) -> str:
    widest = max((mark for mark in marks if not mark.is_absent), key=lambda mark: mark.high - mark.low, default=None)
    if widest is None:
        return ""
    wide = widest.high - widest.low
    return LEFT_OUT.format(width="no end" if math.isinf(wide) else f"a width of {number(wide, digits_of(widest))}")


def _heads(heat: HeatMap, wide: float) -> tuple[list[str], bool]:
    """Names of the columns, and whether they stand upright because they are too wide to lie."""
    labels = [mark.label for mark in heat.rows[0].marks]
    longest = max(width(word, SMALL) for label in labels for word in ["", *shorten(label, 9.0, SMALL).split()])
    if longest <= wide - 0.08:
        lying = [wrap(label, wide - 0.08, SMALL, most=5) for label in labels]
        return ["\n".join(lines) for lines in lying], False
    most = max(1, min(3, int((wide - 0.04) / height(1, SMALL))))
    return ["\n".join(wrap(label, 1.7, SMALL, most=most)) for label in labels], True


def _paint(figure: Figure, axes: Axes, heat: HeatMap, name: str, *, wide: float, intervals: bool) -> None:
    colours = mpl.colormaps[SCALE]
    norm = _norm([mark for row in heat.rows for mark in row.marks])
    for at, row in enumerate(heat.rows):
        silent = {mark.note for mark in row.marks} if all(mark.is_absent for mark in row.marks) else set()
        for across, mark in enumerate(row.marks):
            _draw_cell(axes, across, at, mark, norm, colours, name)
            if not silent:
                _write(axes, across, at, mark, norm, colours, name, wide=wide, intervals=intervals)
        if silent:
            _say(axes, (len(row.marks) - 1) / 2, at, value_words(row.marks[0]), _INSIDE - 0.5, f"{name}-absent-words")
    axes.set_xlim(-0.5, len(heat.rows[0].marks) - 0.5)
    axes.set_ylim(len(heat.rows) - 0.5, -0.5)
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=axes, orientation="horizontal", fraction=0.04, pad=0.02, aspect=60, shrink=0.7
    )
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    dress(bar.ax, grid="")
    root = " (colour grows with the square root)" if isinstance(norm, PowerNorm) else ""
    bar.set_label("\n".join(wrap(heat.measure + root, _INSIDE, LABEL, most=2)), fontsize=LABEL, color=INK)
    bar.ax.set_gid(f"{name}-scale")


def _norm(marks: Sequence[Mark]) -> Normalize:
    """From what can be read: nothing else has a colour."""
    values = sorted(mark.estimate for mark in marks if not mark.is_absent and not mark.noisy)
    if not values:
        return Normalize(0, 1)
    low, high = min(0.0, values[0]), max(values[-1], 0.0)
    if low == high:
        high = low + 1
    middle = values[len(values) // 2]
    return PowerNorm(0.5, low, high) if low == 0 and high > _SKEWED * middle > 0 else Normalize(low, high)


def _draw_cell(axes: Axes, across: int, down: int, mark: Mark, norm: Normalize, colours: Colormap, name: str) -> None:
    face, edge, hatch, kind = to_hex(colours(norm(mark.estimate))), "white", "", "cell"
    if mark.is_absent:
        face, edge, hatch, kind = PALE, RULE, ABSENT_HATCH, "absent"
    elif mark.noisy:
        face, edge, hatch, kind = "white", RULE, NOISY_HATCH, "noisy"
    cell = Rectangle((across - 0.5, down - 0.5), 1, 1, facecolor=face, edgecolor=edge, hatch=hatch, linewidth=0.6)
    named(cell, f"{name}-{kind}-{down}-{across}")
    axes.add_artist(cell)


def _write(
    axes: Axes,
    across: int,
    down: int,
    mark: Mark,
    norm: Normalize,
    colours: Colormap,
    name: str,
    *,
    wide: float,
    intervals: bool,
) -> None:
    words = value_words(mark)
    if mark.is_absent:
        return _say(axes, across, down, words, wide - 0.06, f"{name}-absent-words")
    dark = not mark.noisy and luminance(to_hex(colours(norm(mark.estimate)))) < _DARK
    colour = "white" if dark else INK
    size = SMALL if width(words, SMALL) <= wide - 0.04 else _TINY - 1
    if width(words, size) > wide:
        return None
    backed = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if mark.noisy else None
    text = axes.text(
        across, down - (0.2 if intervals else 0), words, ha="center", va="center", fontsize=size, color=colour,
        bbox=backed, zorder=5,
    )  # fmt: skip
    named(text, f"{name}-value")
    if intervals:
        below = axes.text(
            across, down + 0.22, interval_words(mark), ha="center", va="center", fontsize=_TINY, color=colour,
            bbox=backed, zorder=5,
        )  # fmt: skip
        named(below, f"{name}-interval")
    return None


def _say(axes: Axes, across: float, down: float, words: str, wide: float, name: str) -> None:
    text = axes.text(
        across, down, shorten(words, wide, _TINY), ha="center", va="center", fontsize=_TINY, style="italic",
        color=FAINT, zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip
    named(text, name)
