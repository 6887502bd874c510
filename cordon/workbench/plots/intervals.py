"""Intervals as they are drawn: a line between two caps, and an arrow where the noise gives no end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from cordon.workbench.drawing import Mark
from cordon.workbench.plots.page import named
from cordon.workbench.plots.palette import INK

Limits = tuple[float, float]

CAP = 6.0
"""Of an interval's end, in points."""


def extent(marks: Iterable[Mark], *, zero: bool) -> Limits:
    """The least and the largest that is drawn: finite ends and values."""
    parts = [part for mark in marks for part in (mark.estimate, mark.low, mark.high) if math.isfinite(part)]
    parts += [0.0] if zero or not parts else []
    low, high = min(parts), max(parts)
    if low == high:
        low, high = (low - 1, high + 1) if not zero or low == 0 else (min(low, 0.0), max(high, 0.0))
    return low, high


def ends(mark: Mark, limits: Limits) -> Limits:
    """The part of an interval that lies within limits."""
    return max(mark.low, limits[0]), min(mark.high, limits[1])


def draw_intervals(
    axes: Axes,
    places: Sequence[float],
    marks: Sequence[Mark],
    limits: Limits,
    name: str,
    *,
    upright: bool = False,
    colour: str = INK,
) -> None:
    """Draw the interval of each mark that has one, also without an estimate inside.

    Args:
        places: of the marks on the other axis.
        limits: of the axis of values: ends beyond are arrows.
        upright: whether values grow upwards.
    """
    kept = [(place, mark) for place, mark in zip(places, marks, strict=True) if has_interval(mark)]
    if not kept:
        return
    at = [place for place, _ in kept]
    lows, highs = zip(*(ends(mark, limits) for _, mark in kept), strict=True)
    lines = axes.vlines if upright else axes.hlines
    # Intervals also cross bars of their own darkness.
    halo = [] if upright else [withStroke(linewidth=2.6, foreground="white")]
    named(lines(at, lows, highs, colors=colour, linewidth=1.1, zorder=4, path_effects=halo), name)
    for end, edge, cap, arrow in (
        (lows, limits[0], "_" if upright else "|", "v" if upright else "<"),
        (highs, limits[1], "_" if upright else "|", "^" if upright else ">"),
    ):
        open_ended = [mark.low < limits[0] if edge == limits[0] else mark.high > limits[1] for _, mark in kept]
        for beyond, marker, word in ((False, cap, "cap"), (True, arrow, "arrow")):
            points = [
                (place, value) for place, value, is_open in zip(at, end, open_ended, strict=True) if is_open == beyond
            ]
            if points:
                xs, ys = zip(*(point if upright else point[::-1] for point in points), strict=True)
                (line,) = axes.plot(
                    xs, ys, marker=marker, linestyle="none", color=colour, markersize=CAP, zorder=4, clip_on=False
                )
                named(line, f"{name}-{word}")


def has_interval(mark: Mark) -> bool:
    """Whether there is something to draw: without an estimate, an end."""
    ends_known = not math.isnan(mark.low) and not math.isnan(mark.high)
    return ends_known and (not mark.is_absent or math.isfinite(mark.low) or math.isfinite(mark.high))
