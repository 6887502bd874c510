"""Rates, their ratios and differences, with intervals and tests that know the noise of both sides.

A rate is a count of records over public residents, or over all of a group's records. Its ratio to the reference
group's rate has the interval of docs/privacy.md §6: every value that a noise vector of at most `reach` deviations
explains. The test of equal rates is the same statement turned round: how many deviations away is the nearest noise
under which the rates are equal. So an interval of reach z leaves out 1 exactly if the test rejects at that reach.

With `with_chance`, counts are Poisson variables of which this year's records are one draw: their variance is added
to that of the noise, and intervals and tests are about what brings records about, not about these records alone.
Where one person may have k records, the variance is k times that, which is the most that independent people make.
A share of records is binomial given its records, as counts of both kinds are when each is Poisson.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cordon.estimate.interval import REACH_95, Ends, Given, interval
from cordon.query.expression import Arithmetic, Expression, Leaf, Part, evaluate

Array = npt.NDArray[np.float64]

_HITS, _REST, _THEIR_HITS, _THEIR_REST = (Part(at) for at in range(4))
_SHARE = Arithmetic("/", _HITS, Arithmetic("+", _HITS, _REST))
_THEIR_SHARE = Arithmetic("/", _THEIR_HITS, Arithmetic("+", _THEIR_HITS, _THEIR_REST))

_ANGLES = 180
_NARROWINGS = 45
"""Steps of a golden section, each of which leaves 0.618 of a degree's bracket: to within rounding of a double."""

_LEAST_CHANCE = 2.0
"""Added to each count as its Poisson variance, since a count near zero does not show how much it could have been: with
1.0, intervals of 4 records and little noise hold the truth in 93 %."""

_LEAST_EXPECTED = 1.0
"""The same of a count that is expected at a rate, for which other records speak as well."""


@dataclass(frozen=True)
class Side:
    """One group's records in any number of places, all arrays of one shape."""

    hits: Array
    """Noised records, with the outcome where one is asked for."""
    hits_off: Array
    """Deviation of each."""
    rest: Array | None = None
    """Noised records without the outcome, where the rate is a share of records."""
    rest_off: Array | None = None
    residents: Array | None = None
    """Public residents, where the rate is per resident."""
    rows: float = 1.0
    """Most records of one unit, which come about together."""

    @property
    def rate(self) -> Array:
        """The estimate, not kept within bounds: NaN or infinite over nothing."""
        with np.errstate(all="ignore"):
            return self.hits / (self.hits + self.rest if self.rest is not None else self.people)

    @property
    def people(self) -> Array:
        """The residents of a rate that is per resident."""
        if self.residents is None:
            raise AssertionError("a rate is over records or over residents")
        return self.residents


def with_chance(side: Side) -> Side:
    """The same records as one draw of what could have come about."""

    def drawn(count: Array, off: Array) -> Array:
        return _with_poisson(count, off, side.rows, _LEAST_CHANCE)

    return replace(
        side,
        hits_off=drawn(side.hits, side.hits_off),
        rest_off=None if side.rest is None or side.rest_off is None else drawn(side.rest, side.rest_off),
    )


def alike_by_chance(side: Side, reference: Side) -> tuple[Side, Side]:
    """Both sides as draws of what could have come about if their rates were equal: for the test of just that.

    The variance is that of the counts expected at the rate of both together. One taken from each count itself is small
    where the count happens to be low, so that groups with few records would stand out too often.
    """
    with np.errstate(all="ignore"):
        rate = np.nan_to_num((side.hits + reference.hits) / (over(side) + over(reference)))
    return _at_rate(side, rate), _at_rate(reference, rate)


