"""The newest year against the year before: the same months of both, so that no season is in the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cordon.estimate.interval import REACH_95
from cordon.workbench.trend.amounts import Amount, Linear, amount, amounts
from cordon.workbench.trend.model import Array, Fitted, Sequel
from cordon.workbench.trend.periods import Grain
from cordon.workbench.trend.series import Place

Pairs = Mapping[int, tuple[Place, Place]]
"""Each usable period's number, with the same period of the year before and itself."""


@dataclass(frozen=True)
class YearSeen:
    """The mean of the newest periods against that of the same ones a year before."""

    numbers: tuple[int, ...]
    linear: Linear
    """With the variance that the series shows."""
    noise: Linear
    """With that of the noise alone."""
    excess: float
    """What the supposed variances were multiplied by."""

    def beside(self, fitted: Fitted) -> Linear:
        """With the variance that the series shows beside its steps."""
        scale = fitted.excess / self.excess
        parts = {part: scale * getattr(self.linear, part) for part in ("variance", "base_variance", "covariance")}
        return replace(self.linear, **parts)

    @property
    def recorded(self) -> Amount:
        """What the records say, as far as the noise lets it be seen."""
        return amount(self.noise, REACH_95)


def pairs_of(places: Sequence[Place], grain: Grain) -> Pairs:
    """The usable periods whose year before is usable too."""
    usable = {place.number: place for place in places if place.is_usable}
    before = {number: usable.get(number - grain.a_year) for number in usable}
    return {number: (earlier, usable[number]) for number, earlier in before.items() if earlier is not None}


def year_seen(pairs: Pairs, sequel: Sequel, plain: Fitted) -> YearSeen | None:
    """The newest year, or what there is of it, against the year before; None for a series of a year or less."""
    newest = int(sequel.numbers[-1]) - sequel.a_year
    chosen = {number: pair for number, pair in pairs.items() if number > newest}
    if not chosen:
        return None
    noise = np.array([[place.sigma**2 for place in pair] for pair in chosen.values()])
    values = np.array([[place.value for place in pair] for pair in chosen.values()])
    variances = np.array([_variances(pair, sequel) for pair in chosen.values()])
    seen = _means(values, plain.excess * variances)
    return YearSeen(tuple(chosen), seen, _means(values, noise), plain.excess)


def _variances(pair: tuple[Place, Place], sequel: Sequel) -> Array:
    return sequel.variances[np.searchsorted(sequel.numbers, [place.number for place in pair])]


def _means(values: Array, variances: Array) -> Linear:
    """Of pairs (before, after): how much the mean after is more than the mean before."""
    before, after = (float(mean) for mean in values.mean(axis=0))
    parts = variances.sum(axis=0) / len(values) ** 2
    return Linear(after - before, before, float(parts.sum()), float(parts[0]), -float(parts[0]))


def each_against(pairs: Pairs, sequel: Sequel, excess: float, reach: float) -> dict[int, Amount]:
    """Each period by itself against the same one of the year before.

    Args:
        excess: what the supposed variances are multiplied by.
        reach: deviations on either side.
    """
    linear = [
        _means(np.array([[place.value for place in pair]]), excess * _variances(pair, sequel)[None, :])
        for pair in pairs.values()
    ]
    return dict(zip(pairs, amounts(linear, [reach] * len(linear)), strict=True))
