"""The analyst's SQL: a small, honest subset, read into a typed question. The only import of sqlglot.

Nodes never see SQL. Whatever is outside the subset is refused with a caret under the offending token
and a hint. docs/query.md lists the subset.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from cordon.contract import FORCE, Category, Contract, Date, Identifier, Number, day, days, next_month
from cordon.errors import QuestionRefused
from cordon.query.model import (
    All,
    Grain,
    Key,
    Measure,
    MeasureKind,
    Member,
    Predicate,
    Question,
    Range,
    Some,
)

MOST_CHARACTERS = 20_000

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_CLAUSES = {"expressions", "from_", "where", "group", "order", "limit"}
_NOTHING = (1, 0)
"""A range that no value lies in."""


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the answer: a key or a measure of the question, under a name."""

    name: str
    is_measure: bool
    at: int
    """Index into the question's measures or keys."""


@dataclass(frozen=True, slots=True)
class Order:
    """Sort rows by one output, after the noise."""

    output: int
    descending: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """What was typed: the question that travels, and how its answer is to be shown, which does not."""

    sql: str
    question: Question
    outputs: tuple[Output, ...]
    order: tuple[Order, ...]
    limit: int | None


def parse_sql(sql: str, contracts: Mapping[str, Contract], forces: Sequence[str]) -> Statement:
    """Read one SELECT.

    Args:
        contracts: newest contract of each data set, by name.
        forces: the federation's forces; all are asked unless `WHERE force …` narrows them.

    Raises:
        QuestionRefused: outside the subset, with position and hint.
    """
    return _Reader(sql, contracts, forces).statement()


