"""A load's report on a screen: for the force's own people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from node.load import Outcome
    from node.quality import ColumnQuality, Finding, Quality

MOST_SHOWN = 3
"""Examples shown of a column."""

MOST_CHARACTERS = 40
"""Of an example."""

WORRYING_PERCENT = 20
"""A column of which more is missing, or mended, is pointed out."""

_WIDE = 1000
"""Columns of a page that is no screen: nothing is broken there."""


def print_outcome(outcome: Outcome) -> None:
    """Print what a load or a check has found."""
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    quality = outcome.quality
    console.print(Text(f"{quality.dataset} v{quality.version}", style="bold"))
    for line in _lines(quality):
        console.print(Text(f"  {line}"), soft_wrap=True)
    table = Table("column", "missing", "mended", "how", "most frequent", box=None, pad_edge=False)
    present = quality.rows_read - sum(quality.rows_excluded.values())
    for column in quality.columns:
        table.add_row(*(Text(cell) for cell in _row(column, present)))
    console.print(table)
    for line in worries(quality):
        console.print(Text(f"  ! {line}", style="yellow"), soft_wrap=True)
    _print_differences(console, outcome.differences)


def worries(quality: Quality) -> list[str]:
    """What a person should look at before these records serve."""
    present = quality.rows_read - sum(quality.rows_excluded.values())
    told = [
        f"{column.column}: {_percent(rows, whole)} of the {what} {verb}"
        for column in quality.columns
        for rows, whole, what, verb in (
            (column.missing, present, "rows", "have no value"),
            (column.mended, present - column.missing, "values", "were mended"),
        )
        if whole and 100 * rows > WORRYING_PERCENT * whole
    ]
    told += [
        f"{column.column}: {column.outside_months:,} rows are of other months than the mapping declares"
        for column in quality.columns
        if column.outside_months
    ]
    told += [f"no row is excluded by the rule: {reason}" for reason, rows in quality.rows_excluded.items() if not rows]
    if quality.not_stored:
        told.append(f"mapped, and not stored, since node.toml names no linkage_key: {', '.join(quality.not_stored)}")
    return told


def _lines(quality: Quality) -> list[str]:
    first = (
        f"{quality.rows_read:,} rows read, {quality.rows_kept:,} kept ({100 * quality.usable_share:.1f} %); "
        f"{quality.rows_over_bound:,} beyond the bound per unit, {quality.rows_repeated:,} repeated, "
        f"{quality.rows_without_unit:,} without a unit"
    )
    lines = [first]
    lines += [f"{rows:,} rows excluded: {reason}" for reason, rows in quality.rows_excluded.items()]
    if quality.units:
        spread = ", ".join(f"{step}: {units:,}" for step, units in quality.rows_per_unit.items())
        lines.append(f"{quality.units:,} units; units by their rows before bounding: {spread}")
    return lines


def _row(column: ColumnQuality, present: int) -> tuple[str, ...]:
    return (
        column.column,
        f"{column.missing:,} ({_percent(column.missing, present)})",
        f"{column.mended:,} ({_percent(column.mended, present - column.missing)})",
        column.how if column.mended else "",
        ", ".join(f"{_plain(local)} ({count:,})" for local, count in column.examples[:MOST_SHOWN]),
    )


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share == 0 or share >= 10 else f"{share:.1f} %"


def _plain(text: str) -> str:
    """A local value that a terminal may be shown."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= MOST_CHARACTERS else shown[: MOST_CHARACTERS - 1] + "…"


def _print_differences(console: Console, differences: tuple[Finding, ...] | None) -> None:
    if differences is None:
        return
    if not differences:
        console.print(Text("  much as in the snapshot that serves"))
        return
    table = Table("since the snapshot that serves", "before", "now", box=None, pad_edge=False)
    for found in differences:
        table.add_row(Text(found.what), Text(found.before), Text(_plain(found.now)))
    console.print(table)
