"""Adjustment of p-values for how many comparisons are made at once."""

from __future__ import annotations

from statistics import NormalDist

from statsmodels.stats.multitest import multipletests

from cordon.workbench.disparity.effects import Array
from cordon.workbench.disparity.statement import Adjust

LEVEL = 0.05
"""At most this probability of any false finding (`holm`), or this share of false ones among the findings (`fdr`)."""


def adjusted(p_values: Array, how: Adjust) -> Array:
    """Adjusted p-values, each to be compared with `LEVEL`."""
    if not p_values.size:
        return p_values
    method = "holm" if how is Adjust.HOLM else "fdr_bh"
    return multipletests(p_values, alpha=LEVEL, method=method)[1]


def joint_reach(comparisons: int) -> float:
    """Deviations on either side of intervals that hold all truths at once in 95 % of releases (Bonferroni)."""
    return NormalDist().inv_cdf(1 - LEVEL / 2 / max(1, comparisons))
