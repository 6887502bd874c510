"""Expressions of a mapping: a small, safe part of SQL over the columns of one row.

They are read by a parser and built again from a closed list of parts, so that nothing in them can name a file,
another row or another table: each row of a snapshot depends on its own record alone. docs/privacy.md §1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from typing import Any

import ibis
import sqlglot
from sqlglot import expressions as sql

from cordon.errors import Misconfigured
from node.engine import DUCKDB, Engine, floor_of, function

MOST_LENGTH = 4000
"""Characters of an expression."""

Columns = Mapping[str, Any]
"""The row's columns by name: ibis values of text, number, truth, date or time."""

ReadDate = Callable[[Any, str | None], Any]
"""Makes a date of a text, in a format or in ISO 8601."""


def build(text: str, columns: Columns, read_date: ReadDate, engine: Engine = DUCKDB) -> Any:
    """The ibis value that an expression stands for.

    Raises:
        Misconfigured: the text is no expression, names a column that there is not, or holds anything else than the
            parts that docs/data.md lists.
    """
    return _Builder(text, columns, read_date, engine).value(_parse(text))


def names_in(text: str) -> tuple[str, ...]:
    """The columns that an expression names, in the order of their first places.

    Raises:
        Misconfigured: the text is no expression.
    """
    return tuple(dict.fromkeys(column.name for column in _parse(text).find_all(sql.Column, bfs=False)))


def _parse(text: str) -> sql.Expr:
    if len(text) > MOST_LENGTH:
        raise Misconfigured(f"an expression has more than {MOST_LENGTH} characters")
    try:
        (parsed,) = sqlglot.parse(f"SELECT {text}", dialect="postgres")
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        raise Misconfigured(
            f"the expression {text!r} cannot be read", hint="docs/data.md lists what it may hold"
        ) from None
    # A SELECT with nothing but one value: no FROM, WHERE, DISTINCT, LIMIT or anything else that has an argument.
    if (
        not isinstance(parsed, sql.Select)
        or len(parsed.expressions) != 1
        or any(value for name, value in parsed.args.items() if name != "expressions")
    ):
        raise Misconfigured(f"{text!r} is more than one expression", hint="docs/data.md lists what it may hold")
    value: sql.Expr = parsed.expressions[0]
    return value


