"""One series as a weighted regression: a level, a drift that may bend, what comes back every year, and steps.

A value's variance is the known variance of the noise, for counts at least that of a Poisson number at the fitted level
beside it, times what the series shows to vary more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
from statsmodels.regression.linear_model import WLS

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

LEAST_FREEDOM = 4
"""Values beyond what is fitted that a series must have before anything is sought in it."""

CURVE_YEARS = 2.5
"""Years that a series must have before its drift may bend: steady growth in percent is no line, and over longer it
differs from one by more than chance does, which a step would explain. Over less it cannot be told from one."""

_ALIKE = 1e-6
"""Share of a step's length that must be left beside drift and season: a step that they explain cannot be told."""

_LEAST_VARIANCE = 1e-12

_LEAST_GROWTH = 1e-3
_MOST_GROWTH = 1.0


class Guard(StrEnum):
    """What of a yearly pattern is kept from being taken for a change."""

    MONTHS = "any yearly pattern"
    """Each month of the year has a level of its own: from two whole years on."""
    WAVE = "a smooth yearly wave"
    """One sine over the year: from one whole year on."""
    NONE = "nothing"


@dataclass(frozen=True)
class Fitted:
    """A regression on drift, season and steps."""

    coefficients: Array
    """Level in the middle, drift a year on average, its bend where there is one, season, then one for each step."""
    spread: Array
    """Covariance of the coefficients where the variance of the values is as supposed."""
    residuals: Array
    """In units of each value's supposed deviation."""
    freedom: int
    mean_row: Array
    """Weights of the coefficients in the mean of the fitted values."""

    @property
    def excess(self) -> float:
        """How many times the supposed variance the series shows, at least 1: the noise is known to be there."""
        return max(1.0, float(self.residuals @ self.residuals) / max(self.freedom, 1))


@dataclass(frozen=True)
class Sequel:
    """A series that is ready to be fitted: usable places only."""

    numbers: Numbers
    """Periods, ascending; there may be gaps."""
    values: Array
    variances: Array
    """What noise, and for counts chance, explain of each value."""
    a_year: int
    guard: Guard
    growth: float = 0.0
    """Drift a year as a share of the level, which the bend follows where there is one."""

    @cached_property
    def nuisance(self) -> Array:
        """Columns of level, drift in years from the middle, its bend, and season; each of shape (values,)."""
        middle = (self.numbers[0] + self.numbers[-1]) / 2
        years = (self.numbers - middle) / self.a_year
        columns = [np.ones(len(years)), years]
        if self.bends:
            columns.append(_bend(years, self.growth))
        if self.guard is Guard.WAVE:
            columns += [np.sin(2 * np.pi * years), np.cos(2 * np.pi * years)]
        return np.stack([*columns, *(season_columns(self.numbers, self.a_year) if self.has_months else ())], axis=1)

    @property
    def bends(self) -> bool:
        """Whether the drift may bend, as growth in percent does: where the series is long enough to see that."""
        seasons = {Guard.MONTHS: self.a_year - 1, Guard.WAVE: 2, Guard.NONE: 0}[self.guard]
        # Level, drift, bend and one step.
        freedom = len(self.numbers) - seasons - 4
        return len(self.numbers) >= CURVE_YEARS * self.a_year and freedom >= LEAST_FREEDOM

    @property
    def season_at(self) -> slice:
        """Where the columns of the season stand among those of drift and season."""
        return slice(2 + self.bends, self.nuisance.shape[1])

    @property
    def has_months(self) -> bool:
        """Whether each month of the year has a level of its own."""
        return self.guard is Guard.MONTHS

    @property
    def freedom(self) -> int:
        """Values beyond level, drift, season and one step."""
        return int(len(self.values) - self.nuisance.shape[1] - 1)

    def steps(self, places: Sequence[int]) -> Array:
        """Columns that are 0 before each place and 1 from there on."""
        after = [np.arange(len(self.values)) >= place for place in places]
        return np.stack(after, axis=1).astype(float) if after else np.empty((len(self.values), 0))

    def columns(self, places: Sequence[int]) -> Array:
        """Those of level, drift and season, then those of the steps."""
        return np.concatenate([self.nuisance, self.steps(places)], axis=1)

    def can_tell(self, places: Sequence[int]) -> bool:
        """Whether steps at these places can be told from drift, season and one another."""
        columns = self.columns(places)
        return bool(columns.shape[1] < len(columns) and np.linalg.matrix_rank(columns) == columns.shape[1])

    def simplest(self, places: Sequence[int]) -> tuple[Array, float]:
        """Coefficients with steps at some places where drift and season are kept small, and what is left unexplained.

        Over few years, a step one way is also a drift and a season that happen to cancel a step the other way: with
        free months, years of staircase are a slope. Of explanations that are nearly as good this takes the one with
        the least drift and season: their prior deviation is that of the whole series, in each value's deviations.
        """
        columns = self.columns(places) / np.sqrt(self.variances)[:, None]
        standard = self.values / np.sqrt(self.variances)
        drift = self.nuisance.shape[1]
        sizes = np.sqrt(np.square(columns).mean(axis=0)) / max(float(standard.std()), 1.0)
        kept = np.diag(sizes)[1:drift]
        system = np.concatenate([columns, kept])
        wanted = np.concatenate([standard, np.zeros(len(kept))])
        found = np.linalg.lstsq(system, wanted, rcond=None)[0]
        return found, float(np.square(wanted - system @ found).sum())

    def fitted(self, places: Sequence[int] = ()) -> Fitted:
        """Fit with steps at some places, which `can_tell` must allow."""
        columns = self.columns(places)
        found = WLS(self.values, columns, weights=1 / self.variances).fit()
        return Fitted(
            np.asarray(found.params),
            np.asarray(found.normalized_cov_params),
            np.asarray(found.wresid),
            len(self.values) - columns.shape[1],
            columns.mean(axis=0),
        )


