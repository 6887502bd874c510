"""Expressions of a mapping: a small, safe part of SQL over the columns of one row.

They are read by a parser and built again from a closed list of parts, so that nothing in them can name a file,
another row or another table: each row of a snapshot depends on its own record alone. docs/privacy.md §1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import add, and_, or_
from typing import Any

import ibis
import sqlglot
from sqlglot import expressions as sql

from cordon.errors import Misconfigured
from node.engine import DUCKDB, Engine
from node.values import LARGEST_WHOLE, REFUSALS, Values, chained, literal_in, size_of, turned

MOST_LENGTH = 4000
"""Characters of an expression."""

MOST_PARTS, MOST_DEPTH = 16_000, 120
"""Of a compiled expression, each part as often as it is written: what is larger or deeper takes an engine too long."""

MOST_PLACES = 15
"""Decimals that a number can be rounded to: a float has no more."""

Columns = Mapping[str, Any]
"""The row's columns by name: ibis values of text, number, truth, date or time."""


def build(text: str, columns: Columns, engine: Engine = DUCKDB) -> Any:
    """The ibis value that an expression stands for.

    Raises:
        Misconfigured: the text is no expression, names a column that there is not, holds anything else than the
            parts that docs/data.md lists, or compares what cannot be compared.
    """
    try:
        value = _Builder(text, columns, engine).value(_parse(text))
        parts, depth = size_of(value)
    except (*REFUSALS, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        # ibis says what it will not take in many ways, each with a text for programmers.
        raise Misconfigured(
            f"the expression {text!r} cannot be made of these columns", hint="docs/data.md lists what it may hold"
        ) from None
    if parts > MOST_PARTS or depth > MOST_DEPTH:
        raise Misconfigured(
            f"the expression {text[:80]!r} is too long, or has too much within one another",
            hint="make it shorter; a view in the source can do more",
        )
    return value


@lru_cache(256)
def kind_over_texts(text: str) -> str:
    """The ibis type of an expression where every column is a text: what can be said before a source is read.

    Raises:
        Misconfigured: as for `build`.
    """
    names = names_in(text)
    columns = ibis.table(dict.fromkeys(names or ("nothing",), "string"), name="records")
    return str(build(text, {name: columns[name] for name in names}).type()).removeprefix("!")


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

    def __init__(self, text: str, columns: Columns, engine: Engine) -> None:
        self._written = text
        self._columns = columns
        self._engine = engine
        self._values = Values(text, engine)

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
        value = self._columns[node.name]
        return self._engine.trimmed(value) if value.type().is_string() else value

    def literal(self, node: sql.Literal) -> Any:
        """A text or a number."""
        return ibis.literal(node.this) if node.is_string else self._figures(node, 1)

    def _figures(self, node: sql.Literal, sign: int) -> Any:
        # Not by way of a float: long numbers would become others.
        if node.this.isdecimal():
            whole = sign * int(node.this)
            if -LARGEST_WHOLE - 1 <= whole <= LARGEST_WHOLE:
                return ibis.literal(whole, type="int64")
        elif math.isfinite(number := sign * float(node.this)):
            return ibis.literal(number)
        raise Misconfigured(f"the expression {self._written!r} holds a number beyond 64 bits")

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
        branches, otherwise = node.args["ifs"], node.args.get("default")
        given = [self.value(branch.args["true"]) for branch in branches]
        *kept, last = self._values.alike([*given, ibis.null("string") if otherwise is None else self.value(otherwise)])
        if node.this is None:
            conditions = [self._condition(branch.this) for branch in branches]
        else:
            operand = self.value(node.this)
            conditions = [self._values.compare(operand, self.value(branch.this), "__eq__") for branch in branches]
        return ibis.cases(*zip(conditions, kept, strict=True), else_=last)

    def coalesce(self, node: sql.Coalesce) -> Any:
        """The first that is not missing."""
        *first, last = self._values.alike([self.value(node.this), *(self.value(part) for part in node.expressions)])
        return ibis.coalesce(*(self._values.filled(value) for value in first), last)

    def nullif(self, node: sql.Nullif) -> Any:
        """Missing where both are alike."""
        left, right = self.value(node.this), self.value(node.expression)
        if literal_in(right) == "":
            return self._values.known(left)
        return ibis.cases((self._values.compare(left, right, "__eq__"), ibis.null(left.type())), else_=left)

    def cast(self, node: sql.Cast) -> Any:
        """A number, whole number or text; missing where the value is none."""
        value, target = self.value(node.this), node.to.this
        if node.to.expressions:
            raise self._refused(node)
        if target in (sql.DataType.Type.TEXT, sql.DataType.Type.VARCHAR):
            return self._values.text(value)
        if target in (sql.DataType.Type.INT, sql.DataType.Type.BIGINT):
            return self._values.whole(value)
        if target in (sql.DataType.Type.DECIMAL, sql.DataType.Type.DOUBLE, sql.DataType.Type.FLOAT):
            return value if value.type().is_integer() else self._values.number(value)
        raise self._refused(node)

    # Texts

    def joined(self, node: sql.DPipe) -> Any:
        """Texts, one after the other."""
        return chained(add, [self._text(part) for part in node.flatten()])

    def upper(self, node: sql.Upper) -> Any:
        """In capitals."""
        return self._text(node.this).upper()

    def lower(self, node: sql.Lower) -> Any:
        """In small letters."""
        return self._text(node.this).lower()

    def trim(self, node: sql.Trim) -> Any:
        """Without blanks at both ends."""
        if node.args.get("expression") is not None:
            raise self._refused(node)
        return self._engine.trimmed(self._text(node.this))

    def length(self, node: sql.Length) -> Any:
        """Characters of a text."""
        return self._text(node.this).length().cast("int64")

    def replace(self, node: sql.Replace) -> Any:
        """A text with each place of another replaced."""
        old, new = node.args.get("expression"), node.args.get("replacement")
        if not _is_text(old) or not _is_text(new):
            raise self._refused(node)
        return self._text(node.this).replace(old.this, new.this)  # type: ignore[union-attr]

    def substring(self, node: sql.Substring) -> Any:
        """A part of a text, counted from 1."""
        start, length = node.args.get("start"), node.args.get("length")
        if not _is_whole(start) or int(start.this) < 1 or (length is not None and not _is_whole(length)):  # type: ignore[union-attr]
            raise self._refused(node)
        text = self._text(node.this)
        return text.substr(int(start.this) - 1, None if length is None else int(length.this))  # type: ignore[union-attr]

    # Numbers

    def arithmetic(self, node: sql.Binary) -> Any:
        """Plus, minus, times."""
        return self._values.reckoned(self.value(node.this), self.value(node.expression), _ARITHMETIC[type(node)])

    def quotient(self, node: sql.Div) -> Any:
        """One number by another; missing where that is zero."""
        return self._number(node.this) / self._number(node.expression).nullif(0.0)

    def negative(self, node: sql.Neg) -> Any:
        """A number with its sign turned."""
        if type(node.this) is sql.Literal and not node.this.is_string:
            return self._figures(node.this, -1)
        return self._values.negative(self.value(node.this))

    def rounded(self, node: sql.Round) -> Any:
        """To the nearest whole number, or to so many decimals."""
        places = node.args.get("decimals")
        if places is not None and (not _is_whole(places) or int(places.this) > MOST_PLACES):
            raise self._refused(node)
        return self._values.rounded(self.value(node.this), 0 if places is None else int(places.this))

    def floor(self, node: sql.Floor) -> Any:
        """The whole number below."""
        return self._values.below(self.value(node.this))

    def absolute(self, node: sql.Abs) -> Any:
        """Without its sign."""
        return self._values.absolute(self.value(node.this))

    # Dates

    def date(self, node: sql.Expr) -> Any:
        """DATE(text) or DATE(text, format): the day of a text."""
        given = node.args.get("expression") or node.args.get("zone")
        if given is not None and not _is_text(given):
            raise self._refused(node)
        return self._values.day(self.value(node.this), None if given is None else given.this)

    def function(self, node: sql.Anonymous) -> Any:
        """YEARS_BETWEEN(from, to)."""
        parts = node.expressions
        if node.name.upper() == "YEARS_BETWEEN" and len(parts) == 2:
            start, end = (self._values.day(self.value(part)) for part in parts)
            before = end.month() * 100 + end.day() < start.month() * 100 + start.day()
            return (end.year() - start.year() - before.cast("int32")).cast("int64")
        raise self._refused(node)

    # Conditions

    def compared(self, node: sql.Binary) -> Any:
        """=, <>, <, <=, >, >=."""
        return self._values.compare(self.value(node.this), self.value(node.expression), _COMPARISONS[type(node)])

    def both(self, node: sql.And) -> Any:
        """AND."""
        return chained(and_, [self._condition(part) for part in node.flatten()])

    def either(self, node: sql.Or) -> Any:
        """OR."""
        return chained(or_, [self._condition(part) for part in node.flatten()])

    def turned(self, node: sql.Not) -> Any:
        """NOT."""
        return turned(self._condition(node.this))

    def among(self, node: sql.In) -> Any:
        """IN (…)."""
        if not node.expressions:
            raise self._refused(node)
        return self._values.among(self.value(node.this), [self.value(part) for part in node.expressions])

    def between(self, node: sql.Between) -> Any:
        """BETWEEN … AND …."""
        value = self.value(node.this)
        low, high = self.value(node.args["low"]), self.value(node.args["high"])
        return self._values.compare(value, low, "__ge__") & self._values.compare(value, high, "__le__")

    def like(self, node: sql.Like) -> Any:
        """LIKE, with % and _."""
        # Engines differ in what a backslash in a pattern does.
        if not _is_text(node.expression) or "\\" in node.expression.this:
            raise self._refused(node)
        found = self._values.present(self._text(node.this)).like(node.expression.this).fill_null(False)
        return turned(found) if node.args.get("negate") else found

    def missing(self, node: sql.Is) -> Any:
        """IS NULL and IS NOT NULL, of a value: a condition is never missing."""
        if type(node.expression) is not sql.Null:
            raise self._refused(node)
        if isinstance(node.this.unnest(), _CONDITIONS):
            raise Misconfigured(
                f"the expression {self._written!r} asks whether a condition is missing, and none ever is",
                hint="ask it of the column",
            )
        value = self._values.known(self.value(node.this))
        return value.notnull() if node.args.get("negate") else value.isnull()

    # What a part is taken as

    def _text(self, node: sql.Expr) -> Any:
        return self._values.text(self.value(node))

    def _number(self, node: sql.Expr) -> Any:
        return self._values.number(self.value(node))

    def _condition(self, node: sql.Expr) -> Any:
        return self._values.condition(self.value(node))


_ARITHMETIC: dict[type[sql.Expr], str] = {sql.Add: "__add__", sql.Sub: "__sub__", sql.Mul: "__mul__"}

_CONDITIONS = (
    sql.EQ, sql.NEQ, sql.LT, sql.LTE, sql.GT, sql.GTE, sql.And, sql.Or, sql.Not, sql.In, sql.Between, sql.Like, sql.Is,
)  # fmt: skip

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
