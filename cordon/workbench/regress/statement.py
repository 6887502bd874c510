"""From a model to the one statement whose answer it is fitted from. docs/analysis/regress.md.

One table by all categories of the model, over rows in which every variable is known: its cells are disjoint, so that
their number adds nothing to what a unit can move.
"""

from __future__ import annotations

from fractions import Fraction

from cordon.contract import FORCE, UNKNOWN
from cordon.units import exact_text
from cordon.workbench.regress.model import Condition, Model, Moment, Quantity


def statement_of(model: Model, dataset: str, where: str | None = None) -> str:
    """The SELECT that asks for a model's sums.

    Args:
        dataset: as FROM names it, e.g. `nominals.v2`.
        where: conditions that narrow the rows, as in SQL.
    """
    keys = [group.name for group in model.groups]
    columns = [f"{_sql(moment, model)} AS {column_of(moment, model)}" for moment in model.moments]
    conditions = [f"({where})"] if where else []
    conditions += [f"{quantity.name} IS NOT NULL" for quantity in model.quantities]
    known = [name for name in keys if name != FORCE]
    if isinstance(model.response, Condition):
        known.append(model.response.name)
    conditions += [f"{name} <> '{UNKNOWN}'" for name in known]
    by = f" GROUP BY {', '.join(keys)}" if keys else ""
    return f"SELECT {', '.join([*keys, *columns])} FROM {dataset} WHERE {' AND '.join(conditions)}{by}"  # noqa: S608 - read by our own grammar, never by a database


def column_of(moment: Moment, model: Model) -> str:
    """What the answer calls a sum."""
    if not moment.of:
        return "row_count"
    names = [model.quantities[at].name for at in moment.of if at < len(model.quantities)]
    if moment.within:
        return "_".join(["sum", *names, "in_cases"]) if names else "case_count"
    if len(moment.of) == 1:
        return f"sum_{names[0]}"
    return f"squares_{names[0]}" if moment.of[0] == moment.of[1] else f"products_{names[0]}_{names[1]}"


def largest(moment: Moment, model: Model) -> float:
    """The most that one row adds to a sum, in the units of its numbers."""
    numbers = [model.quantities[at] for at in moment.of if at < len(model.quantities)]
    reaches = [float(number.reach * number.column.resolution) for number in numbers]
    if len(moment.of) == 2 and moment.of[0] == moment.of[1]:
        off = float(offset_of(numbers[0]))
        return max(reaches[0] ** 2 - off, off)
    product = 1.0
    for reach in reaches:
        product *= reach
    return product


def offset_of(quantity: Quantity) -> Fraction:
    """What is taken off each square, in the column's squared unit."""
    return quantity.offset * quantity.column.resolution**2


def _sql(moment: Moment, model: Model) -> str:
    numbers = [_factor(model.quantities[at]) for at in moment.of if at < len(model.quantities)]
    if moment.within:
        response = model.response
        assert isinstance(response, Condition)  # noqa: S101 - only a condition has cases
        meets = f"{response.name} = '{response.code}'"
        return f"SUM({numbers[0]}) FILTER (WHERE {meets})" if numbers else f"COUNT_IF({meets})"
    if not numbers:
        return "COUNT(*)"
    if len(numbers) == 1:
        return f"SUM({numbers[0]})"
    off = offset_of(model.quantities[moment.of[0]]) if moment.of[0] == moment.of[1] else Fraction(0)
    less = f" - {exact_text(off)}" if off else ""
    return f"SUM(({numbers[0]}) * ({numbers[1]}){less})"


def _factor(quantity: Quantity) -> str:
    middle = quantity.middle
    if not middle:
        return quantity.name
    return f"{quantity.name} {'-' if middle > 0 else '+'} {exact_text(abs(middle))}"
