"""A series without what comes back every year, and the noise that is left in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cordon.workbench.trend.model import Array, Sequel

YEARS_TO_ADJUST = 3
"""Whole years of a series before it is shown without its season: with fewer, the season is hardly known."""


def without_season(sequel: Sequel, steps: Sequence[int], sigmas: Array) -> dict[int, tuple[float, float]]:
    """Each period's value less what its month or quarter brings every year, and the deviation of its noise.

    The season is a regression's, beside drift and steps. It is linear in the values, so that the noise of the adjusted
    values follows exactly from that of all values: each adjusted value has a share of every other's noise.

    Args:
        steps: places where the level changes.
        sigmas: standard deviations of the values' noise.

    Returns:
        Nothing where the series is too short.
    """
    if len(sequel.values) < YEARS_TO_ADJUST * sequel.a_year or not sequel.has_months:
        return {}
    # What the drift's bend follows is read from the values, and would not be linear in them.
    sequel = replace(sequel, growth=0.0)
    columns = sequel.columns(steps)
    weights = 1 / np.sqrt(sequel.variances)
    solved = np.linalg.pinv(columns * weights[:, None]) * weights
    season = sequel.season_at
    influence = np.eye(len(sequel.values)) - columns[:, season] @ solved[season]
    values, noise = influence @ sequel.values, np.sqrt(np.square(influence) @ np.square(sigmas))
    return {
        int(number): (float(value), float(s)) for number, value, s in zip(sequel.numbers, values, noise, strict=True)
    }
