"""How far one unit's rows can move a block, and what one row adds to a cell. docs/privacy.md §2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from cordon.contract import FORCE, Contract, Number
from cordon.errors import QuestionRefused
from cordon.query.axes import Axis, column_of
from cordon.query.model import Measure, MeasureKind

_CALLED = {
    MeasureKind.SUM: "SUM", MeasureKind.SQUARES: "VARIANCE", MeasureKind.HISTOGRAM: "QUANTILE",
    MeasureKind.PRODUCTS: "SUM",
}  # fmt: skip


def largest_value(measure: Measure, contract: Contract) -> int:
    """Largest magnitude that one row can add to a cell, in the measure's integer units.

    Raises:
        QuestionRefused: the contract has no such measure.
    """
    if measure.kind is MeasureKind.COUNT_UNIT and contract.unit.kind == "row":
        raise QuestionRefused(
            f"in {contract.dataset} each row is its own unit, so there are no distinct units to count",
            hint="use COUNT(*)",
        )
    if not measure.column:
        return 1
    reaches = [_reach(_number(name, measure, contract), centre) for name, centre in measure.numbers]
    if measure.kind is MeasureKind.HISTOGRAM:
        return 1
    if measure.kind is MeasureKind.SQUARES:
        return max(reaches[0] ** 2 - measure.offset, measure.offset, 1)
    # A product is furthest from zero where both of its numbers are furthest from their centres.
    return max(math.prod(reaches), 1)


def _reach(column: Number, centre: int) -> int:
    """Furthest that a value lies from a centre, in resolutions."""
    if not column.low <= centre <= column.high and centre:
        raise QuestionRefused(f"the centre of {column.name} lies outside its bounds")
    return max(column.high - centre, centre - column.low, 0)


def bounded_number(measure: Measure, contract: Contract) -> Number:
    """The number that a measure is of; of a product the first.

    Raises:
        QuestionRefused: it is not a number of the contract.
    """
    return _number(measure.column, measure, contract)


def _number(name: str, measure: Measure, contract: Contract) -> Number:
    column = column_of(name, contract)
    if not isinstance(column, Number):
        raise QuestionRefused(
            f"{_CALLED[measure.kind]} needs a bounded number; {column.name} is a {column.kind}",
            hint=numbers_of(contract),
        )
    return column


def numbers_of(contract: Contract) -> str:
    """What numbers a contract has, in words."""
    names = [column.name for column in contract.columns if isinstance(column, Number)]
    return f"numbers of {contract.dataset}: {', '.join(names)}" if names else f"{contract.dataset} has no numbers"


def squared_sensitivity(measure: Measure, axes: Sequence[Axis], contract: Contract) -> Fraction:
    """D²: square of the L2 distance that one unit's rows of one force can move a block with these axes.

    Raises:
        QuestionRefused: the contract has no such measure.
    """
    k = contract.unit.max_rows_per_unit
    largest = largest_value(measure, contract)
    if measure.kind is MeasureKind.COUNT_UNIT:
        # A unit of one force falls in one force's cells only, so `force` does not multiply its groups.
        groups = math.prod(len(axis.values) for axis in axes if axis.key.column != FORCE)
        return Fraction(min(k, groups))
    # Furthest where all of a unit's rows fall in one cell with the largest value.
    return Fraction((k * largest) ** 2)
