"""What SUM adds up: a bounded number, a product of two, or a square, each less public constants.

`SUM((age - 55) * (loss_gbp - 2500))` is one measure, in which 55 and 2500 are centres; in
`SUM((age - 55) * (age - 55) - 1512)` the last constant is an offset. docs/privacy.md §2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from sqlglot import exp

from cordon.contract import Number
from cordon.query.model import MOST_OFFSET, Measure, MeasureKind, Predicate
from cordon.query.sql.scope import Scope, number

HINT = "SUM(x), SUM(x * y), SUM((x - 55) * (y - 9)), SUM((x - 55) * (x - 55) - 1500); do other arithmetic outside"
"""What can be added up."""

NumberOf = Callable[[exp.Expr, str], Number]
"""(node, name of the function) → the bounded number that a node names, or a refusal."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A number less a public constant."""

    column: Number
    centre: int
    """In resolutions."""


def read_sum(node: exp.Expr, where: Predicate | None, scope: Scope, number_of: NumberOf) -> tuple[Measure, Fraction]:
    """The measure that SUM of a node is, and the unit of its integers.

    Raises:
        QuestionRefused: it is nothing that can be added up.
    """
    inner, offset = _less_offset(node.unnest(), scope)
    if not isinstance(inner, exp.Mul):
        factor = _factor(inner, scope, number_of)
        return Measure(MeasureKind.SUM, factor.column.name, where, factor.centre), factor.column.resolution
    pair = [_factor(side, scope, number_of) for side in (inner.this, inner.expression)]
    first, second = sorted(pair, key=lambda factor: factor.column.name.encode())
    unit = first.column.resolution * second.column.resolution
    if first.column.name == second.column.name:
        if first.centre != second.centre:
            hint = "the same constant taken off both times"
            scope.text.refuse(f"a square of {first.column.name} is about one centre", inner, hint=hint)
        less = 0 if offset is None else _whole(offset, unit, scope)
        if not 0 <= less < MOST_OFFSET:
            scope.text.refuse("what is taken off a square is not below zero, and not too large", node, hint=HINT)
        return Measure(MeasureKind.SQUARES, first.column.name, where, first.centre, less), unit
    if offset is not None:
        hint = "take constants off the numbers: SUM((x - 55) * (y - 100))"
        scope.text.refuse("nothing is taken off a product of two numbers", node, hint=hint)
    measure = Measure(
        MeasureKind.PRODUCTS, first.column.name, where, first.centre,
        other=second.column.name, other_centre=second.centre,
    )  # fmt: skip
    return measure, unit


def _less_offset(node: exp.Expr, scope: Scope) -> tuple[exp.Expr, exp.Expr | None]:
    """A product, and the constant that is taken off it."""
    inner = node.this.unnest() if isinstance(node, exp.Sub) else node
    if isinstance(inner, exp.Mul) and inner is not node:
        if number(node.expression) is None:
            scope.text.refuse("a constant is taken off a square", node.expression, hint=HINT)
        return inner, node.expression
    return node, None


def _factor(node: exp.Expr, scope: Scope, number_of: NumberOf) -> Factor:
    inner = node.unnest()
    if not isinstance(inner, exp.Sub | exp.Add):
        if not isinstance(inner, exp.Column | exp.Distinct):
            scope.text.refuse("SUM takes a number of the records, or a product of two", node, hint=HINT)
        return Factor(number_of(inner, "SUM"), 0)
    if number(inner.expression) is None or not isinstance(inner.this.unnest(), exp.Column):
        scope.text.refuse("a constant is taken off a number", inner, hint=HINT)
    column = number_of(inner.this, "SUM")
    off = _whole(inner.expression, column.resolution, scope)
    centre = off if isinstance(inner, exp.Sub) else -off
    if centre and not column.low <= centre <= column.high:
        hint = f"a constant from {column.min} to {column.max}: further off, it only adds noise"
        scope.text.refuse(f"the centre of {column.name} lies outside its bounds", inner, hint=hint)
    return Factor(column, centre)


def _whole(node: exp.Expr, unit: Fraction, scope: Scope) -> int:
    """A constant in whole units."""
    value = (number(node) or Fraction(0)) / unit
    if value.denominator != 1:
        scope.text.refuse(f"the constant is no whole multiple of {unit}", node, hint="values are whole multiples of it")
    return int(value)