class _Reader:
    def __init__(self, sql: str, contracts: Mapping[str, Contract], forces: Sequence[str]) -> None:
        self._sql = sql
        self._contracts = contracts
        self._forces = tuple(sorted(forces, key=str.encode))

    def statement(self) -> Statement:
        select = self._select()
        self._contract = contract = self._dataset(select)
        keys, key_nodes = self._keys(select)
        measures: list[Measure] = []
        outputs = tuple(self._output(node, keys, key_nodes, measures) for node in select.expressions)
        if not measures:
            self._refuse("there is nothing to measure", select, hint="add COUNT(*) or SUM(…) to the SELECT list")
        where, forces = self._where(select.args.get("where"))
        question = Question(contract.dataset, contract.version, tuple(measures), where, tuple(keys), forces)
        return Statement(
            self._sql, question, outputs, self._order(select, outputs), self._limit(select.args.get("limit"))
        )

    # Clauses

    def _select(self) -> exp.Select:
        if len(self._sql) > MOST_CHARACTERS:
            raise QuestionRefused(f"the statement is longer than {MOST_CHARACTERS} characters")
        statements = [found for found in self._parsed() if found is not None]
        if not statements:
            raise QuestionRefused("the statement is empty", hint="try: SELECT COUNT(*) FROM stop_search")
        if len(statements) > 1:
            self._refuse("one statement at a time", statements[1])
        select = statements[0]
        if not isinstance(select, exp.Select):
            self._refuse("only a SELECT can be asked", select)
        for clause, value in select.args.items():
            if value and clause not in _CLAUSES:
                node = value[0] if isinstance(value, list) else value
                name = clause.rstrip("s_").upper()
                self._refuse(
                    f"{name} cannot be asked", node if isinstance(node, exp.Expr) else select,
                    hint="one data set; WHERE, GROUP BY, ORDER BY and LIMIT",
                )  # fmt: skip
        return select

    def _parsed(self) -> list[exp.Expr | None]:
        try:
            for token in sqlglot.tokenize(self._sql):
                # Parsed, but not told from what stands there by default: it would be ignored silently.
                if token.text.upper() == "NULLS" and self._sql[token.start : token.start + 5].upper() == "NULLS":
                    self._refuse_at("NULLS FIRST and NULLS LAST cannot be asked", token.start, token.end + 1)
            return sqlglot.parse(self._sql)
        except TokenError:
            start = max(self._sql.rfind("'"), self._sql.rfind('"'), 0)
            self._refuse_at("a quote or comment is not closed", start, len(self._sql))
        except ParseError as error:
            first = error.errors[0]
            word = str(first.get("highlight") or "")
            start = self._offset(int(first.get("line") or 1), int(first.get("col") or 1)) - len(word)
            self._refuse_at(f"not SQL: {first.get('description')}", start, start + max(1, len(word)))
        except RecursionError:
            raise QuestionRefused("the statement is nested too deep") from None

    def _offset(self, line: int, column: int) -> int:
        lines = self._sql.split("\n")
        return sum(len(text) + 1 for text in lines[: line - 1]) + column

    def _dataset(self, select: exp.Select) -> Contract:
        source = select.args.get("from_")
        if source is None:
            self._refuse("FROM is missing", select, hint=f"data sets: {', '.join(sorted(self._contracts))}")
        table = source.this
        extra = {name for name, value in table.args.items() if value and name != "this"}
        if not isinstance(table, exp.Table) or extra:
            self._refuse("FROM names one data set, and nothing else beside it", table)
        if table.name not in self._contracts:
            self._refuse(f"there is no data set {table.name!r}", table, hint=_closest(table.name, self._contracts))
        return self._contracts[table.name]

    def _keys(self, select: exp.Select) -> tuple[list[Key], list[exp.Expr]]:
        group = select.args.get("group")
        if group is None:
            return [], []
        for clause, value in group.args.items():
            if value and clause != "expressions":
                self._refuse(f"{clause.upper()} cannot be asked", group, hint="GROUP BY columns, MONTH(date) or force")
        nodes = [self._resolved(node, select.expressions) for node in group.expressions]
        return [self._key(node) for node in nodes], nodes

    def _resolved(self, node: exp.Expr, selected: list[exp.Expr]) -> exp.Expr:
        """What an ordinal or an alias of the SELECT list stands for; other nodes as they are."""
        if isinstance(node, exp.Literal) and not node.is_string:
            at = int(node.name) if node.name.isdigit() else 0
            if not 1 <= at <= len(selected):
                self._refuse(f"the SELECT list has {len(selected)} columns", node)
            return selected[at - 1].unalias()
        if isinstance(node, exp.Column) and not self._has_column(node.name):
            named = [item for item in selected if isinstance(item, exp.Alias) and item.alias == node.name]
            if named:
                return named[0].unalias()
        return node

    def _has_column(self, name: str) -> bool:
        return name == FORCE or any(column.name == name for column in self._contract.columns)

    def _key(self, node: exp.Expr) -> Key:
        month = _month_of(node)
        if month is not None:
            column = self._column(month)
            if not isinstance(column, Date):
                self._refuse(f"MONTH takes a date; {column.name} is a {column.kind}", node)
            return Key(column.name, Grain.MONTH)
        if not isinstance(node, exp.Column):
            self._refuse("group by a column, MONTH(date) or force", node)
        if node.name == FORCE:
            return Key(FORCE)
        column = self._column(node)
        if isinstance(column, Date) and column.grain == "month":
            return Key(column.name, Grain.MONTH)
        if isinstance(column, Date):
            self._refuse(f"{column.name} has too many days to group by", node, hint=f"GROUP BY MONTH({column.name})")
        if not isinstance(column, Category):
            self._refuse(f"{column.name} is a {column.kind} and cannot be grouped by", node)
        return Key(column.name)

    def _output(self, node: exp.Expr, keys: list[Key], key_nodes: list[exp.Expr], measures: list[Measure]) -> Output:
        inner = node.unalias()
        name = node.alias or inner.sql().lower()
        measure = self._measure(inner)
        if measure is not None:
            if measure not in measures:
                measures.append(measure)
            return Output(name, is_measure=True, at=measures.index(measure))
        if inner in key_nodes:
            return Output(name, is_measure=False, at=key_nodes.index(inner))
        if isinstance(inner, exp.Column) or _month_of(inner) is not None:
            key = self._key(inner)
            if key in keys:
                return Output(name, is_measure=False, at=keys.index(key))
            self._refuse(f"{inner.sql()} is selected but not grouped by", inner, hint=f"add GROUP BY {inner.sql()}")
        self._refuse(
            f"{inner.sql()} cannot be asked",
            inner,
            hint="COUNT(*), COUNT(DISTINCT unit), SUM(number), or a key of GROUP BY",
        )

    def _measure(self, node: exp.Expr) -> Measure | None:
        if isinstance(node, exp.Count):
            return self._count(node)
        if isinstance(node, exp.Sum):
            column = self._column(node.this)
            if not isinstance(column, Number):
                numbers = [c.name for c in self._contract.columns if isinstance(c, Number)]
                self._refuse(
                    f"SUM takes a bounded number; {column.name} is a {column.kind}", node.this,
                    hint=f"numbers: {', '.join(numbers)}" if numbers else f"{self._contract.dataset} has no numbers",
                )  # fmt: skip
            return Measure(MeasureKind.SUM, column.name)
        return None

    def _count(self, node: exp.Count) -> Measure:
        if isinstance(node.this, exp.Star):
            return Measure(MeasureKind.COUNT)
        unit = self._contract.unit_column
        if isinstance(node.this, exp.Distinct) and len(node.this.expressions) == 1:
            column = node.this.expressions[0]
            if unit is None:
                self._refuse(f"in {self._contract.dataset} each row is its own unit", column, hint="use COUNT(*)")
            if isinstance(column, exp.Column) and column.name == unit:
                return Measure(MeasureKind.COUNT_UNIT)
            self._refuse(f"only the privacy unit can be counted apart: {unit}", column, hint=f"COUNT(DISTINCT {unit})")
        self._refuse("COUNT takes * or DISTINCT and the privacy unit", node, hint="COUNT(*)")

    def _order(self, select: exp.Select, outputs: tuple[Output, ...]) -> tuple[Order, ...]:
        order = select.args.get("order")
        if order is None:
            return ()
        return tuple(self._ordered(item, select, outputs) for item in order.expressions)

    def _ordered(self, item: exp.Expr, select: exp.Select, outputs: tuple[Output, ...]) -> Order:
        node = item.this
        descending = bool(item.args.get("desc"))
        if isinstance(node, exp.Column):
            named = [at for at, output in enumerate(outputs) if output.name == node.name]
            if named:
                return Order(named[0], descending)
        wanted = self._resolved(node, select.expressions)
        for at, selected in enumerate(select.expressions):
            if selected.unalias() == wanted:
                return Order(at, descending)
        self._refuse("ORDER BY names a column of the SELECT list", node)

    def _limit(self, limit: exp.Expr | None) -> int | None:
        if limit is None:
            return None
        value = limit.args.get("expression")
        if not isinstance(value, exp.Literal) or not value.name.isdigit() or int(value.name) < 1:
            self._refuse("LIMIT takes a whole number above zero", limit)
        return int(value.name)

    # Predicates

    def _where(self, where: exp.Expr | None) -> tuple[Predicate | None, tuple[str, ...]]:
        forces = set(self._forces)
        parts: list[Predicate] = []
        for node in _conjuncts(where.this) if where is not None else []:
            chosen = self._chosen_forces(node)
            if chosen is None:
                parts.append(self._predicate(node, negated=False))
            else:
                forces &= chosen
        if not forces:
            self._refuse("no force is left to ask", where or exp.Null())
        return (_combined(All, parts) if parts else None), tuple(f for f in self._forces if f in forces)

    def _chosen_forces(self, node: exp.Expr) -> set[str] | None:
        """The forces that a condition on `force` leaves; None for a condition on records."""
        if not any(column.name == FORCE for column in node.find_all(exp.Column)):
            return None
        inner, negated = (node.this.unnest(), True) if isinstance(node, exp.Not) else (node, False)
        if isinstance(inner, exp.In) and inner.args.get("query") is None and _is_column(inner.this, FORCE):
            named = {self._force(item) for item in inner.expressions}
        elif isinstance(inner, exp.EQ | exp.NEQ) and _is_column(inner.this, FORCE):
            named = {self._force(inner.expression)}
            negated ^= isinstance(inner, exp.NEQ)
        else:
            self._refuse("force is picked by =, <>, IN or NOT IN, joined by AND to the rest", node)
        return set(self._forces) - named if negated else named

    def _force(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Literal) or not node.is_string:
            self._refuse("a force is named in quotes", node)
        if node.name not in self._forces:
            self._refuse(f"there is no force {node.name!r}", node, hint=_closest(node.name, self._forces))
        return node.name

    def _predicate(self, node: exp.Expr, *, negated: bool) -> Predicate:
        node = node.unnest()
        if isinstance(node, exp.Not):
            return self._predicate(node.this, negated=not negated)
        if isinstance(node, exp.And | exp.Or):
            parts = [self._predicate(part, negated=negated) for part in (node.left, node.right)]
            return _combined(All if isinstance(node, exp.And) != negated else Some, parts)
        if type(node) in _COMPARISONS:
            return self._comparison(node, negated)
        if isinstance(node, exp.Between):
            return self._between(node, negated)
        if isinstance(node, exp.In) and node.expressions and node.args.get("query") is None:
            return self._in(node, negated)
        self._refuse(f"{node.sql()} cannot be a condition", node, hint="=, <>, <, <=, >, >=, BETWEEN, IN, AND, OR, NOT")

    def _comparison(self, node: exp.Expr, negated: bool) -> Predicate:
        sign = _COMPARISONS[type(node)]
        left, right = node.args["this"], node.args["expression"]
        if not isinstance(left, exp.Column):
            left, right, sign = right, left, _MIRRORED[sign]
        column = self._column(left)
        sign = _NEGATED[sign] if negated else sign
        if isinstance(column, Category):
            if sign not in ("=", "<>"):
                self._refuse(f"{column.name} is a category: its codes have no order", node, hint="use = or IN")
            return self._member(column, {self._code(right, column)}, sign == "<>", node)
        return self._range(column, sign, right)

    def _between(self, node: exp.Between, negated: bool) -> Predicate:
        column = self._column(node.this)
        if node.args.get("symmetric"):
            self._refuse("BETWEEN takes the lower bound first; SYMMETRIC cannot be asked", node)
        low, high = node.args["low"], node.args["high"]
        if isinstance(column, Category):
            self._refuse(f"{column.name} is a category: its codes have no order", node, hint="use IN")
        if negated:
            return _combined(Some, [self._range(column, "<", low), self._range(column, ">", high)])
        return _combined(All, [self._range(column, ">=", low), self._range(column, "<=", high)])

    def _in(self, node: exp.In, negated: bool) -> Predicate:
        column = self._column(node.this)
        if isinstance(column, Category):
            return self._member(column, {self._code(item, column) for item in node.expressions}, negated, node)
        parts = [self._range(column, "<>" if negated else "=", item) for item in node.expressions]
        return _combined(All if negated else Some, parts)

    def _member(self, column: Category, codes: set[str], negated: bool, node: exp.Expr) -> Predicate:
        wanted = set(column.positions) - codes if negated else codes
        if not wanted:
            self._refuse("the condition matches nothing", node)
        return Member(column.name, tuple(sorted(wanted)))

    def _range(self, column: Number | Date | Identifier, sign: str, node: exp.Expr) -> Predicate:
        if isinstance(column, Number):
            low, high = self._number(node, column)
        elif isinstance(column, Date):
            low, high = self._dates(node, column)
        else:
            self._refuse(f"{column.name} is an identifier and cannot be filtered by", node)
        return _compared(column.name, sign, low, high)

    # Values

    def _column(self, node: exp.Expr) -> Category | Date | Number | Identifier:
        if not isinstance(node, exp.Column) or node.args.get("table"):
            self._refuse("a column's name is needed here", node)
        if not self._has_column(node.name) or node.name == FORCE:
            names = [column.name for column in self._contract.columns]
            self._refuse(f"{self._contract.dataset} has no column {node.name!r}", node, hint=_closest(node.name, names))
        return self._contract.column(node.name)

    def _code(self, node: exp.Expr, column: Category) -> str:
        if not isinstance(node, exp.Literal) or not node.is_string:
            self._refuse(f"{column.name} is compared with a code in quotes", node)
        labels = {code.label.casefold(): code.code for code in column.codes}
        if node.name in column.positions:
            return node.name
        if node.name.casefold() in labels:
            return labels[node.name.casefold()]
        codes = [code.code for code in column.codes]
        self._refuse(f"{column.name} has no code {node.name!r}", node, hint=_closest(node.name, codes))

    def _number(self, node: exp.Expr, column: Number) -> tuple[Fraction, Fraction]:
        sign, inner = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
        if not isinstance(inner, exp.Literal) or inner.is_string:
            self._refuse(f"{column.name} is compared with a number", node)
        try:
            value = sign * Fraction(inner.name) / column.resolution
        except ValueError:
            self._refuse(f"{inner.name} is not a number", node)
        # Beyond its bounds a column has no values, so a bound stands for all that lies further out.
        value = max(Fraction(column.low - 1), min(Fraction(column.high + 1), value))
        return value, value

    def _dates(self, node: exp.Expr, column: Date) -> tuple[Fraction, Fraction]:
        literal = node.this if isinstance(node, exp.Cast) and node.to.sql().upper() == "DATE" else node
        if not isinstance(literal, exp.Literal) or not literal.is_string:
            self._refuse(f"{column.name} is compared with a date in quotes", node, hint="'2020-01-31' or '2020-01'")
        text = literal.name
        try:
            first = date.fromisoformat(text if len(text) != 7 else f"{text}-01")
            last = day(days(next_month(first)) - 1) if len(text) == 7 else first
        except ValueError:
            self._refuse(f"{text!r} is not a date", node, hint="'2020-01-31' or '2020-01'")
        if column.grain == "month" and len(text) != 7:
            self._refuse(f"{column.name} has months, not days", node, hint=f"'{first:%Y-%m}'")
        return Fraction(days(first)), Fraction(days(last))

    # Refusals

    def _refuse(self, message: str, node: exp.Expr, *, hint: str = "") -> NoReturn:
        start, end = _span(node)
        self._refuse_at(message, start, end or len(self._sql), hint=hint)

    def _refuse_at(self, message: str, start: int, end: int, *, hint: str = "") -> NoReturn:
        raise QuestionRefused(message, hint=hint, sql=self._sql, start=max(0, start), end=min(end, len(self._sql)))


