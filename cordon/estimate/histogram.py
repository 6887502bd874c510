"""Quantiles from counts in bins at several widths, each noised by itself.

The widths are made to agree by weighted least squares, the cumulated counts are made to rise, and the result is
inverted. The interval holds every value that the noise does not rule out. docs/privacy.md §6.

Source: Hay, Rastogi, Miklau and Suciu (2010) for the hierarchy and its consistency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Hierarchy:
    """The bins of one histogram at each width, and the noise in them."""

    low: int
    """Where the first bin begins, in resolutions."""
    high: int
    """The largest value, in resolutions."""
    widths: tuple[int, ...]
    """Finest first, each a multiple of the one before."""
    variances: tuple[float, ...]
    """Of the noise in one bin at each width."""

    def bins(self, width: int) -> int:
        """How many bins of a width there are."""
        return -(-(self.high - self.low + 1) // width)

    def fit(self, counts: Sequence[Array]) -> Array:
        """The finest bins by weighted least squares over all widths; unbiased.

        Args:
            counts: for each width, shape (rows, bins).

        Returns:
            Shape (rows, bins of the finest width).
        """
        weighted = sum(
            (count / variance) @ sums for count, variance, sums in zip(counts, self.variances, self._sums, strict=True)
        )
        return np.asarray(weighted @ self._covariance)

    def noise(self, rows: int, count: int, generator: np.random.Generator) -> Array:
        """Draws of what noise remains in the finest bins after `fit`: shape (count, rows, bins)."""
        root = np.linalg.cholesky(self._covariance)
        return np.asarray(generator.standard_normal((count, rows, len(root))) @ root.T)

    def deviations(self, q: float) -> Array:
        """Deviation of the noise in (rows up to and including a bin) less q times all rows, for each bin."""
        below = self._cumulated
        whole = below[:, -1]
        variance = np.diag(below) - 2 * q * whole + q * q * whole[-1]
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    @cached_property
    def _sums(self) -> list[Array]:
        """For each width: which of the finest bins each bin sums."""
        finest = np.arange(self.bins(self.widths[0]))
        return [
            (finest // (width // self.widths[0]) == np.arange(self.bins(width))[:, None]).astype(float)
            for width in self.widths
        ]

    @cached_property
    def _covariance(self) -> Array:
        precision = sum(sums.T @ sums / variance for sums, variance in zip(self._sums, self.variances, strict=True))
        return np.asarray(np.linalg.inv(precision))

    @cached_property
    def _cumulated(self) -> Array:
        return np.asarray(np.cumsum(np.cumsum(self._covariance, axis=0), axis=1))


@dataclass(frozen=True)
class Quantiles:
    """A quantile of each row, in resolutions, with the interval of values that the noise allows."""

    value: Array
    """NaN where the noise leaves no rows."""
    low: Array
    high: Array


def quantiles(hierarchy: Hierarchy, fitted: Array, q: float, reach: float) -> Quantiles:
    """The least value that at least a share `q` of the rows does not exceed.

    Args:
        fitted: from `Hierarchy.fit`, shape (rows, bins).
        q: above 0 and below 1.
        reach: of the interval on either side, in deviations; each side is a test of its own.
    """
    excess = np.cumsum(fitted, axis=-1) - q * fitted.sum(axis=-1, keepdims=True)
    slack = reach * hierarchy.deviations(q)
    # A bin can hold the quantile if enough may lie up to its end, and too little before its beginning.
    before = np.concatenate([np.full((*excess.shape[:-1], 1), -math.inf), (excess - slack)[..., :-1]], axis=-1)
    possible = (excess + slack >= 0) & (before <= 0)
    value = quantile_values(hierarchy, fitted, q)
    width, bins = hierarchy.widths[0], fitted.shape[-1]
    first = np.argmax(possible, axis=-1)
    last = bins - 1 - np.argmax(possible[..., ::-1], axis=-1)
    low = hierarchy.low + first * width
    high = np.minimum(hierarchy.low + last * width + width - 1, hierarchy.high)
    known = np.isfinite(value)
    return Quantiles(
        value,
        np.where(known, np.fmin(low, value), hierarchy.low),
        np.where(known, np.fmax(high, value), hierarchy.high),
    )


def quantile_values(hierarchy: Hierarchy, fitted: Array, q: float) -> Array:
    """The estimates alone: shape of `fitted` without its last axis, which any number of axes may precede."""
    total = fitted.sum(axis=-1)
    wanted = q * total
    rising = _rising(np.cumsum(fitted, axis=-1))
    at = np.argmax(rising >= wanted[..., None], axis=-1)
    upper = np.take_along_axis(rising, at[..., None], axis=-1)[..., 0]
    lower = np.where(at > 0, np.take_along_axis(rising, np.maximum(at - 1, 0)[..., None], axis=-1)[..., 0], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = np.clip(np.where(upper > lower, (wanted - lower) / (upper - lower), 0.5), 0.0, 1.0)
    # A bin of one resolution is one value; in a wider one the rows are taken to be spread evenly.
    value = hierarchy.low + at * hierarchy.widths[0] + within * (hierarchy.widths[0] - 1)
    return np.where(total > 0, np.minimum(value, hierarchy.high), math.nan)


def _rising(cumulated: Array) -> Array:
    """Midway between the least rising sequence above and the greatest below: neither end is favoured."""
    above = np.maximum.accumulate(cumulated, axis=-1)
    below = np.minimum.accumulate(cumulated[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray((above + below) / 2)
