"""The public values of the things that a question groups by, and how a snapshot's stored values map to them.

Values come from the contract and the question alone, never from records. docs/protocol.md §6.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from cordon.contract import FORCE, Category, Contract, Date, Identifier, Number, day, days, next_month
from cordon.errors import QuestionRefused
from cordon.query.model import All, Grain, Key, Member, Predicate, Question, Range

MONTHS_IN = {Grain.MONTH: 1, Grain.QUARTER: 3, Grain.YEAR: 12}
"""Months in one value of each grain that is made of whole months."""


@dataclass(frozen=True)
class Axis:
    """The public values of one key, in cell order.

    They are codes, force ids, dates as `YYYY`, `YYYY-Qn`, `YYYY-MM` or `YYYY-MM-DD`, or the lower bounds
    of bins in resolutions.
    """

    key: Key
    values: tuple[str, ...]
    stored: tuple[int, ...] = ()
    """What a snapshot's rows hold for each value: positions of codes, days, months since year 0 divided by the
    months in a value, or numbers of bins; empty for `force`, which rows do not hold."""

    @cached_property
    def places(self) -> dict[int, int]:
        """Place of each stored value on the axis."""
        return {stored: at for at, stored in enumerate(self.stored)}


def make_axis(key: Key, question: Question, contract: Contract, *, most: int) -> Axis:
    """The axis of one key.

    Args:
        most: values that it may have.

    Raises:
        QuestionRefused: the key cannot be grouped by as asked, has too many values, or WHERE leaves none.
    """
    if key.column == FORCE:
        axis = Axis(key, question.forces if key.grain is Grain.VALUE else ())
    else:
        axis = _of_column(key, contract, list(conjuncts(question.where)), most)
    if not axis.values:
        raise QuestionRefused(f"nothing is left to group {key.column} by", hint="widen the WHERE clause")
    return axis


def conjuncts(where: Predicate | None) -> Iterator[Predicate]:
    """The conditions that every row must meet: the parts of a conjunction, through nested ones."""
    if isinstance(where, All):
        for part in where.parts:
            yield from conjuncts(part)
    elif where is not None:
        yield where


def column_of(name: str, contract: Contract) -> Category | Date | Number | Identifier:
    """A column of a contract.

    Raises:
        QuestionRefused: there is none of that name.
    """
    try:
        return contract.column(name)
    except KeyError:
        columns = ", ".join(column.name for column in contract.columns)
        raise QuestionRefused(f"{contract.dataset} has no column {name}", hint=f"its columns: {columns}") from None


def _of_column(key: Key, contract: Contract, narrowing: list[Predicate], most: int) -> Axis:
    column = column_of(key.column, contract)
    if isinstance(column, Category) and key.grain is Grain.VALUE:
        kept = [set(p.codes) for p in narrowing if isinstance(p, Member) and p.column == column.name]
        codes = [c.code for c in column.codes if all(c.code in codes for codes in kept)]
        return Axis(key, tuple(codes), tuple(column.positions[code] for code in codes))
    ranges = [p for p in narrowing if isinstance(p, Range) and p.column == column.name]
    if isinstance(column, Date) and (key.grain is Grain.DAY and column.grain == "day"):
        return _days(key, _few(_within(column, ranges), key, most))
    if isinstance(column, Date) and key.grain in MONTHS_IN:
        return _months(key, column, ranges)
    if isinstance(column, Number) and key.grain is Grain.BIN:
        return _bins(key, _few(_within(column, ranges, key.width), key, most))
    raise QuestionRefused(
        f"{column.name} is a {column.kind} and cannot be grouped by as asked",
        hint="group by a category, by MONTH(date), by BIN(number, width) or by force",
    )


def _within(column: Date | Number, ranges: list[Range], width: int = 1) -> range:
    """The whole multiples of `width`, divided by it, up to which WHERE and the contract's bounds leave values."""
    low = max([column.low, *(r.low for r in ranges if r.low is not None)])
    high = min([column.high, *(r.high for r in ranges if r.high is not None)])
    return range(low // width, high // width + 1) if low <= high else range(0)


def _few(stored: range, key: Key, most: int) -> range:
    if len(stored) > most:
        raise QuestionRefused(
            f"{key.column} has {len(stored)} values to group by; the federation allows {most} cells",
            hint="group by wider bins or a coarser grain, or narrow it with WHERE",
        )
    return stored


def _days(key: Key, stored: range) -> Axis:
    return Axis(key, tuple(day(at).isoformat() for at in stored), tuple(stored))


def _bins(key: Key, stored: range) -> Axis:
    return Axis(key, tuple(str(at * key.width) for at in stored), tuple(stored))


def _months(key: Key, column: Date, ranges: list[Range]) -> Axis:
    months = [day(start) for start in column.months if all(_meets(_span(start), r) for r in ranges)]
    # dict and not set: it keeps their order.
    values = dict.fromkeys((12 * m.year + m.month - 1) // MONTHS_IN[key.grain] for m in months)
    return Axis(key, tuple(_named(at, key.grain) for at in values), tuple(values))


def _named(at: int, grain: Grain) -> str:
    if grain is Grain.YEAR:
        return f"{at:04d}"
    if grain is Grain.QUARTER:
        return f"{at // 4:04d}-Q{at % 4 + 1}"
    return f"{date(at // 12, at % 12 + 1, 1):%Y-%m}"


def _span(month: int) -> tuple[int, int]:
    return month, days(next_month(day(month))) - 1


def _meets(span: tuple[int, int], wanted: Range) -> bool:
    first, last = span
    return (wanted.low is None or wanted.low <= last) and (wanted.high is None or first <= wanted.high)
