"""Measures: what every cell must hold for a function of SQL, and how its value follows from that.

What travels is counts, sums, squares, products and histograms; an AVG or a MEDIAN is computed from them afterwards.
docs/query.md has the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from sqlglot import exp

from cordon.contract import FORCE, Category, Date, Identifier, Number
from cordon.errors import QuestionRefused
from cordon.query.axes import make_axis
from cordon.query.expression import Arithmetic, Bounded, Constant, Expression, Part, Quantile, Root
from cordon.query.model import MOST_OFFSET, All, Measure, MeasureKind, Predicate, Question
from cordon.query.sql.histogram import MOST_CELLS, widths_for
from cordon.query.sql.predicates import combined, implies_known, known, read_filter
from cordon.query.sql.products import read_sum
from cordon.query.sql.scope import Scope, number
from cordon.units import exact_text

_LEAST, _MOST = Fraction(1, 100), Fraction(99, 100)
"""What MIN and MAX are: quantiles that no single record decides."""


@dataclass
class Measures:
    """The measures of one statement, each once, in the order in which its columns need them."""

    scope: Scope
    frame: Question
    """The question with a bare COUNT: data set, WHERE, keys, tables and forces."""
    asked: list[Measure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, node: exp.Expr) -> Expression | None:
        """The value of a measure; None where a node is none."""
        where = None
        if isinstance(node, exp.Filter):
            function, condition = node.this.unnest(), node.expression.this
            if _reader(function) is None:
                self.scope.text.refuse("FILTER follows a measure", node, hint="COUNT(*) FILTER (WHERE condition)")
            node, where = function, read_filter(condition, self.scope)
        read = _reader(node)
        return None if read is None else read(self, node, where)

    def part(self, measure: Measure) -> Part:
        """The value of a measure, which is asked for if it is not yet."""
        return Part(self.place(measure))

    def place(self, measure: Measure) -> int:
        """Index of a measure among those asked."""
        if measure not in self.asked:
            self.asked.append(measure)
        return self.asked.index(measure)

    def note(self, sentence: str) -> None:
        """Keep a sentence that people must read with the answer."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def known_rows(self, column: Category | Date | Number, where: Predicate | None) -> Part:
        """The number of rows in which a column is known."""
        if not (implies_known(self.frame.where, column) or implies_known(where, column)):
            where = combined(All, [where, known(column)])
        return self.part(Measure(MeasureKind.COUNT, where=where))

    @cached_property
    def groups(self) -> int:
        """Rows of the answer, over all its tables.

        Raises:
            QuestionRefused: more than a histogram can be asked for, or none.
        """
        sizes = [
            len(make_axis(key, self.frame, self.scope.contract, most=MOST_CELLS).values) for key in self.frame.keys
        ]
        total = 0
        for table in self.frame.tables:
            rows = 1
            for at in table:
                rows *= sizes[at]
            total += rows
        return total

    def number_of(self, node: exp.Expr, called: str) -> Number:
        """The bounded number that a function is of."""
        inner = node.unnest()
        if isinstance(inner, exp.Distinct):
            self.scope.text.refuse(f"{called} takes every record", node, hint=f"{called}(number), without DISTINCT")
        if not isinstance(inner, exp.Column):
            hint = f"do the arithmetic outside: 2 * {called}(number)"
            self.scope.text.refuse(f"{called} takes one column", node, hint=hint)
        contract = self.scope.contract
        column = None if inner.name == FORCE and not inner.args.get("table") else self.scope.column(inner)
        if isinstance(column, Number):
            return column
        numbers = [other.name for other in contract.columns if isinstance(other, Number)]
        if not numbers:
            hint = "COUNT(*), COUNT_IF(condition) and keys of GROUP BY"
            self.scope.text.refuse(f"{called} needs a bounded number: {contract.dataset} has none", node, hint=hint)
        self.scope.text.refuse(
            f"{called} needs a bounded number: {numbers[0]} has bounds, {inner.name} has none", node,
            hint=f"numbers: {', '.join(numbers)}",
        )  # fmt: skip


Reader = Callable[[Measures, exp.Expr, Predicate | None], Expression]


def scaled(by: Fraction, expression: Expression) -> Expression:
    """An expression times a public number."""
    return expression if by == 1 else Arithmetic("*", Constant(by), expression)