def _compared(column: str, sign: str, low: Fraction, high: Fraction) -> Predicate:
    """A comparison with what lies in [low, high], as a range of whole values."""
    below, above = math.ceil(low) - 1, math.floor(high) + 1
    if sign == "=":
        return Range(column, *((below + 1, above - 1) if below + 1 < above else _NOTHING))
    if sign == "<>" and below + 1 >= above:
        return Range(column, None, None)
    if sign == "<>":
        return Some((Range(column, None, below), Range(column, above, None)))
    if sign == "<":
        return Range(column, None, below)
    if sign == "<=":
        return Range(column, None, above - 1)
    return Range(column, above, None) if sign == ">" else Range(column, below + 1, None)


def _combined(kind: type[All | Some], parts: Sequence[Predicate]) -> Predicate:
    """Join parts, without nesting a conjunction in a conjunction or a disjunction in a disjunction."""
    flat: list[Predicate] = []
    for part in parts:
        flat += part.parts if isinstance(part, kind) else [part]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    bare = node.unnest()
    return [*_conjuncts(bare.left), *_conjuncts(bare.right)] if isinstance(bare, exp.And) else [bare]


def _month_of(node: exp.Expr) -> exp.Expr | None:
    """The column inside MONTH(column) or DATE_TRUNC('month', column)."""
    truncates = isinstance(node, exp.DateTrunc | exp.TimestampTrunc)
    to_month = truncates and str(node.args.get("unit")).strip("'").upper() == "MONTH"
    inner = node.this if isinstance(node, exp.Month) or to_month else None
    return inner if isinstance(inner, exp.Column) else None


def _is_column(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Column) and node.name == name


def _span(node: exp.Expr) -> tuple[int, int]:
    """First and one past the last character of everything under a node whose position is known."""
    places = [part.meta for part in node.walk() if "start" in part.meta]
    if not places:
        return 0, 0
    return min(int(place["start"]) for place in places), max(int(place["end"]) for place in places) + 1


def _closest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    if near:
        return f"did you mean {near[0]}?"
    shown = ", ".join(names[:12])
    return f"there are: {shown}{', …' if len(names) > 12 else ''}"