class _Builder:
    """Builds one expression anew, part by part."""

    def __init__(self, text: str, columns: Columns, read_date: ReadDate, engine: Engine) -> None:
        self._written = text
        self._columns = columns
        self._read_date = read_date
        self._engine = engine

    def value(self, node: sql.Expr) -> Any:
        """What a part of the expression stands for."""
        make = _PARTS.get(type(node))
        # A word that is read and not looked at would change what somebody meant: every argument is on the list.
        given = {name for name, argument in node.args.items() if argument not in (None, False, [])}
        if make is None or not given <= _COMMON | _ARGUMENTS.get(type(node), frozenset()):
            raise self._refused(node)
        return make(self, node)

    def _refused(self, node: sql.Expr) -> Misconfigured:
        return Misconfigured(
            f"the expression {self._written!r} holds {node.sql(dialect='postgres')[:80]!r}, which a mapping may not",
            hint="docs/data.md lists what it may hold; a view in the source can do more",
        )

    # Leaves

    def column(self, node: sql.Column) -> Any:
        """A column of the row."""
        if node.table or node.name not in self._columns:
            near = ", ".join(sorted(self._columns)[:8])
            raise Misconfigured(
                f"the expression {self._written!r} names {node.name!r}, which the source does not have",
                hint=f"it has {near}, …",
            )
        return self._columns[node.name]

    def literal(self, node: sql.Literal) -> Any:
        """A text or a number."""
        if node.is_string:
            return ibis.literal(node.this)
        number = float(node.this)
        return ibis.literal(int(number) if number.is_integer() and "e" not in node.this.lower() else number)

    def truth(self, node: sql.Boolean) -> Any:
        """TRUE or FALSE."""
        return ibis.literal(bool(node.this))

    def nothing(self, _node: sql.Null) -> Any:
        """NULL."""
        return ibis.null("string")

    # Of any kind

    def inner(self, node: sql.Paren) -> Any:
        """A part in parentheses."""
        return self.value(node.this)

    def case(self, node: sql.Case) -> Any:
        """CASE WHEN … THEN … ELSE … END, with or without an operand."""
        otherwise = node.args.get("default")
        values = [branch.args["true"] for branch in node.args["ifs"]] + ([otherwise] if otherwise is not None else [])
        *kept, last = self._alike([self.value(value) for value in values])
        kept, last = (kept, last) if otherwise is not None else ([*kept, last], ibis.null(last.type()))
        operand = None if node.this is None else self.value(node.this)
        conditions = [
            self.value(branch.this) if operand is None else self._compare(operand, self.value(branch.this), "__eq__")
            for branch in node.args["ifs"]
        ]
        return ibis.cases(*zip(conditions, kept, strict=True), else_=last)

    def coalesce(self, node: sql.Coalesce) -> Any:
        """The first that is not missing."""
        return ibis.coalesce(*self._alike([self.value(node.this), *(self.value(part) for part in node.expressions)]))

    def nullif(self, node: sql.Nullif) -> Any:
        """Missing where both are alike."""
        left, right = self._alike([self.value(node.this), self.value(node.expression)])
        return left.nullif(right)

    def cast(self, node: sql.Cast) -> Any:
        """A number, whole number or text; missing where the value is none."""
        value, target = self.value(node.this), node.to.this
        if node.to.expressions:
            raise self._refused(node)
        if target in (sql.DataType.Type.TEXT, sql.DataType.Type.VARCHAR):
            return self._text(value)
        if target in (sql.DataType.Type.INT, sql.DataType.Type.BIGINT):
            return self._floor(value).try_cast("int64")
        if target in (sql.DataType.Type.DECIMAL, sql.DataType.Type.DOUBLE, sql.DataType.Type.FLOAT):
            return self._number(value)
        raise self._refused(node)

    # Texts

    def joined(self, node: sql.DPipe) -> Any:
        """Two texts, one after the other."""
        return self._text(self.value(node.this)) + self._text(self.value(node.expression))

    def upper(self, node: sql.Upper) -> Any:
        """In capitals."""
        return self._text(self.value(node.this)).upper()

    def lower(self, node: sql.Lower) -> Any:
        """In small letters."""
        return self._text(self.value(node.this)).lower()

    def trim(self, node: sql.Trim) -> Any:
        """Without blanks at both ends."""
        if node.args.get("expression") is not None:
            raise self._refused(node)
        return self._text(self.value(node.this)).strip()

    def length(self, node: sql.Length) -> Any:
        """Characters of a text."""
        return self._text(self.value(node.this)).length().cast("int64")

    def replace(self, node: sql.Replace) -> Any:
        """A text with each place of another replaced."""
        old, new = node.args.get("expression"), node.args.get("replacement")
        if not _is_text(old) or not _is_text(new):
            raise self._refused(node)
        return self._text(self.value(node.this)).replace(old.this, new.this)  # type: ignore[union-attr]

    def substring(self, node: sql.Substring) -> Any:
        """A part of a text, counted from 1."""
        start, length = node.args.get("start"), node.args.get("length")
        if not _is_whole(start) or int(start.this) < 1 or (length is not None and not _is_whole(length)):  # type: ignore[union-attr]
            raise self._refused(node)
        text = self._text(self.value(node.this))
        return text.substr(int(start.this) - 1, None if length is None else int(length.this))  # type: ignore[union-attr]

    # Numbers

    def arithmetic(self, node: sql.Binary) -> Any:
        """Plus, minus, times."""
        left, right = self._number(self.value(node.this)), self._number(self.value(node.expression))
        if type(node) is sql.Add:
            return left + right
        return left - right if type(node) is sql.Sub else left * right

    def quotient(self, node: sql.Div) -> Any:
        """One number by another; missing where that is zero."""
        return self._number(self.value(node.this)) / self._number(self.value(node.expression)).nullif(0.0)

    def negative(self, node: sql.Neg) -> Any:
        """A number with its sign turned."""
        return -self._number(self.value(node.this))

    def rounded(self, node: sql.Round) -> Any:
        """To the nearest whole number, or to so many decimals."""
        places = node.args.get("decimals")
        if places is not None and not _is_whole(places):
            raise self._refused(node)
        # Engines round to places each in its own way, and to whole numbers in one.
        number, scale = self._number(self.value(node.this)), 10.0 ** (0 if places is None else int(places.this))
        return function("round", ("float64",), "float64")(number * scale) / scale

    def floor(self, node: sql.Floor) -> Any:
        """The whole number below."""
        return self._floor(self.value(node.this))

    def absolute(self, node: sql.Abs) -> Any:
        """Without its sign."""
        return self._number(self.value(node.this)).abs()

    # Dates

    def date(self, node: sql.Expr) -> Any:
        """DATE(text) or DATE(text, format): the day of a text."""
        given = node.args.get("expression") or node.args.get("zone")
        if given is not None and not _is_text(given):
            raise self._refused(node)
        return self._read_date(self.value(node.this), None if given is None else given.this)

    def function(self, node: sql.Anonymous) -> Any:
        """YEARS_BETWEEN(from, to), or DATE with a format."""
        parts = node.expressions
        if node.name.upper() == "YEARS_BETWEEN" and len(parts) == 2:
            start, end = (self._read_date(self.value(part), None) for part in parts)
            before = end.month() * 100 + end.day() < start.month() * 100 + start.day()
            return (end.year() - start.year() - before.cast("int32")).cast("int64")
        raise self._refused(node)

    # Conditions

    def compared(self, node: sql.Binary) -> Any:
        """=, <>, <, <=, >, >=."""
        return self._compare(self.value(node.this), self.value(node.expression), _COMPARISONS[type(node)])

    def both(self, node: sql.And) -> Any:
        """AND."""
        return reduce(and_, [self._condition(self.value(part)) for part in node.flatten()])

    def either(self, node: sql.Or) -> Any:
        """OR."""
        return reduce(or_, [self._condition(self.value(part)) for part in node.flatten()])

    def turned(self, node: sql.Not) -> Any:
        """NOT."""
        return ~self._condition(self.value(node.this))

    def among(self, node: sql.In) -> Any:
        """IN (…)."""
        if not node.expressions:
            raise self._refused(node)
        value = self.value(node.this)
        return reduce(or_, [self._compare(value, self.value(part), "__eq__") for part in node.expressions])

    def between(self, node: sql.Between) -> Any:
        """BETWEEN … AND …."""
        value = self.value(node.this)
        low, high = self.value(node.args["low"]), self.value(node.args["high"])
        return self._compare(value, low, "__ge__") & self._compare(value, high, "__le__")

    def like(self, node: sql.Like) -> Any:
        """LIKE, with % and _."""
        if not _is_text(node.expression):
            raise self._refused(node)
        found = self._text(self.value(node.this)).like(node.expression.this)
        return ~found if node.args.get("negate") else found

    def missing(self, node: sql.Is) -> Any:
        """IS NULL and IS NOT NULL."""
        if type(node.expression) is not sql.Null:
            raise self._refused(node)
        value = self.value(node.this)
        return value.notnull() if node.args.get("negate") else value.isnull()

    # What a value is taken as

    def _text(self, value: Any) -> Any:
        return self._engine.text_of(value)

    def _number(self, value: Any) -> Any:
        if value.type().is_numeric():
            return value.cast("float64")
        if value.type().is_boolean():
            return value.cast("int32").cast("float64")
        return self._engine.number_of(self._text(value).strip())

    def _floor(self, value: Any) -> Any:
        return floor_of(self._number(value))

    def _condition(self, value: Any) -> Any:
        return value if value.type().is_boolean() else self._text(value).lower().isin(["true", "t", "1", "y", "yes"])

    def _alike(self, values: list[Any]) -> list[Any]:
        """Values of one kind: as they are where they are alike, as numbers where all are, else as texts."""
        kinds = {str(value.type()).removeprefix("!").replace("!", "") for value in values}
        if len(kinds) == 1:
            return values
        if all(value.type().is_numeric() for value in values):
            return [self._number(value) for value in values]
        return [self._text(value) for value in values]

    def _compare(self, left: Any, right: Any, how: str) -> Any:
        if left.type().is_numeric() or right.type().is_numeric():
            left, right = self._number(left), self._number(right)
        elif (
            left.type().is_temporal() != right.type().is_temporal()
            or left.type().is_boolean() != right.type().is_boolean()
        ):
            left, right = self._text(left), self._text(right)
        return getattr(left, how)(right)


