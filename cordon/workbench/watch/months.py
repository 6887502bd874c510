"""Which months of a force's records a cell counts: cells are compared over the same months only. Pure."""

from __future__ import annotations

import re
from datetime import date, timedelta

from cordon.contract import Contract, Date
from cordon.query.model import All, Predicate, Range
from cordon.query.statement import Statement

Span = tuple[str, str]
"""First and last month as ISO 8601 has them, e.g. `2025-01`."""

ALWAYS: Span = ("0000-00", "9999-99")
_LABEL = re.compile(r"(\d{4})(?:-(\d\d)|-Q([1-4]))?(?:-\d\d)?")


def window(statement: Statement, contract: Contract) -> Span:
    """Months that a question is limited to by its WHERE; `ALWAYS` where it is not, or where it is not certain."""
    named = _dates(contract)
    if len(named) != 1:
        # What a force covers may be told of the other date.
        return ALWAYS
    ranges = [part for part in _parts(statement.question.where) if isinstance(part, Range) and part.column in named]
    lows = [_month(part.low) for part in ranges if part.low is not None]
    highs = [_month(part.high) for part in ranges if part.high is not None]
    return max(lows, default=ALWAYS[0]), min(highs, default=ALWAYS[1])


def month_key(statement: Statement, contract: Contract) -> int | None:
    """Where among the keys that are shown the months stand; None where there are none."""
    named = _dates(contract)
    shown = [statement.question.keys[output.key] for output in statement.outputs if output.key is not None]
    return next((at for at, key in enumerate(shown) if key.column in named and len(named) == 1), None)


def is_fixed(statement: Statement, contract: Contract) -> bool:
    """Whether cells mean the same months, whatever months forces add."""
    if not _dates(contract) or month_key(statement, contract) is not None:
        return True
    first, last = window(statement, contract)
    return first != ALWAYS[0] and last != ALWAYS[1]


def within(asked: Span, label: str | None) -> Span:
    """Months that a cell counts: those that are asked, of its own month, quarter or year."""
    found = None if label is None else _LABEL.fullmatch(label)
    if found is None:
        return asked
    year, month, quarter = found.groups()
    if month is not None:
        first = last = f"{year}-{month}"
    elif quarter is not None:
        first, last = f"{year}-{3 * int(quarter) - 2:02d}", f"{year}-{3 * int(quarter):02d}"
    else:
        first, last = f"{year}-01", f"{year}-12"
    return max(first, asked[0]), min(last, asked[1])


def covered(held: Span, asked: Span) -> Span | None:
    """Months of those that are asked that records cover; None where that is none."""
    first, last = max(held[0], asked[0]), min(held[1], asked[1])
    return (first, last) if first <= last else None


def _dates(contract: Contract) -> set[str]:
    return {column.name for column in contract.columns if isinstance(column, Date)}


def _parts(where: Predicate | None) -> tuple[Predicate, ...]:
    if where is None:
        return ()
    return tuple(part for each in where.parts for part in _parts(each)) if isinstance(where, All) else (where,)


def _month(days: int) -> str:
    try:
        return f"{date(1970, 1, 1) + timedelta(days=days):%Y-%m}"
    except OverflowError:
        return ALWAYS[0] if days < 0 else ALWAYS[1]
