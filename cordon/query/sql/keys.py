"""GROUP BY: what an answer has a row for each of, and the tables that ROLLUP, CUBE and GROUPING SETS make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NoReturn

from sqlglot import exp

from cordon.contract import FORCE, Category, Date, Identifier, Number
from cordon.query.model import MOST_GROUPINGS, MOST_KEYS, Grain, Grouping, Key
from cordon.query.sql.functions import instead_of
from cordon.query.sql.refusing import Text
from cordon.query.sql.scope import Scope, number
from cordon.units import exact_text

Table = frozenset[int]
"""The keys of one table, as indices into the question's."""

_FUNCTIONS: dict[type[exp.Expr], Grain] = {
    exp.Month: Grain.MONTH, exp.Quarter: Grain.QUARTER, exp.Year: Grain.YEAR,
}  # fmt: skip
_UNITS = {"DAY": Grain.DAY, "MONTH": Grain.MONTH, "QUARTER": Grain.QUARTER, "YEAR": Grain.YEAR}
_FINEST = (Grain.DAY, Grain.MONTH, Grain.QUARTER, Grain.YEAR)
_SOME_BINS = 20
"""Bins that a hint aims at."""

_KEYS = "a category, force, MONTH(date), QUARTER(date), YEAR(date), a date, or BIN(number, width)"


def read_keys(group: exp.Expr | None, scope: Scope) -> tuple[tuple[Key, ...], tuple[Grouping, ...]]:
    """The keys in order of appearance, and the tables of the answer; none where there is one by all keys."""
    if group is None:
        return (), ()
    return _Groups(scope).read(group)


def read_key(node: exp.Expr, scope: Scope) -> Key | None:
    """What a node groups by; None where it is nothing of the kind."""
    node = node.unnest()
    grain = _FUNCTIONS.get(type(node))
    if isinstance(node, exp.DateTrunc | exp.TimestampTrunc):
        cut = node.args["unit"]
        unit = cut.name.upper() if isinstance(cut, exp.Literal | exp.Var) else ""
        if unit not in _UNITS:
            scope.text.refuse(
                f"dates are not cut to {cut.name.lower() or 'this'}",
                node,
                hint="DATE_TRUNC takes 'day', 'month', 'quarter' or 'year'",
            )
        grain = _UNITS[unit]
    if grain is not None:
        return _date_key(node.this, grain, node, scope)
    if isinstance(node, exp.Anonymous) and node.name.upper() == "BIN":
        return _bin_key(node, scope)
    return _column_key(node, scope) if isinstance(node, exp.Column) else None


