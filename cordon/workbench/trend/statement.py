"""From options to one SELECT, grouped by month or quarter and by at most one column beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cordon.contract import FORCE, Category, Contract, Date, Identifier
from cordon.errors import Refused
from cordon.query.expression import Part
from cordon.query.model import MeasureKind
from cordon.query.statement import Statement
from cordon.workbench.trend.periods import Grain, grain_of

PERIOD = "period"
"""Name of the column of months or quarters."""

COUNT, RECORDS = "COUNT(*)", "records"
"""The measure that is followed unless another is named, and what its column is called."""

_BINS = re.compile(r"^\s*BIN\s*\(.*\)\s*$", re.IGNORECASE | re.DOTALL)
_WHERE = re.compile(r"\bFROM\s+\S+\s+WHERE\s+(.*)\s+GROUP\s+BY\b", re.IGNORECASE | re.DOTALL)
_BREAKS_OUT = re.compile(r";|--|/\*")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What series are asked for."""

    dataset: str
    """As FROM names it: with or without a version."""
    by: str | None = None
    """A category, `force`, or BIN(number, width)."""
    grain: Grain | None = None
    """None for months."""
    measure: str | None = None
    """In SQL; None for COUNT(*)."""
    where: str | None = None
    since: str | None = None
    """First month or quarter; None for the contract's first."""
    until: str | None = None
    date: str | None = None
    """The column of dates; None for the contract's first."""


def statement_of(wanted: Wanted, contract: Contract) -> str:
    """The SELECT that is asked.

    Args:
        contract: that the data set's name stands for.

    Raises:
        Refused: an option names nothing that there is, with what was probably meant.
    """
    date = _date(wanted.date, contract)
    by = _by(wanted.by, contract)
    measure = (wanted.measure or COUNT).strip()
    for text in (measure, wanted.where or ""):
        if _BREAKS_OUT.search(text):
            raise Refused(
                f"{text!r} is no part of one SELECT", hint="write an expression alone, without ; and comments"
            )
    period = f"{(wanted.grain or Grain.MONTH).value.upper()}({date.name})"
    keys = f"{period} AS {PERIOD}" + (f", {by}" if by else "")
    where = " AND ".join(_conditions(wanted, date))
    named = f"{COUNT} AS {RECORDS}" if measure.upper() == COUNT else measure
    parts = [f"SELECT {keys}, {named} FROM {wanted.dataset}"]  # noqa: S608 - read by our own parser, never run
    parts += [f"WHERE {where}"] if where else []
    return " ".join([*parts, f"GROUP BY {period}" + (f", {by}" if by else "")])


def _date(name: str | None, contract: Contract) -> Date:
    dates = [column for column in contract.columns if isinstance(column, Date)]
    if not dates:
        raise Refused(f"{contract.dataset} has no dates", hint="a trend needs a data set with a date")
    if name is None:
        return dates[0]
    found = next((column for column in dates if column.name == name), None)
    if found is None:
        raise Refused(
            f"{contract.dataset} has no date {name!r}", hint=f"there are: {', '.join(column.name for column in dates)}"
        )
    return found


def _by(text: str | None, contract: Contract) -> str | None:
    if text is None or text == FORCE or _BINS.match(text):
        return text
    columns = {column.name: column for column in contract.columns if not isinstance(column, Identifier)}
    column = columns.get(text)
    if isinstance(column, Category):
        return text
    if column is not None:
        hint = "series are by time already" if isinstance(column, Date) else f"BIN({text}, 10) makes groups of a number"
        raise Refused(f"{text} is no category", hint=hint)
    raise Refused(f"{contract.dataset} has no column {text!r}", hint=_near(text, [FORCE, *columns]))


def _near(word: str, names: list[str]) -> str:
    near = [name for name in names if name.startswith(word[:3]) or word in name]
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(names))}"


def _conditions(wanted: Wanted, date: Date) -> list[str]:
    found = [f"({wanted.where.strip()})"] if wanted.where else []
    for text, sign, at in ((wanted.since, ">=", 0), (wanted.until, "<=", 1)):
        if text is not None:
            found.append(f"{date.name} {sign} '{_month(text, last=bool(at))}'")
    return found


def _month(text: str, *, last: bool) -> str:
    """The first or last month of a month or quarter."""
    grain = grain_of(text)
    if grain is None:
        raise Refused(f"{text!r} is no month", hint="write 2019-04, or 2019-Q2")
    if grain is Grain.MONTH:
        return text
    quarter = int(text[-1])
    return f"{text[:4]}-{3 * quarter if last else 3 * quarter - 2:02d}"


def where_of(sql: str) -> str:
    """The condition of a SELECT that is grouped, as it was typed; empty where it has none."""
    found = _WHERE.search(sql)
    return " ".join(found[1].split()) if found else ""


def counts_rows(statement: Statement, measure: str) -> bool:
    """Whether a column counts rows or units, which vary by chance as Poisson numbers at least."""
    expression = next((output.expression for output in statement.outputs if output.name == measure), None)
    if not isinstance(expression, Part):
        return False
    kind = statement.question.measures[expression.measure].kind
    return kind in (MeasureKind.COUNT, MeasureKind.COUNT_UNIT)
