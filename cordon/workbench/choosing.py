"""From the shape of an answer to the picture that suits it: plain data, without a plotting library.

| the answer has | it is drawn as |
| --- | --- |
| no key | one bar a measure |
| one key | bars, in the answer's own order |
| a date among its keys | lines with bands, one for each combination of the other keys |
| a force and another key | a heat map, force by key |
| two keys | grouped bars where few, else a heat map |
| several quantiles of one number | a quantile plot |
| several measures, or tables that do not add up to one another | a panel for each |

More than two keys are read as two: the first, and the others together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cordon.analyst.rows import Estimate, Row
from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.captions import captions_of
from cordon.workbench.drawing import UNKNOWN, Bars, Captions, Drawing, HeatMap, Lines, Mark, Quantiles, Series
from cordon.workbench.drawing import Panels as Several
from cordon.workbench.periods import are_periods, in_order
from cordon.workbench.selected import quantiles_of

MOST_SERIES = 5
"""Bars side by side that colour, lightness and hatch still tell apart."""

MOST_GROUPED = 60
"""Grouped bars in all; more are a heat map."""

MOST_PLACES = 120
"""Places of a picture that is still read; what is left out is said."""

MOST_ACROSS = 40
"""Columns of a heat map."""

MOST_LINES = 60
"""Series over time."""

MOST_PANELS = 8

ALL = "(all)"
"""As the table has it: what the places add up to."""

NO_VALUE = "any value"
"""Said where the noise allows any."""

NOT_SHOWN = "not in the answer"
"""Said of a place that HAVING or LIMIT left out."""

NOISE_ALONE = "the intervals cover the noise, and not what the records lack"

Panel = Bars | Lines | HeatMap | Quantiles

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of an answer that are grouped by the same keys."""

    keys: tuple[int, ...]
    """Places of its keys among the answer's."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What one panel shows."""

    measure: str
    columns: tuple[int, ...]
    """Places of its measures among a row's values; several for quantiles."""
    points: tuple[str, ...]
    """Names of the quantiles; empty for one measure."""


def drawing_of(answer: Answer) -> Drawing:
    """The picture that suits an answer's rows.

    Raises:
        Refused: there is nothing to draw.
    """
    if not answer.rows or not answer.measures:
        raise Refused("there is nothing to draw: the answer has no rows")
    tables = _tables(answer)
    totals = next((table for table in tables if not table.keys), None)
    drawn = _finest(tables)
    pairs = [(table, chosen) for table in drawn for chosen in _chosen(answer)]
    panels, left = [], set()
    for table, chosen in pairs[:MOST_PANELS]:
        panel, more = _panel(answer, table, chosen, totals if table.keys else None)
        panels.append(replace(panel, captions=_heading(answer, table, chosen, several=len(drawn) > 1)))
        left |= {more} - {""}
    if len(pairs) > MOST_PANELS:
        left.add(f"{len(pairs) - MOST_PANELS} more pictures would be needed for the rest of the table")
    captions = captions_of(answer, more=[*sorted(left), NOISE_ALONE])
    return replace(panels[0], captions=captions) if len(panels) == 1 else Several(captions, tuple(panels))


def mark_of(label: str, value: Estimate) -> Mark:
    """An estimate as it is drawn; noisy by the same rule as `?` in the table."""
    readable = value.high - value.low < abs(value.value)
    note = NO_VALUE if math.isnan(value.value) else ""
    return Mark(label, value.value, value.low, value.high, noisy=not readable, note=note)


def absent_mark(label: str, note: str) -> Mark:
    """A place without a value, and why."""
    return Mark(label, UNKNOWN, UNKNOWN, UNKNOWN, note=note)


def _tables(answer: Answer) -> list[_Table]:
    found: dict[tuple[int, ...], list[Row]] = {}
    for row in answer.rows:
        keys = tuple(place for place, key in enumerate(row.keys) if key is not None)
        found.setdefault(keys, []).append(row)
    return [_Table(keys, tuple(rows)) for keys, rows in found.items()]


def _finest(tables: Sequence[_Table]) -> list[_Table]:
    """Those that are not what another one adds up to."""
    return [table for table in tables if not any(set(table.keys) < set(other.keys) for other in tables)]


def _chosen(answer: Answer) -> list[_Chosen]:
    """One panel for each measure, and for all quantiles of one number."""
    quantiles = quantiles_of(answer.sql, [column.is_measure for column in answer.columns])
    of_number: dict[str, list[int]] = {}
    for column, found in enumerate(quantiles):
        if found is not None:
            of_number.setdefault(found.number, []).append(column)
    chosen = []
    for column, (name, found) in enumerate(zip(answer.measures, quantiles, strict=True)):
        together = of_number.get(found.number, []) if found is not None else []
        if found is None or len(together) < 2:
            chosen.append(_Chosen(name, (column,), ()))
        elif column == together[0]:
            ordered = sorted(together, key=lambda at: getattr(quantiles[at], "share", 0.0))
            points = tuple(str(quantiles[at]) for at in ordered)
            chosen.append(_Chosen(found.number, tuple(ordered), points))
    return chosen