def rate_ends(side: Side, *, reach: float = REACH_95, within: float = 0.0) -> Ends:
    """Interval of each rate, between what rates can be.

    Args:
        reach: deviations on either side.
        within: how far the residents may be off, as a share of them.
    """
    if side.rest is not None and side.rest_off is not None:
        off: dict[Leaf, Array] = {_HITS: side.hits_off, _REST: side.rest_off}
        ends = interval(_SHARE, _given({_HITS: side.hits, _REST: side.rest}, off, reach))
        return Ends(np.clip(ends.low, 0.0, 1.0), np.clip(ends.high, 0.0, 1.0))
    arm = reach * side.hits_off / side.people
    low, high = np.maximum(side.rate - arm, 0.0), np.maximum(side.rate + arm, 0.0)
    return Ends(low / (1 + within), high / (1 - within))


def ratio(side: Side, reference: Side) -> Array:
    """How many times the reference's rate each rate is; NaN where there is no such number."""
    with np.errstate(all="ignore"):
        found = side.rate / reference.rate
    return np.where(np.isfinite(found), found, math.nan)


def ratio_ends(side: Side, reference: Side, *, reach: float = REACH_95, within: float = 0.0) -> Ends:
    """Interval of each ratio of rates, never below zero; without an upper end where the reference may be nought."""
    ends = _quotient_ends(side, reference, reach, within)
    # Of rates that are never below zero, the ratio turned round says how small this one may be.
    turned = _quotient_ends(reference, side, reach, within).high
    with np.errstate(all="ignore"):
        least = np.where(np.isinf(ends.high) & np.isfinite(turned) & (turned > 0), 1 / turned, 0.0)
    return Ends(np.maximum(ends.low, least), np.maximum(ends.high, 0.0))


def _quotient_ends(side: Side, reference: Side, reach: float, within: float) -> Ends:
    return _over_residents(
        side, reference, within, lambda one, other: _ends(Arithmetic("/", *_rates(one)), one, other, reach)
    )


def difference_ends(side: Side, reference: Side, *, reach: float = REACH_95, within: float = 0.0) -> Ends:
    """Interval of each difference of rates."""
    return _over_residents(
        side, reference, within, lambda one, other: _ends(Arithmetic("-", *_rates(one)), one, other, reach)
    )


def deviations_from_equal(side: Side, reference: Side, *, within: float = 0.0) -> Array:
    """Length of the shortest noise, in deviations, under which both rates are equal: 1.96 is a p-value of 5 %.

    Args:
        within: how far the residents may be off; zero deviations where such residents alone make the rates equal.
    """
    if side.rest is not None:
        return _from_equal_shares(side, reference)
    found = [_from_equal_rates(*corner) for corner in _corners(side, reference, within)]
    signs = np.sign(np.stack(found))
    agreed = np.all(signs == signs[0], axis=0)
    return np.where(agreed, np.abs(np.stack(found)).min(axis=0), 0.0)


def p_value(deviations: Array) -> Array:
    """Two-sided probability that the noise alone is at least so many deviations long in one direction."""
    return np.array([math.erfc(float(each) / math.sqrt(2)) for each in deviations.reshape(-1)]).reshape(
        deviations.shape
    )


# The two kinds of rates


def _rates(side: Side) -> tuple[Expression, Expression]:
    return (_HITS, _THEIR_HITS) if side.rest is None else (_SHARE, _THEIR_SHARE)


def _ends(expression: Expression, side: Side, reference: Side, reach: float) -> Ends:
    """Of an expression over both sides' rates."""
    if side.rest is None:
        return interval(
            expression,
            _given(
                {_HITS: side.rate, _THEIR_HITS: reference.rate},
                {_HITS: side.hits_off / side.people, _THEIR_HITS: reference.hits_off / reference.people},
                reach,
            ),
        )
    return interval(
        expression,
        _given(
            {
                _HITS: side.hits,
                _REST: _known(side.rest),
                _THEIR_HITS: reference.hits,
                _THEIR_REST: _known(reference.rest),
            },
            {
                _HITS: side.hits_off,
                _REST: _known(side.rest_off),
                _THEIR_HITS: reference.hits_off,
                _THEIR_REST: _known(reference.rest_off),
            },
            reach,
        ),
    )


