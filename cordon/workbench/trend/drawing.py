"""A trend as lines with bands, and marks where a level changes."""

from __future__ import annotations

import math

from cordon.workbench.drawing import Captions, Change, Lines, Mark, Series
from cordon.workbench.trend.found import GroupTrend, Point, Trend
from cordon.workbench.trend.words import moved

NO_COVER = "not covered by every force"


def drawing_of(trend: Trend, captions: Captions) -> Lines:
    """What to draw: each group's values, without their season where that is known."""
    series = tuple(Series(group.name, _marks(group)) for group in trend.groups)
    changes = tuple(Change(group.name, step.at, moved(step.amount)) for group in trend.groups for step in group.steps)
    adjusted = any(group.is_adjusted for group in trend.groups)
    measure = f"{trend.measure} a {trend.grain}" + (", seasonally adjusted" if adjusted else "")
    return Lines(captions, measure, series, changes)


def _marks(group: GroupTrend) -> tuple[Mark, ...]:
    return tuple(_mark(point, adjusted=group.is_adjusted) for point in group.points)


def _mark(point: Point, *, adjusted: bool) -> Mark:
    if point.missing:
        return Mark(point.period, math.nan, math.nan, math.nan, note=NO_COVER)
    parts = (
        (point.adjusted, point.adjusted_low, point.adjusted_high)
        if adjusted
        else (point.estimate, point.low, point.high)
    )
    return Mark(point.period, *parts, noisy=not parts[2] - parts[1] < abs(parts[0]))
