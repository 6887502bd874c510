"""Sudden and lasting changes of a series: whether there is one beyond drift and season, where, and how many.

*Whether* is decided by one statistic: the most that a single step explains beside drift and season, over the
variance that noise, chance and the series' own variation leave. Its distribution where nothing has changed is
simulated, with the same estimate of the variance from the same number of values, so that a short series needs a larger
step. *Where* and how many is PELT's choice (Killick, Fearnhead and Eckley 2012) at the penalty that follows.
docs/adr/0033.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ruptures import KernelCPD

from cordon.workbench.trend.amounts import reach_of
from cordon.workbench.trend.model import LEAST_FREEDOM, Array, Guard, Sequel, Whitened, whitened

LEAST_STAY = 2
"""Periods that a level must last to be one: a single odd month is no change of level."""

DRAWS = 20_000
"""Simulated series without a change: a chance of 0.1 % is known to within 0.05 percentage points (95 %)."""

_SEED = 20_260_401
"""The same answer gives the same findings each time."""

_ROUNDS = 5
"""Turns between where the steps are and what drift and season are beside them; most settle in two."""

DATES_REACH = 7.35
"""Fall of twice the log-likelihood that bounds the dates of a change: 95 % where the step is small against the noise,
more where it is large, since the likelihood around the true date is the maximum of two Brownian motions with drift:
(1 - exp(-c / 2))^2 = 0.95 (Siegmund 1986)."""

_ALONE = 1e-9
"""What a fit leaves of a value that nothing but it explains."""

_POWER_QUANTILE = 0.8416
"""Of 80 %."""


@dataclass(frozen=True)
class Scan:
    """The best single step, and what such a statistic is where nothing has changed."""

    place: int
    statistic: float
    nothing: Array
    """Simulated statistics of series without a change, ascending."""
    variance: float
    """Of the standardised series, at least 1."""
    longest: float
    """What a step of one unit shows at the place where it shows most, in supposed deviations."""
    longest_without: float
    """The same where the value is left out that shows most of it."""

    @property
    def p_value(self) -> float:
        """Chance of a statistic as large where nothing has changed. Never zero: it is counted from draws."""
        larger = len(self.nothing) - int(np.searchsorted(self.nothing, self.statistic, side="left"))
        return (larger + 1) / (len(self.nothing) + 1)

    def threshold(self, level: float) -> float:
        """The statistic that is exceeded with chance `level` at most where nothing has changed."""
        at = math.ceil((1 - level) * (len(self.nothing) + 1)) - 1
        return float(self.nothing[min(at, len(self.nothing) - 1)])

    def least_seen(self, level: float, without: float) -> float:
        """Size of a step at the best place that is found four times in five, in the measure's unit.

        Args:
            without: deviations that it must have where a value is left out.
        """
        found = (math.sqrt(self.threshold(level)) + _POWER_QUANTILE) / self.longest
        stands = (without + _POWER_QUANTILE) / self.longest_without
        return max(found, stands) * math.sqrt(self.variance)


def scanned(sequel: Sequel) -> Scan | None:
    """Look for one step at every place; None where the series is too short to tell."""
    if sequel.freedom < LEAST_FREEDOM:
        return None
    white = whitened(sequel, LEAST_STAY)
    if not white.places:
        return None
    standard = (sequel.values / np.sqrt(sequel.variances))[:, None]
    gains, variance = _looked(white, sequel.freedom, standard)
    # Where the noise is known to be most of the variance, a statistic may only be smaller than a simulated one.
    floor = max(1.0, float(variance[0]))
    best = int(gains[:, 0].argmax())
    numbers = tuple(int(number) for number in sequel.numbers)
    nothing = _nothing(numbers, sequel.a_year, sequel.guard)
    # Of a direction of length 1, each value has its square; without the value the rest of its leverage is left.
    leverage = np.maximum(np.diag(white.outside), _ALONE)[:, None]
    kept = np.sqrt(np.maximum(1 - np.square(white.directions) / leverage, _ALONE).min(axis=0))
    lengths = float(white.lengths.max()), float((white.lengths * kept).max())
    return Scan(white.places[best], float(gains[best, 0]) / floor, nothing, floor, *lengths)


@lru_cache(maxsize=16)
def _nothing(numbers: tuple[int, ...], a_year: int, guard: Guard) -> Array:
    """Statistics of simulated series without a change, ascending.

    They depend on which periods there are; how the variances of these differ, by seven times even, moves their
    quantiles by less than the draws do. So groups share them.
    """
    shape = Sequel(np.array(numbers), np.zeros(len(numbers)), np.ones(len(numbers)), a_year, guard)
    normals = np.random.default_rng(_SEED).standard_normal((len(numbers), DRAWS))
    gains, variance = _looked(whitened(shape, LEAST_STAY), shape.freedom, normals)
    return np.sort(gains.max(axis=0) / variance)


def _looked(white: Whitened, freedom: int, standard: Array) -> tuple[Array, Array]:
    """What a step at each place explains, and the variance that is left: shapes (places, series) and (series,).

    The variance is the smaller of two: around the best step, and from second differences, which several steps hardly
    enlarge.
    """
    left = white.outside @ standard
    gains = np.square(white.directions.T @ left)
    around = (np.square(left).sum(axis=0) - gains.max(axis=0)) / freedom
    differing = np.diff(np.eye(len(standard)), n=2, axis=0)
    expected = np.square(differing @ white.outside).sum()
    between = np.square(differing @ left).sum(axis=0) / expected
    return gains, np.minimum(around, between)


def places_of(sequel: Sequel, scan: Scan, level: float) -> tuple[int, ...]:
    """Where the level changes, given that it does: PELT's choice, of which every step must hold beside the others.

    Args:
        level: chance that a step must not exceed where there is none.
    """
    threshold = scan.threshold(level)
    possible = whitened(sequel, LEAST_STAY).places
    single = (min(possible, key=lambda place: sequel.simplest((place,))[1]),)
    found = _settled(sequel, threshold * scan.variance, single, set(possible))
    while found and len(sequel.values) - sequel.columns(found).shape[1] >= LEAST_FREEDOM:
        strengths = _strengths(sequel, found)
        weakest = int(np.argmin(strengths))
        if strengths[weakest] >= threshold:
            return found
        found = found[:weakest] + found[weakest + 1 :]
    # The scan has found a step: at least that one stands.
    return single


def reach_without(sequel: Sequel, reach: float, steps: int = 1) -> float:
    """Deviations that the size of a step must have where a value is left out.

    One place's are enough, but where a single wave stands for the season: what another season adds is then a part of
    the variance, and a step must be told from that like any that was sought.
    """
    if sequel.guard is Guard.WAVE:
        return reach
    freedom = len(sequel.values) - sequel.nuisance.shape[1] - steps - 1
    return reach_of(max(freedom, 1), 1)


def standing(sequel: Sequel, places: tuple[int, ...], reach: float) -> tuple[int, ...]:
    """The steps whose size is told from nothing, and that would be a difference without any single value.

    Args:
        reach: deviations on either side of a size that was sought.
    """
    while places:
        without = reach_without(sequel, reach, len(places))
        strengths = np.minimum(np.sqrt(_strengths(sequel, places)) / reach, _without_any(sequel, places) / without)
        weakest = int(np.argmin(strengths))
        if strengths[weakest] > 1:
            break
        places = places[:weakest] + places[weakest + 1 :]
    return places


def _without_any(sequel: Sequel, places: tuple[int, ...]) -> Array:
    """The least size of each step where one value is left out, in its deviations; 0 or less where it hangs on one.

    Leaving a value out is a column of its own (Belsley, Kuh and Welsch 1980), so that nothing is fitted anew: with
    the residual r of a value whose leverage is h, sizes move by the value's weight in them times r / (1 - h).
    """
    columns = sequel.columns(places) / np.sqrt(sequel.variances)[:, None]
    values = sequel.values / np.sqrt(sequel.variances)
    count, steps = len(values), len(places)
    solved = np.linalg.pinv(columns)
    spread, found = solved @ solved.T, solved @ values
    left = values - columns @ found
    free = 1 - np.einsum("ij,ji->i", columns, solved)
    of_steps, freedom = solved[-steps:], count - columns.shape[1]
    sizes, variances = found[-steps:], np.diag(spread)[-steps:]
    alone = free <= _ALONE
    share = np.where(alone, 1.0, free)
    # Signs count: a size that turns without one value hangs on it.
    moved = (sizes[:, None] - of_steps * (left / share)) * np.sign(sizes)[:, None]
    wider = variances[:, None] + np.square(of_steps) / share
    excesses = np.maximum(1.0, (left @ left - np.square(left) / share) / max(freedom - 1, 1))
    without = np.where(alone & (np.abs(of_steps) > _ALONE), 0.0, moved / np.sqrt(wider * excesses))
    return np.asarray(without.min(axis=1))


def _strengths(sequel: Sequel, places: Sequence[int]) -> Array:
    """The statistic of each step beside the others."""
    fitted = sequel.fitted(places)
    steps = len(places)
    sizes, variances = fitted.coefficients[-steps:], np.diag(fitted.spread)[-steps:]
    return np.asarray(np.square(sizes) / (variances * fitted.excess))


def _settled(sequel: Sequel, penalty: float, single: tuple[int, ...], possible: set[int]) -> tuple[int, ...]:
    """PELT on the series without drift and season, which depend on the steps: from each of two beginnings, in turns."""
    scale = math.sqrt(float(sequel.variances.mean()))
    drift = sequel.nuisance.shape[1]
    best = (sequel.simplest(single)[1] + penalty, single)
    for begin in ((), single):
        places: tuple[int, ...] = begin
        for _ in range(_ROUNDS):
            flat = (sequel.values - sequel.nuisance[:, 1:] @ sequel.simplest(places)[0][1:drift]) / scale
            found = tuple(place for place in _segmented(flat, penalty) if place in possible)
            if found == places or not sequel.can_tell(found):
                break
            places = found
            best = min(best, (sequel.simplest(places)[1] + penalty * len(places), places))
    return best[1]


def _segmented(flat: Array, penalty: float) -> tuple[int, ...]:
    """Where the parts of a series begin that are cheapest, a part costing `penalty` and its squares about its mean."""
    search = KernelCPD(kernel="linear", min_size=LEAST_STAY).fit(flat.reshape(-1, 1))
    return tuple(int(end) for end in search.predict(pen=penalty)[:-1])


def dates_of(sequel: Sequel, places: Sequence[int], at: int) -> tuple[int, int]:
    """First and last place where one of the changes may lie: what the likelihood does not tell from the best.

    Only steps in the same direction count: one the other way, a year off, is another explanation and no other date.

    Args:
        places: all changes, ascending.
        at: index of the change among them.
    """
    excess, (found, least) = sequel.fitted(places).excess, sequel.simplest(places)
    step = sequel.nuisance.shape[1] + at
    low = places[at - 1] + LEAST_STAY if at else LEAST_STAY
    high = places[at + 1] - LEAST_STAY if at + 1 < len(places) else len(sequel.values) - LEAST_STAY
    near = [places[at]]
    for place in range(low, high + 1):
        moved = (*places[:at], place, *places[at + 1 :])
        if not sequel.can_tell(moved):
            continue
        there, left = sequel.simplest(moved)
        if left - least <= DATES_REACH * excess and there[step] * found[step] > 0:
            near.append(place)
    return min(near), max(near)
