"""A watch's releases as a picture's plain data: one line a cell, one place a slot, changes where alerts were raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cordon.analyst.rows import Row
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.drawing import UNKNOWN, Captions, Change, Drawing, Lines, Mark, Panels, Series
from cordon.workbench.watch.alert import Alert
from cordon.workbench.watch.saved import Saved

MOST_LINES = 8
"""More could not be told apart; the largest cells are drawn."""


@dataclass(frozen=True, slots=True)
class Point:
    """One release with its answer."""

    slot: str
    """As people say it."""
    answer: Answer


def drawing_of(saved: Saved, points: Sequence[Point], alerts: Sequence[Alert], spent: str) -> Drawing:
    """Every release of a watch, oldest first, with every interval.

    Args:
        spent: what has been written down for the year, in words.

    Raises:
        Refused: there is no release to draw.
    """
    if not points:
        raise Refused(f"watch {saved.name!r} has no release to draw yet")
    newest = points[-1].answer
    captions = _captions(saved, points, spent)
    panels = tuple(
        Lines(Captions(measure), measure, *_series(place, measure, points, alerts))
        for place, measure in enumerate(newest.measures)
    )
    if len(panels) == 1:
        return Lines(captions, panels[0].measure, panels[0].series, panels[0].changes)
    return Panels(captions, panels)


def _series(
    place: int, measure: str, points: Sequence[Point], alerts: Sequence[Alert]
) -> tuple[tuple[Series, ...], tuple[Change, ...]]:
    newest = points[-1].answer
    valued = [row for row in newest.rows if row.values]
    largest = sorted(valued, key=lambda row: -row.values[place].value)[:MOST_LINES]
    kept = [row.keys for row in newest.rows if row in largest]
    series = tuple(Series(_name(keys), tuple(_mark(keys, place, point) for point in points)) for keys in kept)
    slots = {point.answer.query_id: point.slot for point in points}
    changes = tuple(
        Change(_name(tuple(cell.keys.values())), slots[alert.query], f"{cell.change:+,.0f}")
        for alert in alerts
        if alert.query in slots
        for cell in alert.cells
        if cell.measure == measure and tuple(cell.keys.values()) in kept
    )
    return series, changes


def _mark(keys: tuple[str | None, ...], place: int, point: Point) -> Mark:
    row = next((row for row in point.answer.rows if row.keys == keys), None)
    if row is None or not row.values:
        return Mark(point.slot, UNKNOWN, UNKNOWN, UNKNOWN, note=_why(row))
    value = row.values[place]
    noisy = value.high - value.low > abs(value.value)
    return Mark(point.slot, value.value, value.low, value.high, noisy=noisy)


def _why(row: Row | None) -> str:
    return "not in the answer" if row is None else row.note


def _name(keys: tuple[str | None, ...]) -> str:
    return ", ".join(key or "" for key in keys)


def _captions(saved: Saved, points: Sequence[Point], spent: str) -> Captions:
    newest = points[-1].answer
    caveat = newest.caveat.rstrip(".")
    drawn = min(MOST_LINES, sum(1 for row in newest.rows if row.values))
    left = sum(1 for row in newest.rows if row.values) - drawn
    lines = [
        f"{len(points)} releases of the watch {saved.name}, every {saved.every}",
        f"in the last: {len(newest.answered)} forces",
        f"data set {newest.dataset}; protected unit: {newest.unit}" + (f" ({caveat})" if caveat else ""),
        spent,
        f"last query {newest.query_id[:16]}, {newest.date}",
    ]
    if newest.absent:
        lines.insert(2, "not in the last: " + ", ".join(f"{force} ({why})" for force, why in newest.absent.items()))
    if left:
        lines.append(f"the {drawn} largest of {drawn + left} cells")
    return Captions(" ".join(saved.sql.split()), tuple(lines))