_COMPARISONS: dict[type[sql.Expr], str] = {
    sql.EQ: "__eq__", sql.NEQ: "__ne__", sql.LT: "__lt__", sql.LTE: "__le__", sql.GT: "__gt__", sql.GTE: "__ge__",
}  # fmt: skip

_PARTS: dict[type[sql.Expr], Callable[[_Builder, Any], Any]] = {
    sql.Column: _Builder.column, sql.Literal: _Builder.literal, sql.Boolean: _Builder.truth, sql.Null: _Builder.nothing,
    sql.Paren: _Builder.inner, sql.Case: _Builder.case, sql.Coalesce: _Builder.coalesce, sql.Nullif: _Builder.nullif,
    sql.Cast: _Builder.cast, sql.DPipe: _Builder.joined, sql.Upper: _Builder.upper, sql.Lower: _Builder.lower,
    sql.Trim: _Builder.trim, sql.Length: _Builder.length, sql.Replace: _Builder.replace,
    sql.Substring: _Builder.substring, sql.Add: _Builder.arithmetic, sql.Sub: _Builder.arithmetic,
    sql.Mul: _Builder.arithmetic, sql.Div: _Builder.quotient, sql.Neg: _Builder.negative, sql.Round: _Builder.rounded,
    sql.Floor: _Builder.floor, sql.Abs: _Builder.absolute, sql.Date: _Builder.date, sql.Anonymous: _Builder.function,
    sql.EQ: _Builder.compared, sql.NEQ: _Builder.compared, sql.LT: _Builder.compared, sql.LTE: _Builder.compared,
    sql.GT: _Builder.compared, sql.GTE: _Builder.compared, sql.And: _Builder.both, sql.Or: _Builder.either,
    sql.Not: _Builder.turned, sql.In: _Builder.among, sql.Between: _Builder.between, sql.Like: _Builder.like,
    sql.Is: _Builder.missing,
}  # fmt: skip


_COMMON = frozenset({"this", "expression", "expressions"})
_ARGUMENTS: dict[type[sql.Expr], frozenset[str]] = {
    sql.Between: frozenset({"low", "high"}),
    sql.Case: frozenset({"ifs", "default"}),
    sql.Cast: frozenset({"to", "_type"}),
    sql.DPipe: frozenset({"safe"}),
    sql.Date: frozenset({"zone"}),
    sql.Div: frozenset({"typed", "safe"}),
    sql.Is: frozenset({"negate"}),
    sql.Like: frozenset({"negate"}),
    sql.Literal: frozenset({"is_string"}),
    sql.Replace: frozenset({"replacement"}),
    sql.Round: frozenset({"decimals"}),
    sql.Substring: frozenset({"start", "length"}),
}
"""What a part may have beside its operands."""


def _is_text(node: sql.Expr | None) -> bool:
    return type(node) is sql.Literal and node.is_string


def _is_whole(node: sql.Expr | None) -> bool:
    return type(node) is sql.Literal and not node.is_string and node.this.isdecimal()
