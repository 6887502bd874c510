"""95 % intervals of expressions over independent Gaussian noise: images of a ball.

An interval is the set of values that the expression takes while the noise vector, each part in units of its own
deviation, is at most 1.96 long: exactly those that the likelihood-ratio test with one degree of freedom does not
reject. For a linear expression that is the estimate and 1.96 deviations on either side, for a ratio Fieller's
interval (1954). Ends are found by moving along the sphere with the gradient. docs/privacy.md §6, docs/adr/0026.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cordon.query.expression import (
    Arithmetic,
    Bounded,
    Constant,
    Expression,
    Leaf,
    Part,
    Quantile,
    Residents,
    Root,
    evaluate,
    leaves,
)

Array = npt.NDArray[np.float64]

REACH_95 = 1.959963984540054
"""Deviations on either side of a 95 % interval."""

_STEPS = 40
_SETTLED = 1e-7
"""Moves along the sphere, and the length of the last one; most ends settle after a few."""


class Ends(NamedTuple):
    """The ends of each row's interval; infinite where the noise allows any value."""

    low: Array
    high: Array


@dataclass(frozen=True)
class Given:
    """What is known of each leaf of an expression, in every row."""

    values: Mapping[Leaf, Array]
    deviations: Mapping[Leaf, Array]
    """Of each Part; Residents have none."""
    boxes: Mapping[Leaf, Ends]
    """Of each Quantile: its interval, which is not Gaussian."""


def interval(expression: Expression, given: Given) -> Ends:
    """The 95 % interval of an expression in every row.

    Where quantiles are mixed with anything else, the expression takes every value while each keeps to an interval
    of its own, so that such an interval is longer than it needs to be.
    """
    if isinstance(expression, Bounded):
        return _clipped(interval(expression.of, given), expression)
    if isinstance(expression, Root):
        inner = interval(expression.of, given)
        return Ends(np.sqrt(np.maximum(inner.low, 0.0)), np.sqrt(np.maximum(inner.high, 0.0)))
    if any(isinstance(leaf, Quantile) for leaf in leaves(expression)):
        return _over_box(expression, given)
    return _around(expression, given) if is_linear(expression) else _on_sphere(expression, given)


def _clipped(ends: Ends, to: Bounded) -> Ends:
    low = -math.inf if to.low is None else float(to.low)
    high = math.inf if to.high is None else float(to.high)
    return Ends(np.clip(ends.low, low, high), np.clip(ends.high, low, high))


def is_linear(expression: Expression) -> bool:
    """Whether an expression is a sum of parts, each times what is public."""
    if not isinstance(expression, Arithmetic):
        return isinstance(expression, Constant | Residents | Part)
    left, right = expression.left, expression.right
    if expression.sign in "+-":
        return is_linear(left) and is_linear(right)
    if expression.sign == "/":
        return is_linear(left) and _is_public(right)
    return (is_linear(left) and _is_public(right)) or (_is_public(left) and is_linear(right))


def _is_public(expression: Expression) -> bool:
    return all(isinstance(leaf, Residents) for leaf in leaves(expression))


def _around(expression: Expression, given: Given) -> Ends:
    """Of a linear expression, whose slopes are the same everywhere."""
    found = evaluate(expression, given.values)
    variance = sum(
        (np.square(slope * given.deviations[leaf]) for leaf, slope in found.slopes.items() if isinstance(leaf, Part)),
        np.array(0.0),
    )
    return Ends(found.value - REACH_95 * np.sqrt(variance), found.value + REACH_95 * np.sqrt(variance))


def _on_sphere(expression: Expression, given: Given) -> Ends:
    parts = [leaf for leaf in leaves(expression) if isinstance(leaf, Part)]
    rows = np.broadcast_shapes(*(given.values[leaf].shape for leaf in parts))
    low, high = np.full(rows, math.inf), np.full(rows, -math.inf)
    for start in _starts(expression, parts, given, rows):
        for sign in (-1.0, 1.0):
            direction = start
            for _ in range(_STEPS):
                value, slope = _at(expression, parts, given, direction)
                low, high = np.fmin(low, value), np.fmax(high, value)
                before, direction = direction, _unit(sign * slope)
                if np.abs(direction - before).max() < _SETTLED:
                    break
    open_ended = _may_divide_by_zero(expression, given)
    return Ends(np.where(open_ended, -math.inf, low), np.where(open_ended, math.inf, high))