def _count(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    inner, scope = node.this, asked.scope
    if isinstance(inner, exp.Star):
        return asked.part(Measure(MeasureKind.COUNT, where=where))
    if isinstance(inner, exp.Distinct):
        return _units(asked, inner, where)
    if inner is None or not isinstance(inner.unnest(), exp.Column) or node.expressions:
        scope.text.refuse("COUNT takes *, a column, or DISTINCT and the privacy unit", node, hint="COUNT(*)")
    if inner.unnest().name == FORCE:
        scope.text.refuse("every record has a force", inner, hint="COUNT(*)")
    column = scope.column(inner.unnest())
    if isinstance(column, Identifier):
        hint = f"COUNT(DISTINCT {scope.contract.unit_column})" if column.use == "unit" else "COUNT(*)"
        scope.text.refuse(f"{column.name} is an identifier", inner, hint=hint)
    return asked.known_rows(column, where)


def _units(asked: Measures, distinct: exp.Expr, where: Predicate | None) -> Expression:
    scope, unit = asked.scope, asked.scope.contract.unit_column
    if unit is None:
        scope.text.refuse(f"in {scope.contract.dataset} each row is its own unit", distinct, hint="use COUNT(*)")
    columns = distinct.expressions
    if len(columns) != 1 or not isinstance(columns[0], exp.Column) or columns[0].name != unit:
        hint = f"COUNT(DISTINCT {unit})"
        scope.text.refuse(f"only the privacy unit can be counted apart: {unit}", distinct, hint=hint)
    scope.column(columns[0])
    return asked.part(Measure(MeasureKind.COUNT_UNIT, where=where))


def _count_if(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    return asked.part(Measure(MeasureKind.COUNT, where=combined(All, [where, read_filter(node.this, asked.scope)])))


def _sum(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    if isinstance(node.this, exp.Case):
        return _sum_of_ones(asked, node.this, where)
    measure, unit = read_sum(node.this, where, asked.scope, asked.number_of)
    return scaled(unit, asked.part(measure))


def _sum_of_ones(asked: Measures, case: exp.Expr, where: Predicate | None) -> Expression:
    """SUM(CASE WHEN condition THEN 1 ELSE 0 END), which is how COUNT_IF is written where there is none."""
    branches, default = case.args["ifs"], case.args.get("default")
    ones = len(branches) == 1 and case.args.get("this") is None and number(branches[0].args["true"]) == 1
    if not ones or default is None or number(default) != 0:
        hint = "SUM(CASE WHEN condition THEN 1 ELSE 0 END), or COUNT_IF(condition)"
        asked.scope.text.refuse("CASE can only tell 1 from 0", case, hint=hint)
    condition = read_filter(branches[0].this, asked.scope)
    return asked.part(Measure(MeasureKind.COUNT, where=combined(All, [where, condition])))


def _centre(column: Number) -> int:
    """The middle of a column's bounds: what is taken off each value, so that none is far from zero."""
    return (column.low + column.high) // 2


def _mean_from_centre(asked: Measures, column: Number, where: Predicate | None) -> Expression:
    total = asked.part(Measure(MeasureKind.SUM, column.name, where, centre=_centre(column)))
    return Arithmetic("/", total, asked.known_rows(column, where))


def _average(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    column = asked.number_of(node.this, "AVG")
    mean = _mean_from_centre(asked, column, where)
    if _centre(column):
        mean = Arithmetic("+", Constant(Fraction(_centre(column))), mean)
    return Bounded(scaled(column.resolution, mean), column.min, column.max)


def _population_variance(asked: Measures, node: exp.Expr, where: Predicate | None, called: str) -> Expression:
    column = asked.number_of(node.this, called)
    centre = _centre(column)
    reach = max(column.high - centre, centre - column.low)
    offset = reach * reach // 2
    if offset >= MOST_OFFSET:
        hint = f"AVG({column.name}), or QUANTILE({column.name}, 0.75) and QUANTILE({column.name}, 0.25)"
        asked.scope.text.refuse(f"the squares of {column.name} are too large to add up exactly", node, hint=hint)
    mean = _mean_from_centre(asked, column, where)
    squares = asked.part(Measure(MeasureKind.SQUARES, column.name, where, centre=centre, offset=offset))
    mean_square = Arithmetic("/", squares, asked.known_rows(column, where))
    if offset:
        mean_square = Arithmetic("+", Constant(Fraction(offset)), mean_square)
    variance = Arithmetic("-", mean_square, Arithmetic("*", mean, mean))
    # Half of the values at each bound vary most.
    return Bounded(scaled(column.resolution**2, variance), Fraction(0), ((column.max - column.min) / 2) ** 2)


def _sample_variance(asked: Measures, node: exp.Expr, where: Predicate | None, called: str) -> Expression:
    population = _population_variance(asked, node, where, called)
    column = asked.number_of(node.this, called)
    rows = asked.known_rows(column, where)
    ratio = Arithmetic("/", rows, Arithmetic("-", rows, Constant(Fraction(1))))
    # Bounded twice: within, so that noise never makes a variance below zero times a count below one; and without,
    # because the ratio has no bound. Two values, one at each bound, vary most.
    return Bounded(Arithmetic("*", population, ratio), Fraction(0), (column.max - column.min) ** 2 / 2)


def _variance(called: str, *, sample: bool, root: bool) -> Reader:
    def read(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
        variance = (_sample_variance if sample else _population_variance)(asked, node, where, called)
        return Root(variance) if root else variance

    return read


def _median(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    return _quantile_of(asked, node, asked.number_of(node.this, "MEDIAN"), Fraction(1, 2), where)


def _quantile(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    share = node.args.get("quantile")
    return _quantile_at(asked, node, node.this, share, where)


def _within_group(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    order = node.expression.expressions if isinstance(node.expression, exp.Order) else []
    if not isinstance(node.this, exp.PercentileCont | exp.PercentileDisc) or len(order) != 1:
        asked.scope.text.refuse("this cannot be asked", node, hint="PERCENTILE_CONT(q) WITHIN GROUP (ORDER BY number)")
    if order[0].args.get("desc"):
        hint = "ORDER BY the number itself, and 1 - q in place of q"
        asked.scope.text.refuse("a quantile counts from the least value up", order[0], hint=hint)
    return _quantile_at(asked, node, order[0].this, node.this.this, where)


def _quantile_at(
    asked: Measures, node: exp.Expr, of: exp.Expr, share: exp.Expr | None, where: Predicate | None
) -> Expression:
    column = asked.number_of(of, "QUANTILE")
    if isinstance(share, exp.Array | exp.Tuple):
        hint = "a column for each: they share one histogram, and its cost"
        asked.scope.text.refuse("QUANTILE takes one share at a time", share, hint=hint)
    q = None if share is None else number(share)
    if q is None or not 0 < q < 1:
        meant = q / 100 if q is not None and 1 < q < 100 else Fraction(1, 2)
        hint = f"QUANTILE({column.name}, {exact_text(meant)})"
        asked.scope.text.refuse("a quantile's share lies between 0 and 1", share or node, hint=hint)
    return _quantile_of(asked, node, column, q, where)


def _extreme(called: str, q: Fraction) -> Reader:
    def read(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
        column = asked.number_of(node.this, called)
        most = "least" if called == "MIN" else "largest"
        asked.note(
            f"{called}({column.name}) is its {100 * q} % quantile: "
            f"the {most} value itself would tell of a single record."
        )
        return _quantile_of(asked, node, column, q, where)

    return read


def _quantile_of(asked: Measures, node: exp.Expr, column: Number, q: Fraction, where: Predicate | None) -> Expression:
    text = asked.scope.text
    try:
        widths = widths_for(column, asked.groups)
    except QuestionRefused as refusal:
        text.refuse(f"a quantile cannot be looked for in every group: {refusal}", node, hint=refusal.hint)
    if not widths:
        hint = f"group by fewer or coarser keys, or ask for AVG({column.name})"
        text.refuse(f"{asked.groups} groups are too many for a quantile of {column.name}", node, hint=hint)
    if widths[0] > 1:
        exact = exact_text(widths[0] * column.resolution)
        asked.note(f"Quantiles of {column.name} are exact to {exact} {column.unit}.")
    histogram = Measure(MeasureKind.HISTOGRAM, column.name, where, widths=widths)
    return scaled(column.resolution, Quantile(asked.place(histogram), q))


def _other_quantile(asked: Measures, node: exp.Expr, where: Predicate | None) -> Expression:
    if len(node.expressions) != 2:
        asked.scope.text.refuse("QUANTILE takes a number and a share", node, hint="QUANTILE(age, 0.5)")
    return _quantile_at(asked, node, node.expressions[0], node.expressions[1], where)


_READERS: dict[type[exp.Expr], Reader] = {
    exp.Count: _count,
    exp.CountIf: _count_if,
    exp.Sum: _sum,
    exp.Avg: _average,
    exp.Variance: _variance("VARIANCE", sample=True, root=False),
    exp.VariancePop: _variance("VAR_POP", sample=False, root=False),
    exp.Stddev: _variance("STDDEV", sample=True, root=True),
    exp.StddevSamp: _variance("STDDEV", sample=True, root=True),
    exp.StddevPop: _variance("STDDEV_POP", sample=False, root=True),
    exp.Median: _median,
    exp.Quantile: _quantile,
    exp.WithinGroup: _within_group,
    exp.Min: _extreme("MIN", _LEAST),
    exp.Max: _extreme("MAX", _MOST),
}
_NAMED: dict[str, Reader] = {"QUANTILE_CONT": _other_quantile, "QUANTILE_DISC": _other_quantile}
"""Functions that the parser knows by name only."""


def _reader(node: exp.Expr) -> Reader | None:
    if isinstance(node, exp.Anonymous):
        return _NAMED.get(node.name.upper())
    return _READERS.get(type(node))