def _given(values: Mapping[Leaf, Array], off: Mapping[Leaf, Array], reach: float) -> Given:
    # Intervals are made for a reach of 1.96: another is asked for by deviations that are as much longer.
    return Given(values, {leaf: deviation * (reach / REACH_95) for leaf, deviation in off.items()}, {})


def _known(value: Array | None) -> Array:
    if value is None:
        raise AssertionError("a share needs the records without the outcome")
    return value


def over(side: Side) -> Array:
    """What a side's rate is over: residents, or all of its records."""
    return side.people if side.rest is None else side.hits + side.rest


def _at_rate(side: Side, rate: Array) -> Side:
    """A side with the variances of the counts that are expected at a rate."""
    records = np.maximum(over(side), 0.0)

    def expected(share: Array, off: Array) -> Array:
        return _with_poisson(records * share, off, side.rows, _LEAST_EXPECTED)

    return replace(
        side,
        hits_off=expected(np.maximum(rate, 0.0), side.hits_off),
        rest_off=None if side.rest_off is None else expected(1 - np.clip(rate, 0.0, 1.0), side.rest_off),
    )


def _with_poisson(count: Array, off: Array, rows: float, least: float) -> Array:
    """With the most that chance adds where units are independent and each has up to `rows` records.

    Of Poisson units with N records each, the variance of a sum is that of E[N²] ≤ rows · E[N]; and of a weighted sum
    of two kinds of records as well, by Cauchy and Schwarz.
    """
    return np.asarray(np.sqrt(np.square(off) + rows * (np.maximum(count, 0.0) + least)))


def _from_equal_rates(side: Side, reference: Side) -> Array:
    found = evaluate(Arithmetic("-", _HITS, _THEIR_HITS), {_HITS: side.rate, _THEIR_HITS: reference.rate})
    off = np.hypot(
        side.hits_off / side.people,
        reference.hits_off / reference.people,
    )
    return np.asarray(found.value / off)


def _from_equal_shares(side: Side, reference: Side) -> Array:
    """Both shares are equal where both vectors (hits, rest) point to the same direction: the nearest one is sought.

    With equal deviations this is the smallest singular value of both vectors as one matrix.
    """

    def squared(angle: Array) -> Array:
        return _from_direction(side, angle) + _from_direction(reference, angle)

    shape = np.broadcast_shapes(side.hits.shape, reference.hits.shape)
    step = math.pi / _ANGLES
    tried = np.stack([squared(np.full(shape, at * step)) for at in range(_ANGLES)])
    best = np.argmin(tried, axis=0) * step
    low, high = best - step, best + step
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(_NARROWINGS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        is_left = squared(left) < squared(right)
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
    return np.asarray(np.sqrt(squared((low + high) / 2)))


def _from_direction(side: Side, angle: Array) -> Array:
    cosine, sine = np.cos(angle), np.sin(angle)
    across = side.hits * cosine - _known(side.rest) * sine
    return np.asarray(np.square(across) / (np.square(side.hits_off * cosine) + np.square(_known(side.rest_off) * sine)))


# Residents that may be off


def _corners(side: Side, reference: Side, within: float) -> list[tuple[Side, Side]]:
    if side.residents is None or reference.residents is None or within == 0:
        return [(side, reference)]
    one, other = side.residents, reference.residents
    return [
        (replace(side, residents=one * (1 + first)), replace(reference, residents=other * (1 + second)))
        for first in (-within, within)
        for second in (-within, within)
    ]


def _over_residents(side: Side, reference: Side, within: float, ends_of: Callable[[Side, Side], Ends]) -> Ends:
    """From the least to the most over all residents that may be."""
    found = [ends_of(*corner) for corner in _corners(side, reference, within)]
    return Ends(np.stack([ends.low for ends in found]).min(axis=0), np.stack([ends.high for ends in found]).max(axis=0))
