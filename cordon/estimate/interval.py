"""95 % intervals of expressions over independent Gaussian noise: images of a ball.

An interval is the set of values that the expression takes while the noise vector, each part in units of its own
deviation, is at most 1.96 long: exactly those that the likelihood-ratio test with one degree of freedom does not
reject. For a linear expression that is the estimate and 1.96 deviations on either side, for a ratio Fieller's
interval (1954). Ends are found by moving along the sphere with the gradient, and from the estimate towards it.
docs/privacy.md §6, docs/adr/0026.
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

_STEPS_WITHIN = 12
"""Moves from the estimate to where an expression is least or most inside the ball, which few are."""


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
    return _around(expression, given) if is_linear(expression) else _in_ball(expression, given)


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
    with np.errstate(invalid="ignore"):
        return Ends(found.value - REACH_95 * np.sqrt(variance), found.value + REACH_95 * np.sqrt(variance))


def _in_ball(expression: Expression, given: Given) -> Ends:
    """Of any expression over parts, each row by itself; NaN where a value is unknown."""
    reads = leaves(expression)
    rows = np.broadcast_shapes(*(np.shape(given.values[leaf]) for leaf in reads))
    values = {leaf: np.broadcast_to(given.values[leaf], rows).reshape(-1) for leaf in reads}
    spread = {leaf: np.broadcast_to(of, rows).reshape(-1) for leaf, of in given.deviations.items() if leaf in reads}
    endless = np.broadcast_to(_may_divide_by_zero(expression, given), rows).reshape(-1)
    sought = np.flatnonzero(~endless & np.all([np.isfinite(value) for value in values.values()], axis=0))
    low, high = np.where(endless, -math.inf, math.nan), np.where(endless, math.inf, math.nan)
    ball = _Ball(expression, _taken(values, sought), _taken(spread, sought))
    low[sought], high[sought] = -ball.most(-1.0), ball.most(1.0)
    return Ends(low.reshape(rows), high.reshape(rows))


def _taken(of: Mapping[Leaf, Array], rows: npt.NDArray[np.intp]) -> dict[Leaf, Array]:
    return {leaf: value[rows] for leaf, value in of.items()}


@dataclass(frozen=True)
class _Ball:
    """An expression over all noise that is at most 1.96 long. Points are shaped (parts, rows), of length 1 or less."""

    expression: Expression
    values: Mapping[Leaf, Array]
    deviations: Mapping[Leaf, Array]

    def most(self, sign: float) -> Array:
        """The most, in every row, of `sign` times the expression."""
        parts = list(self.deviations)
        centre = np.zeros((len(parts), *self.deviations[parts[0]].shape))
        along = np.eye(len(parts))[:, :, None] + centre
        best = self._within(centre, sign)
        for start in (_unit(sign * self.at(centre)[1]), *along, *-along):
            best = np.fmax(best, self._on_sphere(start, sign))
        return best

    def at(self, point: Array) -> tuple[Array, Array]:
        """Value, and slope by each part in units of its deviation times 1.96."""
        moved = dict(self.values)
        for leaf, step in zip(self.deviations, point, strict=True):
            moved[leaf] = self.values[leaf] + REACH_95 * self.deviations[leaf] * step
        found = evaluate(self.expression, moved)
        slopes = [found.slopes[leaf] * self.deviations[leaf] + 0 * point[0] for leaf in self.deviations]
        return np.asarray(found.value + 0 * point[0]), REACH_95 * np.nan_to_num(np.stack(slopes), posinf=0, neginf=0)

    def _on_sphere(self, point: Array, sign: float) -> Array:
        """The most on the way when moving along the sphere, each time to where the gradient points."""
        best = np.full(point.shape[1:], -math.inf)
        moving, ball = np.arange(len(best)), self
        for _ in range(_STEPS):
            value, slope = ball.at(point)
            best[moving] = np.fmax(best[moving], sign * value)
            turned = _unit(sign * slope)
            going = np.flatnonzero(np.abs(turned - point).max(axis=0) >= _SETTLED)
            if not going.size:
                break
            ball = _Ball(self.expression, _taken(ball.values, going), _taken(ball.deviations, going))
            moving, point = moving[going], turned[:, going]
        return best

    def _within(self, point: Array, sign: float) -> Array:
        """The most on the way from the estimate, not past the top: a square is least inside the ball.

        Source: Frank and Wolfe (1956), with the step to the top of a parabola.
        """
        value, slope = self.at(point)
        for _ in range(_STEPS_WITHIN):
            ahead = _unit(sign * slope) - point
            rise = (slope * ahead).sum(axis=0)
            bend = self.at(point + ahead)[0] - value - rise
            with np.errstate(divide="ignore", invalid="ignore"):
                top = np.where(sign * bend < 0, np.clip(-rise / (2 * bend), 0.0, 1.0), 1.0)
            there = point + top * ahead
            reached, turned = self.at(there)
            better = sign * reached > sign * value
            point, slope = np.where(better, there, point), np.where(better, turned, slope)
            value = np.where(better, reached, value)
        return sign * value


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
    if isinstance(expression, Bounded) and None not in (expression.low, expression.high):
        return np.array(False)
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
    # Zero times what has no end is zero here: the zero is exact.
    with np.errstate(invalid="ignore"):
        products = (
            np.where((a == 0) | (b == 0), np.where(np.isnan(a + b), math.nan, 0.0), a * b) for a in left for b in right
        )
        corners = np.stack(np.broadcast_arrays(*products))
    return Ends(corners.min(axis=0), corners.max(axis=0))


def _reciprocal(ends: Ends) -> Ends:
    with np.errstate(divide="ignore"):
        low, high = np.divide(1.0, ends.high), np.divide(1.0, ends.low)
    apart = (ends.low > 0) | (ends.high < 0)
    return Ends(np.where(apart, low, -math.inf), np.where(apart, high, math.inf))
