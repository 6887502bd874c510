"""A forest plot: effects below one another, beside the line that stands for none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from cordon.workbench.drawing import Effect, Forest, Mark
from cordon.workbench.plots.bars import NAMES
from cordon.workbench.plots.intervals import Limits, draw_intervals, has_interval
from cordon.workbench.plots.lettering import height, shorten, width, wrap
from cordon.workbench.plots.page import LABEL, SMALL, Key, Painting, dress, named
from cordon.workbench.plots.palette import ABSENT_HATCH, FAINT, GROUND, INK, LOOKS, PALE, RULE
from cordon.workbench.plots.words import CAPS, MOST_DIGITS, full_words, tick, value_words

ALONE = 40
"""Effects below one another; more stand side by side, where their headings have the same lines."""
MOST_ACROSS = 6
_ROW = 0.25
_SCALE = 0.75
_REACH = 8.0
"""How many times beyond the outermost estimate a ratio's interval is still drawn; the rest is an arrow."""
_STRETCH = 3.0
"""The same for differences, in spans of all estimates."""
_COLOUR = LOOKS[0].colour


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a column: a heading where there is no effect."""

    words: str
    effect: Effect | None


def painting(forest: Forest) -> Painting:
    """A forest plot as it comes onto a page."""
    columns = _columns(forest)
    names = [line.words for line in columns[0][1]]
    wrapped = [
        wrap(name, NAMES, LABEL, bold=line.effect is None) for name, line in zip(names, columns[0][1], strict=True)
    ]
    row = max(_ROW, *(height(len(lines), LABEL) + 0.05 for lines in wrapped))
    none = f"{forest.none:g}"
    absent = any(
        effect.mark.is_absent and not has_interval(effect.mark) for _, effects in forest.groups for effect in effects
    )
    said = (
        f"The upright line at {none} stands for no effect.",
        CAPS,
        "Arrows lead beyond the scale.",
        f"A filled marker can be told from {none}, a hollow one cannot.",
        *(("A hatched row has no value.",) if absent else ()),
    )
    keys = (
        Key(f"can be told from {none}", _sample(stands_out=True)),
        Key(f"cannot be told from {none}", _sample(stands_out=False)),
    )

    def paint(figure: Figure, spec: SubplotSpec, prefix: str) -> Axes:
        limits = _limits(forest)
        grid = spec.subgridspec(1, len(columns))
        first: Axes | None = None
        for at, (heading, lines) in enumerate(columns):
            axes = figure.add_subplot(grid[0, at])
            _paint(axes, forest, lines, limits, f"{prefix}-{at}", across=len(columns))
            if first is None:
                axes.set_yticks(range(len(wrapped)), ["\n".join(part) for part in wrapped])
                for label, line in zip(axes.get_yticklabels(), lines, strict=True):
                    label.set_fontweight("bold" if line.effect is None else "normal")
            else:
                axes.set_yticks([])
            if heading:
                title = "\n".join(wrap(heading, 6.6 / len(columns), LABEL, most=2, bold=True))
                axes.set_title(title, loc="left", fontsize=LABEL, fontweight="bold", color=INK)
            first = first or axes
        assert first is not None  # noqa: S101 - tells the type checker
        first.set_xlabel("\n".join(wrap(forest.measure, 6.0 / len(columns), LABEL)), fontsize=LABEL, color=INK)
        return first

    return Painting(row * len(wrapped) + _SCALE, said, keys, paint)


def _columns(forest: Forest) -> list[tuple[str, list[_Line]]]:
    """Columns of lines: one where that is not too long, else one for each heading, or for each effect."""
    groups = forest.groups
    lines = sum(len(effects) for _, effects in groups)
    labels = [[effect.mark.label for effect in effects] for _, effects in groups]
    alike = len(groups) > 1 and all(label == labels[0] for label in labels) and len(set(labels[0])) == len(labels[0])
    if lines > ALONE and alike and len(groups) <= MOST_ACROSS:
        return [(heading, [_Line(effect.mark.label, effect) for effect in effects]) for heading, effects in groups]
    if lines > ALONE and alike and len(labels[0]) <= MOST_ACROSS:
        return [
            (label, [_Line(heading, effects[at]) for heading, effects in groups]) for at, label in enumerate(labels[0])
        ]
    below: list[_Line] = []
    for heading, effects in groups:
        below += [_Line(heading, None)] if heading else []
        below += [_Line(effect.mark.label, effect) for effect in effects]
    return [("", below)]


def _limits(forest: Forest) -> Limits:
    """What the scale shows: every estimate, the line of no effect, and intervals as far as others stay readable."""
    marks = [effect.mark for _, effects in forest.groups for effect in effects]
    values = [mark.estimate for mark in marks if math.isfinite(mark.estimate)] + [forest.none]
    all_ends = [end for mark in marks for end in (mark.low, mark.high) if math.isfinite(end)]
    if forest.ratio:
        logs = [math.log(value) for value in values if value > 0]
        reach = math.log(_REACH)
        low, high = min(logs) - reach, max(logs) + reach
        inner = [math.log(end) for end in all_ends if end > 0]
        low, high = max(low, min([*inner, *logs])), min(high, max([*inner, *logs]))
        air = 0.05 * (high - low) or 0.5
        return math.exp(low - air), math.exp(high + air)
    span = max(values) - min(values) or max((abs(end - forest.none) for end in all_ends), default=1.0) or 1.0
    low = max(min(values) - _STRETCH * span, min([*values, *all_ends]))
    high = min(max(values) + _STRETCH * span, max([*values, *all_ends]))
    air = 0.05 * (high - low) or 1.0
    return low - air, high + air


def _paint(axes: Axes, forest: Forest, lines: Sequence[_Line], limits: Limits, name: str, *, across: int) -> None:
    most = 2 if forest.ratio else MOST_DIGITS
    words = [
        ""
        if line.effect is None
        else (full_words if across == 1 else value_words)(replace(line.effect.mark, noisy=False), most)
        for line in lines
    ]
    room = 0.0 if across > 1 else max(width(shorten(text, 3.0, SMALL), SMALL) for text in words) + 0.1
    _scale(axes, forest, limits, room, across)
    axes.axvline(forest.none, color=INK, linewidth=1.0, zorder=2)
    kept = [(float(at), line.effect) for at, line in enumerate(lines) if line.effect is not None]
    drawable = [(at, _within(effect.mark, limits)) for at, effect in kept]
    draw_intervals(axes, [at for at, _ in drawable], [mark for _, mark in drawable], limits, f"{name}-interval")
    for at, effect in kept:
        _draw(axes, at, effect, limits, name)
    for at, text in enumerate(words):
        if text:
            _write(axes, at, shorten(text, 3.0 if across == 1 else 1.2, SMALL), name, inside=across > 1)
    for at in range(1, len(lines), 2):
        axes.axhspan(at - 0.5, at + 0.5, facecolor=GROUND, alpha=0.35, linewidth=0, zorder=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    dress(axes, grid="x")


def _within(mark: Mark, limits: Limits) -> Mark:
    """A mark of which the scale shows something; else one without a value."""
    beyond = mark.high < limits[0] or mark.low > limits[1]
    return Mark(mark.label, math.nan, math.nan, math.nan) if beyond else mark


def _scale(axes: Axes, forest: Forest, limits: Limits, room: float, across: int) -> None:
    share = min(0.45, room / 6.6) if across == 1 else min(0.4, 0.45 / (6.6 / across))
    if forest.ratio:
        axes.set_xscale("log")
        ticks = _ratio_ticks(limits, most=9 if across == 1 else max(4, 9 // across))
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        high = math.exp(math.log(limits[0]) + (math.log(limits[1]) - math.log(limits[0])) / (1 - share))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7 if across == 1 else 3))
        high = limits[0] + (limits[1] - limits[0]) / (1 - share)
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.set_xlim(limits[0], high)


def _ratio_ticks(limits: Limits, most: int) -> list[float]:
    """Round ratios within limits, as people say them."""
    for steps in ((1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [
            step * 10.0**power
            for power in range(-6, 7)
            for step in steps
            if limits[0] <= step * 10.0**power <= limits[1]
        ]
        if len(ticks) <= most:
            return ticks
    return [1.0]


def _draw(axes: Axes, at: float, effect: Effect, limits: Limits, name: str) -> None:
    mark = effect.mark
    if mark.is_absent and not has_interval(mark):
        span = axes.axhspan(
            at - 0.4, at + 0.4, facecolor=PALE, edgecolor=RULE, hatch=ABSENT_HATCH, linewidth=0, zorder=1
        )
        named(span, f"{name}-absent")
    if mark.is_absent or not limits[0] <= mark.estimate <= limits[1]:
        return
    (point,) = axes.plot([mark.estimate], [at], linestyle="none", zorder=6, **_marker(stands_out=effect.stands_out))
    named(point, f"{name}-{'told' if effect.stands_out else 'untold'}")


def _write(axes: Axes, at: int, words: str, name: str, *, inside: bool) -> None:
    text = axes.text(
        0.995, at, words, transform=axes.get_yaxis_transform(), va="center", ha="right",
        fontsize=SMALL, color=INK if not inside else FAINT, zorder=7,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
    )  # fmt: skip
    named(text, f"{name}-value")


def _sample(*, stands_out: bool) -> Line2D:
    return Line2D([], [], linestyle="-", color=INK, linewidth=1.1, **_marker(stands_out=stands_out))


def _marker(*, stands_out: bool) -> dict[str, Any]:
    """Told apart by its filling and its form."""
    edge, face, form = (_COLOUR, _COLOUR, "s") if stands_out else (INK, "white", "o")
    return {"marker": form, "markersize": 6.0, "markerfacecolor": face, "markeredgecolor": edge}
