"""What a panel of series shows: on the year before, by the year, and all at once; with one guarantee over all of it.

Three questions are asked of each group, each by one test. Holm's adjustment (1979) over all groups and questions keeps
the chance of any finding at 5 % where nothing has changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cordon.estimate.interval import REACH_95
from cordon.workbench.trend.amounts import Amount, Linear, amount, contrast, p_of, reach_of
from cordon.workbench.trend.found import FALSE_ALARM, GroupTrend, Point, Step, Tested, Trend, YearBefore
from cordon.workbench.trend.model import LEAST_FREEDOM, Array, Fitted, Guard, Sequel, prepared
from cordon.workbench.trend.periods import Grain, label_of
from cordon.workbench.trend.season import without_season
from cordon.workbench.trend.series import GroupSeries, Panel, Place
from cordon.workbench.trend.steps import Scan, dates_of, places_of, reach_without, scanned, standing
from cordon.workbench.trend.year import Pairs, YearSeen, each_against, pairs_of, year_seen


@dataclass(frozen=True)
class Sought:
    """A series that is long enough, and what each of the three tests says of it before the adjustment."""

    sequel: Sequel
    sigmas: Array
    plain: Fitted
    """Without steps."""
    pairs: Pairs
    year: YearSeen | None
    scan: Scan | None

    @property
    def p_values(self) -> list[float]:
        """Of the year before, the drift and the best step; NaN for what there is none of."""
        year = math.nan if self.year is None else p_of(self.year.linear, self.plain.freedom)
        drift = p_of(_drift(self.plain), self.plain.freedom)
        return [year, drift, math.nan if self.scan is None else self.scan.p_value]


@dataclass(frozen=True, slots=True)
class Together:
    """Over how much the intervals and findings of an answer hold together."""

    groups: int
    """In which anything was sought."""
    pairs: int
    """Periods that have the same one of a year before."""
    tests: int


def find(panel: Panel, *, counts: bool, season: bool = True) -> Trend:
    """What a panel shows.

    Args:
        counts: the measure counts rows or units, which vary by chance as Poisson numbers at least.
        season: guard against yearly patterns; without, they may be called changes.
    """
    looked = [sought(group, panel.grain, counts=counts, season=season) for group in panel.groups]
    seen = [one for one in looked if isinstance(one, Sought)]
    p_values = [p for one in seen for p in one.p_values]
    adjusted = iter(holm(p_values))
    together = Together(len(seen), sum(len(one.pairs) for one in seen), sum(not math.isnan(p) for p in p_values))
    groups = tuple(
        _unsought(group, panel.grain, one)
        if isinstance(one, str)
        else _group(group, one, panel.grain, adjusted, together)
        for group, one in zip(panel.groups, looked, strict=True)
    )
    return Trend(panel.grain, panel.by, panel.measure, groups, together.tests, panel.undeclared, season)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any at or below 5 % is 5 %, however they depend on one another; NaN stays."""
    found = np.array(p_values)
    asked = ~np.isnan(found)
    if asked.any():
        known = found[asked]
        order = np.argsort(known)
        stepped = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
        known[order] = np.minimum(stepped, 1.0)
        found[asked] = known
    return [float(p) for p in found]


def sought(series: GroupSeries, grain: Grain, *, counts: bool, season: bool) -> Sought | str:
    """Look at one series; or why nothing can be sought in it, in words."""
    usable = [place for place in series.places if place.is_usable]
    if not usable:
        return series.note or "no period can be compared"
    numbers = np.array([place.number for place in usable], dtype=np.int64)
    values, sigmas = (np.array([getattr(place, part) for place in usable]) for part in ("value", "sigma"))
    sequel = prepared(numbers, values, sigmas, grain.a_year, counts=counts, season=season)
    if season and sequel.guard is Guard.NONE:
        return f"shorter than a year ({len(usable)} {grain}s), so that a change cannot be told from the season"
    if sequel.freedom < LEAST_FREEDOM:
        return f"too short ({len(usable)} {grain}s) to tell a change from chance"
    plain, pairs = sequel.fitted(), pairs_of(series.places, grain)
    return Sought(sequel, sigmas, plain, pairs, year_seen(pairs, sequel, plain), scanned(sequel))