def _starts(expression: Expression, parts: list[Part], given: Given, rows: tuple[int, ...]) -> list[Array]:
    """Directions to begin from: the gradient at the estimate, and along each part alone."""
    centre = np.zeros((len(parts), *rows))
    starts = [_unit(_at(expression, parts, given, centre)[1])]
    for at in range(len(parts)):
        along = centre.copy()
        along[at] = 1.0
        starts += [along, -along]
    return starts


def _at(expression: Expression, parts: list[Part], given: Given, direction: Array) -> tuple[Array, Array]:
    """Value, and slope by each part in units of its deviation, where the noise is 1.96 in a direction (0: none)."""
    moved = dict(given.values)
    for at, leaf in enumerate(parts):
        moved[leaf] = given.values[leaf] + REACH_95 * given.deviations[leaf] * direction[at]
    found = evaluate(expression, moved)
    slopes = [found.slopes[leaf] * given.deviations[leaf] + np.zeros(direction.shape[1:]) for leaf in parts]
    return np.asarray(found.value + np.zeros(direction.shape[1:])), np.nan_to_num(np.stack(slopes))


def _unit(direction: Array) -> Array:
    # By the longest part first: a slope beside a pole has no square.
    longest = np.abs(direction).max(axis=0)
    scaled = direction / np.where(longest > 0, longest, 1.0)
    length = np.sqrt((scaled**2).sum(axis=0))
    return np.asarray(scaled / np.where(length > 0, length, 1.0))


def _may_divide_by_zero(expression: Expression, given: Given) -> npt.NDArray[np.bool_]:
    if isinstance(expression, Arithmetic):
        found = _may_divide_by_zero(expression.left, given) | _may_divide_by_zero(expression.right, given)
        if expression.sign == "/" and leaves(expression.right):
            ends = interval(expression.right, given)
            found = found | ~((ends.low > 0) | (ends.high < 0))
        return np.asarray(found)
    if isinstance(expression, Root | Bounded):
        return _may_divide_by_zero(expression.of, given)
    return np.array(False)


# Boxes


def _over_box(expression: Expression, given: Given) -> Ends:
    """Every value while each leaf lies in its own interval, by interval arithmetic."""
    if isinstance(expression, Constant):
        return Ends(np.array(float(expression.value)), np.array(float(expression.value)))
    if isinstance(expression, Residents):
        return Ends(given.values[expression], given.values[expression])
    if isinstance(expression, Quantile):
        return given.boxes[expression]
    if not isinstance(expression, Arithmetic):
        return interval(expression, given)
    left, right = _over_box(expression.left, given), _over_box(expression.right, given)
    if expression.sign == "+":
        return Ends(left.low + right.low, left.high + right.high)
    if expression.sign == "-":
        return Ends(left.low - right.high, left.high - right.low)
    return _product(left, right if expression.sign == "*" else _reciprocal(right))


def _product(left: Ends, right: Ends) -> Ends:
    with np.errstate(invalid="ignore"):
        corners = np.stack(np.broadcast_arrays(*(a * b for a in left for b in right)))
    # Zero times what has no end is zero here: the zero is exact.
    corners = np.where(np.isnan(corners), 0.0, corners)
    return Ends(corners.min(axis=0), corners.max(axis=0))


def _reciprocal(ends: Ends) -> Ends:
    with np.errstate(divide="ignore"):
        low, high = np.divide(1.0, ends.high), np.divide(1.0, ends.low)
    apart = (ends.low > 0) | (ends.high < 0)
    return Ends(np.where(apart, low, -math.inf), np.where(apart, high, math.inf))
