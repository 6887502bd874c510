"""How much each sum of a model matters to its coefficients, so that the cost is split for them.

Taken at an imagined set of rows, whose numbers are spread evenly over their bounds and whose response each term
explains a part of: intervals do not depend on the guess, only how narrow they come out does (docs/privacy.md §4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from cordon.workbench.regress.model import Condition, Group, Model, Moment, Quantity
from cordon.workbench.regress.statement import largest, offset_of
from cordon.workbench.regress.sums import Sums

Array = npt.NDArray[np.float64]

MOST_LEVELS = 3
"""Levels of each category in the imagined rows: more would change the proportions little."""

LEAST = 0.01
"""Of the largest weight, that of a sum which no coefficient depends on, such as the response's squares."""


def weights_of(model: Model) -> tuple[float, ...]:
    """A weight for each of a model's sums, in their order; the largest is 1.

    For a coefficient that alone could reach the variance v with all of the cost, the weighted sum of the
    coefficients' variances over v is least at these weights, as in `cordon.query.split`.
    """
    sums = _imagined(model)
    matrix = sums.matrix()
    inverse = np.linalg.inv(matrix[:-1, :-1])
    residual = np.append(inverse @ matrix[:-1, -1], -1.0)
    matters = np.zeros(len(model.moments))
    moved = [largest(moment, model) * sums.times(moment, residual)[:, :-1] @ inverse for moment in model.moments]
    for at in range(1, len(inverse)):
        variances = np.array([float(np.square(of[:, at]).sum()) for of in moved])
        matters += variances / np.sqrt(variances).sum() ** 2
    matters = np.maximum(matters / matters.max(), LEAST)
    return tuple(float(f"{weight:.4g}") for weight in matters)


def _imagined(model: Model) -> Sums:
    """The sums of imagined rows, one in each cell: numbers and categories say nothing of one another."""
    groups = tuple(Group(group.name, group.levels[:MOST_LEVELS]) for group in model.groups)
    cells = list(product(*(range(len(group.levels)) for group in groups)))
    levels = np.array([_row(cell, groups) for cell in cells])
    spread = [_spread(quantity) for quantity in model.numbers]
    of_response = 0.4 if isinstance(model.response, Condition) else _spread(model.response)
    terms = levels.shape[1] - 1 + len(spread)
    slope = of_response * math.sqrt(0.5 / max(terms, 1))
    expected = (0.3 if isinstance(model.response, Condition) else 0.5 * of_response) + levels[:, 1:] @ np.full(
        levels.shape[1] - 1, slope
    )
    moments = {moment: _expected(moment, model, spread, slope, expected) for moment in model.moments}
    return Sums(model, groups, levels, moments, dict.fromkeys(moments, np.zeros(len(cells))))


def _row(cell: Sequence[int], groups: Sequence[Group]) -> list[float]:
    ones = [float(at == level) for at, group in zip(cell, groups, strict=True) for level in range(1, len(group.levels))]
    return [1.0, *ones]


def _spread(quantity: Quantity) -> float:
    """Standard deviation of values that are spread evenly over the bounds."""
    return float(quantity.column.max - quantity.column.min) / math.sqrt(12)


def _expected(moment: Moment, model: Model, spread: Sequence[float], slope: float, expected: Array) -> Array:
    """What one imagined row adds in every cell; each deviation of a number adds `slope` to the response."""
    response = len(spread)
    one = np.ones(len(expected))
    if not moment.of:
        return one
    if moment.of == (response,):
        return expected
    if len(moment.of) == 1:
        return 0 * one
    first, second = moment.of
    if first == second == response:
        response_of = model.response
        assert not isinstance(response_of, Condition)  # noqa: S101 - a condition's squares are not asked for
        return np.square(expected) + _spread(response_of) ** 2 - float(offset_of(response_of))
    if second == response:
        return slope * spread[first] * one
    return (spread[first] ** 2 - float(offset_of(model.quantities[first]))) * one if first == second else 0 * one
