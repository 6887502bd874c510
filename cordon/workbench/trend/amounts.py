"""Changes with their intervals, in the measure's unit and as a share of what was there before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cordon.estimate.interval import REACH_95, Given, interval
from cordon.query.expression import Arithmetic, Leaf, Part
from cordon.workbench.trend.model import Array, Fitted

_RATIO = Arithmetic("/", Part(0), Part(1))


@dataclass(frozen=True, slots=True)
class Amount:
    """How much something has changed."""

    size: float
    """In the measure's unit."""
    low: float
    high: float
    share: float
    """Of what it is compared with: 0.12 is 12 % more. NaN where that may be nothing."""
    share_low: float
    share_high: float
    """Infinite ends where what it is compared with may be nothing."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A change and what it is compared with, as estimates with their covariance."""

    change: float
    base: float
    variance: float
    """Of the change."""
    base_variance: float
    covariance: float


def amount(of: Linear, reach: float) -> Amount:
    """A change with its interval.

    Args:
        reach: deviations on either side.
    """
    return amounts([of], [reach])[0]


def amounts(of: Sequence[Linear], reaches: Sequence[float]) -> list[Amount]:
    """Changes with their intervals, each with the deviations on either side."""
    if not of:
        return []
    return [
        _amount(one, reach, float(low), float(high))
        for one, reach, low, high in zip(of, reaches, *_shares(of, np.array(reaches)), strict=True)
    ]


def _amount(of: Linear, reach: float, low: float, high: float) -> Amount:
    half = reach * math.sqrt(of.variance)
    known = math.isfinite(low) and math.isfinite(high)
    share = of.change / of.base if known else math.nan
    return Amount(of.change, of.change - half, of.change + half, share, low, high)


def _shares(of: Sequence[Linear], reaches: Array) -> tuple[Array, Array]:
    """Fieller's intervals of change over base, by the house's interval of a ratio of independent parts.

    With k = covariance / base variance, change - k * base is independent of the base, and the ratio is k more than that
    of these two.
    """
    change, base, variance, base_variance, covariance = (
        np.array([getattr(one, part) for one in of])
        for part in ("change", "base", "variance", "base_variance", "covariance")
    )
    tied = covariance / base_variance
    free = np.sqrt(np.maximum(variance - tied * covariance, 0.0))
    scale = reaches / REACH_95
    values: dict[Leaf, Array] = {Part(0): change - tied * base, Part(1): base}
    deviations: dict[Leaf, Array] = {Part(0): scale * free, Part(1): scale * np.sqrt(base_variance)}
    ends = interval(_RATIO, Given(values, deviations, {}))
    # A share of less than nothing would have the wrong sign.
    return np.where(base > 0, ends.low + tied, -np.inf), np.where(base > 0, ends.high + tied, np.inf)


def contrast(fitted: Fitted, change: Array, base: Array) -> Linear:
    """A change and its base as weights on a regression's coefficients, with the variance that the series shows."""
    spread = fitted.spread * fitted.excess
    return Linear(
        float(change @ fitted.coefficients),
        float(base @ fitted.coefficients),
        float(change @ spread @ change),
        float(base @ spread @ base),
        float(change @ spread @ base),
    )


def reach_of(freedom: int, together: int) -> float:
    """Deviations on either side so that `together` intervals all hold with 95 % (Bonferroni), by Student's t."""
    return float(stats.t.ppf(1 - 0.025 / max(together, 1), freedom))


def p_of(of: Linear, freedom: int) -> float:
    """Chance of a change as large, in either direction, where there is none; by Student's t."""
    return float(2 * stats.t.sf(abs(of.change) / math.sqrt(of.variance), freedom))
