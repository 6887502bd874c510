"""Privacy arithmetic: rho to epsilon and back, the share of noise, and what an inexact sum costs.

Pure. Everything that decides a charge or a noise scale is in integers; floats only describe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from cordon.units import NANO, Rho

SHARE_DENOMINATOR = 2**16
"""A force's sigma is a whole multiple of 1/2^16."""

LEAST_SHARE = 4
"""Least sigma of one force's share, in scaled units: keeps `tau` below 1e-66."""

MARGIN = Rho(1)
"""Part of every charge that pays for `tau`."""


def share_sigma(d_squared: Fraction, rho: Rho, *, scale: int, roster: int, colluders: int) -> Fraction:
    """Sigma of one force's share of noise, in scaled units.

    The smallest multiple s of 2^-16 with s² ≥ scale²·D² / (2·rho·max(1, roster − colluders)): what
    the other forces add stays at the promised variance when `colluders` subtract their own shares.

    Args:
        d_squared: square of the block's L2 sensitivity, unscaled.
        rho: what the block may spend; positive.
        scale: fixed-point scale, at least 1.
        roster: forces that add a share, |R|.
        colluders: tolerated colluding forces c.

    Source: Kairouz, Liu and Steinke (2021), distributed discrete Gaussian; docs/privacy.md §3.
    """
    honest = max(1, roster - colluders)
    needed = Fraction(scale * scale * SHARE_DENOMINATOR**2 * NANO, 2 * rho.nano * honest) * d_squared
    return Fraction(_ceil_sqrt(needed), SHARE_DENOMINATOR)


def fixed_point_scale(d_squared: Fraction, rho: Rho, *, forces: int, colluders: int) -> int:
    """The smallest power of two that gives every share of a roster up to `forces` sigma ≥ 4."""
    scale = 1
    while share_sigma(d_squared, rho, scale=scale, roster=forces, colluders=colluders) < LEAST_SHARE:
        scale *= 2
    return scale


def tau(sigma: float, forces: int) -> float:
    """How far a sum of `forces` discrete Gaussians of scale `sigma` ≥ 0.5 is from being one.

    Source: Kairouz, Liu and Steinke (2021), proposition 13.
    """
    squared = 2 * math.pi**2 * sigma**2
    return 10 * sum(math.exp(-squared * k / (k + 1)) for k in range(1, forces))


def summed_rho(rho: float, *, sigma: float, forces: int, cells: int) -> float:
    """Rho of a sum of discrete Gaussian shares, where one Gaussian would cost `rho`.

    Args:
        sigma: of one share, in scaled units; the bound does not hold below 0.5.
        cells: length of the vector d.

    Raises:
        ValueError: `sigma` is below 0.5.

    Source: Kairouz, Liu and Steinke (2021), theorem 14.
    """
    if sigma < 0.5:
        raise ValueError(f"the bound fails for shares with sigma below 0.5, got {sigma}")
    extra = tau(sigma, forces)
    return min(rho + extra * cells / 4, (math.sqrt(2 * rho) + extra * math.sqrt(cells)) ** 2 / 2)


def epsilon(rho: Rho, delta: float) -> float:
    """The epsilon, at `delta`, that rho-zCDP gives.

    Source: Canonne, Kamath and Steinke (2020), corollary 13, minimised over alpha.
    """
    if rho.nano == 0:
        return 0.0
    r = rho.nano / NANO

    def at(log_a: float) -> float:
        a = 1 + math.exp(log_a)
        return a * r + (math.log(1 / delta) + a * math.log1p(-1 / a) - math.log(a - 1)) / (a - 1)

    return max(0.0, _least(at, -10.0, 40.0))


@lru_cache(maxsize=1024)
def rho_for_epsilon(target: Fraction, delta: float) -> Rho:
    """The most rho whose epsilon at `delta` is at most `target`; may be zero."""
    low, high = 0, NANO
    while epsilon(Rho(high), delta) <= target:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if epsilon(Rho(middle), delta) <= target else (low, middle)
    return Rho(low)


def _ceil_sqrt(value: Fraction) -> int:
    whole = -(-value.numerator // value.denominator)
    root = math.isqrt(whole)
    return root if root * root == whole else root + 1


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    # The conversion has one minimum in alpha, so a golden-section search finds it.
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(120):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if function(left) < function(right) else (left, high)
    return function((low + high) / 2)
