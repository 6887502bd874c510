"""Whether two releases differ by more than noise and ordinary variation explain. Pure.

The difference of two noised counts has the noise of both, and where `Natural.POISSON` is asked the variation of
both: units arrive independently at an unchanged rate, at most k rows each, and at worst all k at once. The rate is
not known; the p-value is the largest over the rates that the sum of both releases leaves, plus the chance that it
leaves out the true one (Berger and Boos 1994). Tails are by the saddlepoint (Lugannani and Rice 1980): exact for
noise alone, and good to a few per cent of themselves where counts are small, where a normal's would be too thin.

A year has at most `Every.most_a_year` releases; each may alarm falsely with `FALSE_ALARMS` divided by that
(Bonferroni), which Holm's procedure (1979) shares out over its cells. Releases that are compared twice, cells that
depend on one another, and what is left out for being small do not break either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from cordon.analyst.rows import Estimate
from cordon.estimate.interval import REACH_95

Array = npt.NDArray[np.float64]

FALSE_ALARMS = 0.05
"""Most that the chance of any false alert of a watch in a calendar year may be."""

SPARED = 0.05
"""Share of each cell's part of `FALSE_ALARMS` that pays for the rate's upper bound."""

_STEPS = 60
"""Halvings of the bracket of a saddlepoint: as many as a double has digits."""

LEAST_NOISE = 0.7
"""Deviation of the difference's noise, in units of k, below which rows that come k at once leave steps in its
distribution that a saddlepoint passes over: there the tail is Chernoff's bound. Noise is below it where a release
costs epsilon 13 and more.
"""

FEWEST_ROWS = 1e-200
"""Stands for none, where a quotient by it must be a number."""

_erfc = np.frompyfunc(math.erfc, 1, 1)


@dataclass(frozen=True, slots=True)
class Pair:
    """One cell in two releases."""

    keys: tuple[str | None, ...]
    measure: str
    before: Estimate
    now: Estimate
    cluster: float | None
    """Rows that come at once at most: those of one unit, as many times as records vary more than independent ones.
    None where no natural variation is taken into account.
    """


@dataclass(frozen=True, slots=True)
class Finding:
    """A cell that has changed."""

    pair: Pair
    p: float
    """Chance of such a difference by noise and ordinary variation, at most."""

    @property
    def change(self) -> float:
        """In the measure's own unit."""
        return self.pair.now.value - self.pair.before.value

    @property
    def relative(self) -> float | None:
        """Share of the earlier estimate; None where that is not above zero."""
        return self.change / self.pair.before.value if self.pair.before.value > 0 else None


def sigma_of(estimate: Estimate) -> float:
    """Deviation of the noise of a plain count or sum, by its interval."""
    return (estimate.high - estimate.low) / 2 / REACH_95


def is_plain(estimate: Estimate) -> bool:
    """Whether an estimate has noise that is known and not none."""
    return math.isfinite(estimate.value) and math.isfinite(sigma_of(estimate)) and sigma_of(estimate) > 0


def findings(pairs: Sequence[Pair], *, releases: int, least_change: float) -> tuple[Finding, ...]:
    """The cells that have changed, the surest first.

    Args:
        releases: most comparisons in a year.
        least_change: share of the earlier estimate below which a change is left out.
    """
    if not pairs:
        return ()
    level = FALSE_ALARMS / releases
    tail = SPARED * level / len(pairs)
    before, now = (np.array([e.value for e in side]) for side in _sides(pairs))
    sigmas = [np.array([sigma_of(e) for e in side]) for side in _sides(pairs)]
    natural = np.array([float(pair.cluster or 0) for pair in pairs])
    p = p_values(before, now, sigmas[0] ** 2 + sigmas[1] ** 2, natural, tail)
    found = [Finding(pairs[at], float(p[at])) for at in holm(p, level)]
    return tuple(item for item in found if _is_large(item, least_change))


def holm(p: Array, level: float) -> list[int]:
    """Indices of the p-values that Holm's procedure rejects, smallest first.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    kept: list[int] = []
    for rank, at in enumerate(np.argsort(p, kind="stable")):
        if p[at] > level / (len(p) - rank):
            break
        kept.append(int(at))
    return kept


def p_values(before: Array, now: Array, variance: Array, cluster: Array, tail: float) -> Array:
    """Two-sided, of differences between releases.

    Args:
        variance: of the noise of the difference.
        cluster: k, most rows of a unit; 0 for no natural variation.
        tail: chance that a rate's upper bound may be below the rate.
    """
    natural = cluster > 0
    k = np.where(natural, cluster, 1.0)
    rows = np.where(natural, most_rows(before + now, variance, k, tail), 0.0)
    distance = np.abs(now - before)
    return np.minimum(1.0, 2 * upper_tail(distance, rows, variance, k) + np.where(natural, tail, 0.0))


def most_rows(total: Array, variance: Array, k: Array, tail: float) -> Array:
    """Upper bound on the rows that are expected in both releases together, given their noised sum.

    The sum has a variance of at most k times its expectation and the noise's: the bound is the expectation from which
    the sum lies as many deviations below as the tail says.
    """
    reach = NormalDist().inv_cdf(1 - tail)
    inner = (k * reach) ** 2 + 4 * (variance + k * total)
    deviation = (k * reach + np.sqrt(np.maximum(inner, 0.0))) / 2
    return np.where(inner < 0, 0.0, np.maximum(0.0, (deviation**2 - variance) / k))


def upper_tail(distance: Array, rows: Array, variance: Array, k: Array) -> Array:
    """Chance that the difference is at least `distance`, where `rows` come in both releases together in groups of k.

    Source: Lugannani and Rice (1980), with the cumulants of a difference of two compound Poisson numbers and a normal:
    K(t) = rows/k·(cosh(kt) − 1) + variance·t²/2.
    """
    distance, rows = np.maximum(distance, 1e-12), np.maximum(rows, FEWEST_ROWS)
    # The slope of K is at least that of the noise alone, and at least that of the rows alone.
    high = np.minimum(distance / variance, np.arcsinh(distance / rows) / k)
    low = np.zeros_like(high)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        beyond = rows * np.sinh(k * middle) + variance * middle > distance
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    t = (low + high) / 2
    cumulant = rows / k * (2 * np.sinh(k * t / 2) ** 2) + variance * t**2 / 2
    w = np.sqrt(2 * np.maximum(t * distance - cumulant, 0.0))
    u = t * np.sqrt(rows * k * np.cosh(k * t) + variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        correction = np.exp(-(w**2) / 2) / math.sqrt(2 * math.pi) * (1 / u - 1 / w)
    smooth = _erfc(w / math.sqrt(2)).astype(np.float64) / 2 + correction
    tail = np.where(variance < (LEAST_NOISE * k) ** 2, np.exp(-(w**2) / 2), smooth)
    # Near the middle of the distribution the formula divides zero by zero, and nothing is decided there.
    return np.clip(np.where(w < 1e-2, 0.5, tail), 0.0, 0.5)


def _sides(pairs: Sequence[Pair]) -> tuple[list[Estimate], list[Estimate]]:
    return [pair.before for pair in pairs], [pair.now for pair in pairs]


def _is_large(found: Finding, least: float) -> bool:
    return found.relative is None or abs(found.relative) >= least