class _Groups:
    """Reads one GROUP BY: collects keys on the way."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._text: Text = scope.text
        self._keys: list[Key] = []

    def read(self, group: exp.Expr) -> tuple[tuple[Key, ...], tuple[Grouping, ...]]:
        if group.args.get("all") is not None or group.args.get("totals") or not group.expressions:
            self._text.refuse("GROUP BY names its keys", group, hint=f"GROUP BY takes {_KEYS}")
        tables: list[Table] = [frozenset()]
        for element in group.expressions:
            tables = self._crossed(tables, self._tables(element), element)
        following = [*(group.args.get("rollup") or ()), *(group.args.get("cube") or ())]
        if following:
            tables = self._with(following, group)
        groupings = tuple(Grouping(tuple(sorted(table))) for table in tables)
        every = Grouping(tuple(range(len(self._keys))))
        return tuple(self._keys), () if groupings == (every,) else groupings

    def _tables(self, element: exp.Expr) -> list[Table]:
        """The tables that one element of GROUP BY stands for by itself."""
        if isinstance(element, exp.Rollup):
            parts = [self._table(part) for part in self._elements(element)]
            return [frozenset().union(*parts[:many]) for many in range(len(parts), -1, -1)]
        if isinstance(element, exp.Cube):
            parts = [self._table(part) for part in self._elements(element)]
            chosen = (some for many in range(len(parts), -1, -1) for some in combinations(parts, many))
            return [frozenset().union(*some) for some in chosen]
        if isinstance(element, exp.GroupingSets):
            return _distinct(table for part in element.expressions for table in self._tables(part))
        return [self._table(element)]

    def _elements(self, element: exp.Expr) -> list[exp.Expr]:
        found: list[exp.Expr] = element.expressions
        # Before anything is multiplied out: a CUBE of 20 columns would be a million tables.
        if len(found) > MOST_KEYS:
            self._refuse_many(element)
        if not found:
            self._text.refuse(f"{element.key.upper()} needs columns", element, hint="ROLLUP(a, b)")
        return found

    def _table(self, element: exp.Expr) -> Table:
        """One table by the keys of one element: a key, or several in parentheses."""
        if isinstance(element, exp.Tuple):
            return frozenset(self._place(part) for part in element.expressions)
        return frozenset({self._place(element)})

    def _place(self, element: exp.Expr) -> int:
        node = self._scope.resolved(element.unnest())
        key = read_key(node, self._scope)
        if key is None:
            hint = instead_of(node, self._text) if isinstance(node, exp.Func) else ""
            hint = "a measure is what each group has" if node.find(exp.AggFunc) else hint
            self._text.refuse(f"GROUP BY takes {_KEYS}", element, hint=hint)
        if key in self._keys:
            return self._keys.index(key)
        before = [known for known in self._keys if known.column == key.column]
        if before:
            self._refuse_twice(before[0], key, element)
        if len(self._keys) == MOST_KEYS:
            self._refuse_many(element)
        self._keys.append(key)
        return len(self._keys) - 1

    def _crossed(self, left: Sequence[Table], right: Sequence[Table], element: exp.Expr) -> list[Table]:
        tables = _distinct(one | other for one in left for other in right)
        if len(tables) > MOST_GROUPINGS:
            self._refuse_many(element)
        return tables

    def _with(self, following: list[exp.Expr], group: exp.Expr) -> list[Table]:
        """GROUP BY a, b WITH ROLLUP."""
        made = any(isinstance(part, exp.Rollup | exp.Cube | exp.GroupingSets) for part in group.expressions)
        if made or len(following) > 1 or following[0].expressions:
            self._text.refuse("WITH ROLLUP or WITH CUBE follows plain columns", group, hint="ROLLUP(a, b)")
        return self._tables(type(following[0])(expressions=[part.copy() for part in group.expressions]))

    def _refuse_many(self, element: exp.Expr) -> NoReturn:
        self._text.refuse(
            f"an answer has at most {MOST_KEYS} keys and {MOST_GROUPINGS} tables",
            element,
            hint="group by fewer columns",
        )

    def _refuse_twice(self, before: Key, key: Key, element: exp.Expr) -> NoReturn:
        if Grain.BIN in (before.grain, key.grain):
            hint = "one width of bins a question"
        else:
            finer = min(before.grain, key.grain, key=_FINEST.index)
            hint = f"GROUP BY {_written(Key(key.column, finer))} alone: each value names its year"
        self._text.refuse(f"{key.column} is grouped by twice, in two ways", element, hint=hint)


def _distinct(tables: Iterable[Table]) -> list[Table]:
    # dict and not set: it keeps their order.
    return list(dict.fromkeys(tables))


def _written(key: Key) -> str:
    return key.column if key.grain is Grain.DAY else f"{key.grain.name}({key.column})"


def _date_key(column_node: exp.Expr, grain: Grain, node: exp.Expr, scope: Scope) -> Key:
    column = scope.column(column_node)
    called = grain.name if type(node) in _FUNCTIONS else "DATE_TRUNC"
    if not isinstance(column, Date):
        dates = [other.name for other in scope.contract.columns if isinstance(other, Date)]
        hint = f"{called}({dates[0]})" if dates and called != "DATE_TRUNC" else f"dates: {', '.join(dates) or 'none'}"
        scope.text.refuse(f"{called} takes a date; {column.name} is a {column.kind}", column_node, hint=hint)
    if grain is Grain.DAY and column.grain == "month":
        scope.text.refuse(f"{column.name} has months, not days", node, hint=f"GROUP BY {column.name}")
    return Key(column.name, grain)


def _column_key(node: exp.Column, scope: Scope) -> Key:
    if node.name == FORCE and not node.args.get("table"):
        return Key(FORCE)
    column = scope.column(node)
    if isinstance(column, Category):
        return Key(column.name)
    if isinstance(column, Date):
        return Key(column.name, Grain.MONTH if column.grain == "month" else Grain.DAY)
    if isinstance(column, Identifier):
        counted = f"COUNT(DISTINCT {scope.contract.unit_column})" if scope.contract.unit_column else "COUNT(*)"
        scope.text.refuse(f"{column.name} is an identifier and cannot be grouped by", node, hint=counted)
    hint = f"GROUP BY BIN({column.name}, {_nice_width(column)})"
    scope.text.refuse(f"{column.name} is a number and is grouped by in bins", node, hint=hint)


def _bin_key(node: exp.Anonymous, scope: Scope) -> Key:
    if len(node.expressions) != 2:
        scope.text.refuse("BIN takes a number and the width of a bin", node, hint="BIN(age, 10)")
    column = scope.column(node.expressions[0])
    if not isinstance(column, Number):
        numbers = [other for other in scope.contract.columns if isinstance(other, Number)]
        hint = f"BIN({numbers[0].name}, {_nice_width(numbers[0])})" if numbers else f"GROUP BY {column.name}"
        scope.text.refuse(
            f"BIN takes a bounded number; {column.name} is a {column.kind}", node.expressions[0], hint=hint
        )
    width = number(node.expressions[1])
    nice = f"BIN({column.name}, {_nice_width(column)})"
    if width is None or width <= 0:
        scope.text.refuse("the width of a bin is a number above zero", node.expressions[1], hint=nice)
    wide = width / column.resolution
    if wide.denominator != 1:
        nearest = exact_text(max(1, round(wide)) * column.resolution)
        steps = f"{column.name} is kept in steps of {exact_text(column.resolution)} {column.unit}"
        hint = f"BIN({column.name}, {nearest})"
        scope.text.refuse(f"{steps}: a bin's width is a multiple of it", node.expressions[1], hint=hint)
    if wide > column.high - column.low + 1:
        scope.text.refuse(f"one bin would hold all of {column.name}", node.expressions[1], hint=nice)
    return Key(column.name, Grain.BIN, int(wide))


def _nice_width(column: Number) -> str:
    return exact_text(rounded_up((column.high - column.low) // _SOME_BINS + 1) * column.resolution)


def rounded_up(least: int) -> int:
    """The least of 1, 2, 5, 10, 20, 50, … that is not below `least`."""
    step = 1
    while True:
        for digit in (1, 2, 5):
            if digit * step >= least:
                return digit * step
        step *= 10