def _unsought(series: GroupSeries, grain: Grain, why: str) -> GroupTrend:
    return GroupTrend(series.name, tuple(_point(place, grain, None, None) for place in series.places), why)


def _group(series: GroupSeries, one: Sought, grain: Grain, adjusted: Iterator[float], together: Together) -> GroupTrend:
    year_p, drift_p, step_p = (next(adjusted) for _ in range(3))
    sequel, scan = one.sequel, one.scan
    places, steps = stepped(one, grain, together, step_p)
    final = sequel.fitted(places)
    reach = reach_of(final.freedom, together.groups)
    against = each_against(one.pairs, sequel, final.excess, reach_of(final.freedom, together.pairs))
    flat = without_season(sequel, places, one.sigmas)
    return GroupTrend(
        name=series.name,
        points=tuple(
            _point(place, grain, flat.get(place.number), against.get(place.number)) for place in series.places
        ),
        guard=sequel.guard,
        variation=final.excess,
        noise_share=float(np.square(one.sigmas).mean() / (sequel.variances.mean() * final.excess)),
        year_before=_year(one, final, reach, year_p, grain),
        drift=Tested(amount(_drift(one.plain), reach_of(one.plain.freedom, together.groups)), one.p_values[1], drift_p),
        drift_beside=amount(_drift(final), reach) if steps else None,
        steps=steps,
        is_uneven=step_p <= FALSE_ALARM and not steps,
        least_step=_least_step(sequel, scan, together),
    )


def _least_step(sequel: Sequel, scan: Scan | None, together: Together) -> float:
    if scan is None:
        return math.nan
    without = reach_without(sequel, math.sqrt(scan.threshold(FALSE_ALARM / together.groups)))
    return scan.least_seen(FALSE_ALARM / together.tests, without)


def _year(one: Sought, final: Fitted, reach: float, p_adjusted: float, grain: Grain) -> YearBefore | None:
    if one.year is None:
        return None
    tested = Tested(amount(one.year.beside(final), reach), one.p_values[0], p_adjusted)
    recorded = one.year.recorded
    periods = tuple(label_of(number, grain) for number in one.year.numbers)
    return YearBefore(periods, tested, recorded.share_low, recorded.share_high)


def _drift(fitted: Fitted) -> Linear:
    """The drift a year on average, against the mean level."""
    return contrast(fitted, np.eye(len(fitted.coefficients))[1], fitted.mean_row)


def stepped(
    one: Sought, grain: Grain, together: Together, p_adjusted: float
) -> tuple[tuple[int, ...], tuple[Step, ...]]:
    """Where a group's level changes, and by how much against the level before.

    An interval holds for every place at once, since the place was sought. A step whose interval holds 0 is none, nor
    is one that hangs on a single value: where drift, season and steps do not describe a series, the variance about
    them says so, however surely something has changed.

    Args:
        p_adjusted: of the group having any step.
    """
    sequel, scan = one.sequel, one.scan
    if scan is None or not p_adjusted <= FALSE_ALARM:
        return (), ()
    reach = math.sqrt(scan.threshold(FALSE_ALARM / together.groups))
    places = standing(sequel, places_of(sequel, scan, max(FALSE_ALARM / together.tests, scan.p_value)), reach)
    fitted, drift = sequel.fitted(places), sequel.nuisance.shape[1]
    found = []
    for at, place in enumerate(places):
        before = np.concatenate([sequel.nuisance[place], np.arange(len(places)) < at])
        before[sequel.season_at] = 0.0
        change = np.eye(len(before))[drift + at]
        begins, first, last = (
            label_of(int(sequel.numbers[number]), grain) for number in (place, *dates_of(sequel, places, at))
        )
        found.append(Step(begins, first, last, amount(contrast(fitted, change, before), reach), p_adjusted))
    return places, tuple(found)


def _point(place: Place, grain: Grain, flat: tuple[float, float] | None, before: Amount | None) -> Point:
    value, sigma = flat or (math.nan, math.nan)
    ends = (value, value - REACH_95 * sigma, value + REACH_95 * sigma)
    return Point(label_of(place.number, grain), place.value, place.low, place.high, place.missing, *ends, before)
