"""Discrete Gaussians by exact summation in log space, and the tests that samples are held to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp
from scipy.stats import chi2

FALSE_ALARM = 1e-9
"""How often a test here fails although the noise is right, for each comparison."""


def log_pmf(sigma: float, reach: int) -> np.ndarray:
    """Log probabilities of a discrete Gaussian at −reach … reach."""
    weights = -np.square(np.arange(-reach, reach + 1, dtype=float)) / (2 * sigma**2)
    return weights - logsumexp(weights)


def log_sum(sigma: float, forces: int, reach: int) -> np.ndarray:
    """Log probabilities at −reach … reach of the sum of `forces` shares, by convolution in log space."""
    share = log_pmf(sigma, reach)
    total = share
    for _ in range(forces - 1):
        columns = [
            logsumexp(total[max(0, at - reach) : at + reach + 1] + share[::-1][max(0, reach - at) : 3 * reach + 1 - at])
            for at in range(2 * reach + 1)
        ]
        total = np.array(columns)
    return total


def renyi_over_alpha(logs: np.ndarray, alpha: float, shift: int = 1) -> float:
    """Rényi divergence of order alpha between a distribution and itself shifted, divided by alpha."""
    here, there = logs[shift:], logs[:-shift]
    return float(logsumexp(alpha * here + (1 - alpha) * there) / (alpha - 1) / alpha)


def chi_square(samples: Sequence[int], probabilities: np.ndarray, reach: int) -> float:
    """P-value that samples come from `probabilities` at −reach … reach; rare values are pooled into the tails."""
    expected = probabilities * len(samples)
    cumulative = np.cumsum(expected)
    low = int(np.searchsorted(cumulative, 20))
    high = len(expected) - 1 - low
    inner = expected[low : high + 1].copy()
    inner[0], inner[-1] = expected[: low + 1].sum(), expected[high:].sum()
    places = np.clip(np.asarray(samples) + reach, low, high) - low
    observed = np.bincount(places, minlength=len(inner))
    statistic = float((np.square(observed - inner) / inner).sum())
    return float(chi2.sf(statistic, len(inner) - 1))


def variance_p_value(samples: Sequence[int], sigma: float) -> float:
    """Two-sided p-value that the mean square of near-Gaussian samples with mean 0 is sigma²."""
    statistic = math.fsum(x * x for x in samples) / sigma**2
    return float(2 * min(chi2.sf(statistic, len(samples)), chi2.cdf(statistic, len(samples))))
