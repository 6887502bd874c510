"""A trend as a table for people, and as a sheet for programs."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordon.analyst.render import print_whole
from cordon.workbench.answer import Answer
from cordon.workbench.output import Sheet, Value
from cordon.workbench.trend.amounts import Amount
from cordon.workbench.trend.found import GroupTrend, Point, Trend
from cordon.workbench.trend.reading import cautions, readings
from cordon.workbench.trend.words import number

COLUMNS = (
    "group", "period", "estimate", "low", "high", "adjusted", "adjusted low", "adjusted high",
    "year before", "year before low", "year before high", "share", "share low", "share high",
    "new level", "not covered",
)  # fmt: skip
"""Of the sheet; docs/analysis/trend.md says what each is."""


def sheet_of(trend: Trend, answer: Answer) -> Sheet:
    """One line for each period of each group; what was found stands beside them."""
    rows = tuple(_row(group, point) for group in trend.groups for point in group.points)
    found = trend.as_dict()
    for group in found["groups"]:
        # They are the rows.
        del group["points"]
    read = {"readings": list(readings(trend)), "cautions": list(cautions(trend))}
    asked = {"query": answer.query_id, "sql": answer.sql, "dataset": answer.dataset, "protected_unit": answer.unit}
    return Sheet(COLUMNS, rows, asked | found | read)


def _row(group: GroupTrend, point: Point) -> tuple[Value, ...]:
    before = point.year_before
    figures = (point.estimate, point.low, point.high, point.adjusted, point.adjusted_low, point.adjusted_high)
    changes = _parts(before) if before is not None else (math.nan,) * 6
    starts = any(step.at == point.period for step in group.steps)
    missing = ", ".join(point.missing) or None
    return (group.name, point.period, *map(_finite, (*figures, *changes)), starts, missing)


def _parts(amount: Amount) -> tuple[float, ...]:
    return (amount.size, amount.low, amount.high, amount.share, amount.share_low, amount.share_high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def print_trend(trend: Trend, answer: Answer, out: Console) -> None:
    """The series, what they show, and what must be known to read them."""
    print_whole(_table(trend), out)
    out.print("\nWhat the records show", style="bold", highlight=False, markup=False)
    for sentence in readings(trend):
        out.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    out.print("")
    print_notes(trend, answer, out)


def print_notes(trend: Trend, answer: Answer, out: Console) -> None:
    """What must be known to read the series."""
    for line in (f"asked: {' '.join(answer.sql.split())}", *cautions(trend), *answer.about):
        out.print(line, highlight=False, markup=False, soft_wrap=True, style="dim")


def _table(trend: Trend) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    adjusted = any(group.is_adjusted for group in trend.groups)
    yearly = any(point.year_before is not None for group in trend.groups for point in group.points)
    lefts = ([trend.by] if trend.by else []) + [trend.grain.value]
    rights = [trend.measure, "95 % interval"]
    rights += ["adjusted", "95 % interval"] if adjusted else []
    rights += ["on the year before", "95 % interval, all together"] if yearly else []
    for name in lefts:
        table.add_column(Text(name), no_wrap=True)
    for name in rights:
        table.add_column(Text(name), justify="right", no_wrap=True)
    table.add_column(Text(""), no_wrap=True)
    for group in trend.groups:
        for point in group.points:
            cells = [group.name] if trend.by else []
            cells += [point.period, number(point.estimate), _ends(point.low, point.high)]
            cells += [number(point.adjusted), _ends(point.adjusted_low, point.adjusted_high)] if adjusted else []
            cells += _yearly(point.year_before) if yearly else []
            # Not strings: a label must not be read as markup.
            table.add_row(*map(Text, [*cells, _mark(group, point)]))
    return table


def _ends(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}" if math.isfinite(low) and math.isfinite(high) else ""


def _yearly(before: Amount | None) -> list[str]:
    if before is None:
        return ["", ""]
    if math.isfinite(before.share):
        share, low, high = map(_signed, (before.share, before.share_low, before.share_high))
        return [f"{share} %", f"{low} to {high} %"]
    return [f"{before.size:+,.0f}", f"{before.low:+,.0f} to {before.high:+,.0f}"]


def _signed(share: float) -> str:
    # What rounds to nothing has no sign.
    return f"{round(100 * share) or 0:+d}"


def _mark(group: GroupTrend, point: Point) -> str:
    if point.missing:
        return "not covered by every force"
    return "new level" if any(step.at == point.period for step in group.steps) else ""
