"""What an analyst's column is computed from: arithmetic over the measures of one row.

Expressions stay with the analyst; nodes see measures only. They are evaluated on noised values, singly or
on arrays of many rows at once, with their derivatives, so that the noise can be carried through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

Values = Any
"""A float, or an array with one value a row; all of one evaluation have shapes that broadcast."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A public number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Part:
    """The value of one measure, in the measure's integer units."""

    measure: int
    """Index into the question's measures; not a HISTOGRAM."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """The least value, in resolutions, that at least a share `q` of a HISTOGRAM's rows does not exceed."""

    measure: int
    q: Fraction


@dataclass(frozen=True, slots=True)
class Residents:
    """The public number of residents behind a row: of its force and ethnic group, or of all that answered."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left sign right`; `sign` is one of + - * /."""

    sign: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Root:
    """The square root; 0 where its argument is below zero."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Bounded:
    """An expression that is known to lie in [low, high], such as an average within its column's bounds."""

    of: Expression
    low: Fraction | None
    high: Fraction | None


Expression = Constant | Part | Quantile | Residents | Arithmetic | Root | Bounded
Leaf = Part | Quantile | Residents


@dataclass(frozen=True, slots=True)
class Derived:
    """A value and its derivative by each leaf that it depends on."""

    value: Values
    slopes: Mapping[Leaf, Values]


def leaves(expression: Expression) -> tuple[Leaf, ...]:
    """What an expression is computed from, each once, left to right."""
    if isinstance(expression, Part | Quantile | Residents):
        return (expression,)
    if isinstance(expression, Constant):
        return ()
    if isinstance(expression, Arithmetic):
        return tuple(dict.fromkeys((*leaves(expression.left), *leaves(expression.right))))
    return leaves(expression.of)


def measures_of(expression: Expression) -> tuple[int, ...]:
    """The measures that an expression is computed from, ascending."""
    return tuple(sorted({leaf.measure for leaf in leaves(expression) if not isinstance(leaf, Residents)}))


def evaluate(expression: Expression, given: Mapping[Leaf, Values]) -> Derived:
    """An expression's value and derivatives.

    Args:
        given: the value of each leaf.

    Returns:
        Where a denominator is zero, infinities or NaN; they raise nothing.
    """
    # What has no value is seen by whoever shows it; numpy's warnings are for nobody.
    with np.errstate(all="ignore"):
        return _derived(expression, given)


def _derived(expression: Expression, given: Mapping[Leaf, Values]) -> Derived:
    if isinstance(expression, Constant):
        return Derived(float(expression.value), {})
    if isinstance(expression, Part | Quantile | Residents):
        return Derived(given[expression], {expression: 1.0})
    if isinstance(expression, Arithmetic):
        return _OPERATIONS[expression.sign](_derived(expression.left, given), _derived(expression.right, given))
    inner = _derived(expression.of, given)
    return _root(inner) if isinstance(expression, Root) else _bounded(inner, expression)


def _root(inner: Derived) -> Derived:
    value = np.sqrt(np.maximum(inner.value, 0.0))
    slope = np.where(value > 0, np.divide(0.5, value), 0.0)
    return Derived(value, _scaled(inner.slopes, slope))


def _bounded(inner: Derived, expression: Bounded) -> Derived:
    low = -math.inf if expression.low is None else float(expression.low)
    high = math.inf if expression.high is None else float(expression.high)
    # Over a count of exactly zero, which tables without negative cells have many of, there is no value to bound.
    value = np.where(np.isfinite(inner.value), np.clip(inner.value, low, high), math.nan)
    # The slopes are those of what is bounded: at a bound the noise still moves it.
    return Derived(value, inner.slopes)


def _plus(left: Derived, right: Derived) -> Derived:
    return Derived(left.value + right.value, _summed(left.slopes, right.slopes))


def _minus(left: Derived, right: Derived) -> Derived:
    return Derived(left.value - right.value, _summed(left.slopes, _scaled(right.slopes, -1.0)))


def _times(left: Derived, right: Derived) -> Derived:
    slopes = _summed(_scaled(left.slopes, right.value), _scaled(right.slopes, left.value))
    return Derived(left.value * right.value, slopes)


def _divided(left: Derived, right: Derived) -> Derived:
    inverse = np.divide(1.0, right.value)
    value = left.value * inverse
    return Derived(value, _summed(_scaled(left.slopes, inverse), _scaled(right.slopes, -value * inverse)))


_OPERATIONS: dict[str, Callable[[Derived, Derived], Derived]] = {
    "+": _plus, "-": _minus, "*": _times, "/": _divided,
}  # fmt: skip


def _scaled(slopes: Mapping[Leaf, Values], by: Values) -> dict[Leaf, Values]:
    return {leaf: slope * by for leaf, slope in slopes.items()}


def _summed(left: Mapping[Leaf, Values], right: Mapping[Leaf, Values]) -> dict[Leaf, Values]:
    return dict(left) | {leaf: left[leaf] + slope if leaf in left else slope for leaf, slope in right.items()}