def _heading(answer: Answer, table: _Table, chosen: _Chosen, *, several: bool) -> Captions:
    by = " and ".join(answer.keys[key] for key in table.keys)
    return Captions(f"{chosen.measure} by {by}" if several and by else chosen.measure)


def _panel(answer: Answer, table: _Table, chosen: _Chosen, totals: _Table | None) -> tuple[Panel, str]:
    """A panel, and what it leaves out."""
    nothing = Captions("")
    if chosen.points:
        return _quantiles(table, chosen)
    column = chosen.columns[0]
    if not table.keys:
        marks = tuple(_mark(row, "", column) for row in table.rows)
        return Bars(nothing, chosen.measure, (Series("", marks),)), ""
    labels = [tuple(row.keys[key] or "" for key in table.keys) for row in table.rows]
    dated = next((at for at in range(len(table.keys)) if are_periods(label[at] for label in labels)), None)
    if dated is not None:
        series, more = _first(_over_time(table, labels, dated, column), MOST_LINES, "series")
        return Lines(nothing, chosen.measure, tuple(series)), more
    total = _total(totals, chosen)
    if len(table.keys) == 1:
        kept, more = _first(table.rows, MOST_PLACES, "rows")
        marks = tuple(_mark(row, row.keys[table.keys[0]] or "", column) for row in kept)
        return Bars(nothing, chosen.measure, (Series("", marks),), total), more
    return _crossed(answer, table, labels, chosen, total)


def _quantiles(table: _Table, chosen: _Chosen) -> tuple[Panel, str]:
    kept, more = _first(table.rows, MOST_PLACES, "rows")
    named = [(_joined(row.keys[key] or "" for key in table.keys), row) for row in kept]
    places = list(zip(chosen.points, chosen.columns, strict=True))
    series = tuple(Series(name, tuple(_mark(row, point, at) for point, at in places)) for name, row in named)
    return Quantiles(Captions(""), chosen.measure, series), more


def _over_time(table: _Table, labels: list[tuple[str, ...]], dated: int, column: int) -> tuple[Series, ...]:
    places = in_order(label[dated] for label in labels)
    found = {(_without(label, dated), label[dated]): row for label, row in zip(labels, table.rows, strict=True)}
    names = _distinct(_without(label, dated) for label in labels)
    return tuple(Series(name, _marks(found, [(name, place) for place in places], places, column)) for name in names)


def _crossed(
    answer: Answer, table: _Table, labels: list[tuple[str, ...]], chosen: _Chosen, total: Series | None
) -> tuple[Panel, str]:
    """Two keys or more: grouped bars or a heat map."""
    forces = {*answer.answered, *answer.absent}
    by_force = next((at for at in range(len(table.keys)) if {label[at] for label in labels} <= forces), None)
    down = 0 if by_force is None else by_force
    found = {(label[down], _without(label, down)): row for label, row in zip(labels, table.rows, strict=True)}
    rows, columns = _distinct(key[0] for key in found), _distinct(key[1] for key in found)
    if by_force is None and len(columns) > len(rows):
        rows, columns = columns, rows
        found = {(column, row): value for (row, column), value in found.items()}
    column = chosen.columns[0]
    if by_force is None and len(columns) <= MOST_SERIES and len(rows) * len(columns) <= MOST_GROUPED:
        grouped = tuple(Series(name, _marks(found, [(row, name) for row in rows], rows, column)) for name in columns)
        return Bars(Captions(""), chosen.measure, grouped, total), ""
    kept, fewer = _first(rows, MOST_PLACES, "rows")
    across, narrower = _first(columns, MOST_ACROSS, "columns")
    cells = tuple(Series(row, _marks(found, [(row, name) for name in across], across, column)) for row in kept)
    return HeatMap(Captions(""), chosen.measure, cells), "; ".join(filter(None, (fewer, narrower)))


def _marks(
    found: dict[tuple[str, str], Row], keys: Sequence[tuple[str, str]], labels: Sequence[str], column: int
) -> tuple[Mark, ...]:
    return tuple(
        _mark(found[key], label, column) if key in found else absent_mark(label, NOT_SHOWN)
        for key, label in zip(keys, labels, strict=True)
    )


def _mark(row: Row, label: str, column: int) -> Mark:
    return mark_of(label, row.values[column]) if row.values else absent_mark(label, row.note)


def _total(totals: _Table | None, chosen: _Chosen) -> Series | None:
    if totals is None:
        return None
    return Series(ALL, tuple(_mark(row, ALL, chosen.columns[0]) for row in totals.rows))


def _without(label: tuple[str, ...], place: int) -> str:
    return _joined(part for at, part in enumerate(label) if at != place)


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _distinct(names: Iterable[str]) -> list[str]:
    """In the order of the answer."""
    return list(dict.fromkeys(names))


def _first(items: Sequence[_Item], most: int, what: str) -> tuple[Sequence[_Item], str]:
    left = "" if len(items) <= most else f"only the first {most} of {len(items)} {what} are drawn"
    return items[:most], left