def _bend(years: Array, growth: float) -> Array:
    """What growth in percent has beside a line; the square of time where there is hardly any.

    Nothing of it is level or line, so that the drift beside it is that of the whole time.
    """
    if abs(growth) < _LEAST_GROWTH:
        shape = np.square(years)
    else:
        shape = 2 * (np.expm1(growth * years) - growth * years) / growth**2
    line = np.stack([np.ones(len(years)), years], axis=1)
    return np.asarray(shape - line @ np.linalg.lstsq(line, shape, rcond=None)[0])


def season_columns(numbers: Numbers, a_year: int) -> list[Array]:
    """A column for each period of the year but the last, less its mean over the year: the level is the whole year's."""
    of_year = numbers % a_year
    return [(of_year == part).astype(float) - (of_year == a_year - 1) for part in range(a_year - 1)]


def prepared(numbers: Numbers, values: Array, sigmas: Array, a_year: int, *, counts: bool, season: bool) -> Sequel:
    """A series with the variance that noise and chance explain.

    Args:
        sigmas: standard deviation of each value's noise.
        counts: values are counts, which vary by chance as Poisson numbers at least.
        season: guard against what comes back every year, as far as the series allows.
    """
    noise = np.maximum(np.square(sigmas), _LEAST_VARIANCE)
    first = Sequel(numbers, values, noise + max(float(values.mean()), 0.0) * counts, a_year, Guard.NONE)
    first = replace(first, guard=_guard(first) if season else Guard.NONE)
    if first.freedom < LEAST_FREEDOM:
        return first
    if first.bends:
        level, drift = first.fitted().coefficients[:2]
        growth = drift / level if level > 0 else 0.0
        first = replace(first, growth=float(np.clip(growth, -_MOST_GROWTH, _MOST_GROWTH)))
    if not counts:
        return first
    level = first.nuisance @ first.fitted().coefficients
    return replace(first, variances=noise + np.maximum(level, 0.0))


def _guard(sequel: Sequel) -> Guard:
    """What of a yearly pattern a series is long enough to be guarded against; months must have been seen for it."""
    for guard, years in ((Guard.MONTHS, 2), (Guard.WAVE, 1)):
        if len(sequel.numbers) >= years * sequel.a_year and replace(sequel, guard=guard).can_tell(()):
            return guard
    return Guard.NONE


@dataclass(frozen=True)
class Whitened:
    """A series in units of its supposed deviations, with drift and season taken out, and steps to compare it with."""

    outside: Array
    """Takes level, drift and season out: shape (values, values)."""
    directions: Array
    """What is left of each step, of length 1: shape (values, places)."""
    places: tuple[int, ...]
    """Where those steps are."""
    lengths: Array
    """Length of each direction before it was made 1: what a step of one unit shows, in deviations."""


def whitened(sequel: Sequel, least_stay: int) -> Whitened:
    """What a step would look like at each place that can be told from drift and season.

    Args:
        least_stay: values that must stand on either side of a step.
    """
    weights = 1 / np.sqrt(sequel.variances)
    inside, _ = np.linalg.qr(sequel.nuisance * weights[:, None])
    outside = np.eye(len(weights)) - inside @ inside.T
    places = np.arange(least_stay, len(weights) - least_stay + 1)
    steps = sequel.steps(list(places)) * weights[:, None]
    left = outside @ steps
    lengths = np.sqrt(np.square(left).sum(axis=0))
    kept = lengths > _ALIKE * np.sqrt(np.square(steps).sum(axis=0))
    return Whitened(outside, left[:, kept] / lengths[kept], tuple(int(place) for place in places[kept]), lengths[kept])
