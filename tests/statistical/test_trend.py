"""What `cordon trend` finds where nothing has changed, what it sees of what has, and how often its intervals are right.

A rate is judged by the exact binomial distribution: a false-alarm rate above 5 %, or a coverage below 95 %, fails where
as many cases would come up by chance less than once in ten thousand runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import binom
from trends import of_rows, screened

from cordon.workbench.trend.finding import Sought, Together, find, holm, sought, stepped
from cordon.workbench.trend.found import FALSE_ALARM, Step
from cordon.workbench.trend.model import Guard, Sequel
from cordon.workbench.trend.periods import Grain, label_of, number_of
from cordon.workbench.trend.series import Panel
from cordon.workbench.trend.steps import scanned

RARE = 1e-4
RNG = np.random.Generator
Array = np.ndarray


def at_most(rate: float, cases: int, of: int) -> bool:
    """Whether a rate may be `rate` or less."""
    return bool(binom.sf(cases - 1, of, rate) > RARE)


def at_least(rate: float, cases: int, of: int) -> bool:
    """Whether a rate may be `rate` or more."""
    return bool(binom.cdf(cases, of, rate) > RARE)


@dataclass(frozen=True)
class World:
    """Series without a sudden change: how records come about, and the noise that is added."""

    periods: int
    sigma: float
    level: float = 1000.0
    excess: float = 1.0
    """Variance of what is recorded, in Poisson variances; 0 for a number that is always the same."""
    slope: float = 0.0
    """Share of the level a year."""
    growth: float = 0.0
    """By which the level is multiplied each year, less 1."""
    odd: float = 0.0
    """Share of the level that one month of each group has more."""
    season: Callable[[RNG], Array] = lambda _: np.zeros(12)
    """Share of the level that each month of the year adds."""
    groups: int = 5
    grain: Grain = Grain.MONTH

    def truth(self, rng: RNG) -> Array:
        """Expected records."""
        at = np.arange(self.periods)
        a_year = self.grain.a_year
        shares = np.stack([self.season(rng)[at % a_year] for _ in range(self.groups)])
        found = self.level * (1 + self.slope * at / a_year + shares) * (1 + self.growth) ** (at / a_year)
        if self.odd:
            found[np.arange(self.groups), rng.integers(1, self.periods - 1, self.groups)] *= 1 + self.odd
        return np.asarray(found)

    def drawn(self, rng: RNG, truth: Array) -> Array:
        """What is answered: records by chance, and noise."""
        recorded = truth
        if self.excess > 1:
            shape = truth / (self.excess - 1)
            recorded = rng.poisson(rng.gamma(shape, truth / shape))
        elif self.excess:
            recorded = rng.poisson(truth)
        return recorded + rng.normal(0, self.sigma, size=truth.shape)


def smooth(rng: RNG) -> Array:
    """A wave over the year, up to a fifth of the level, with its top anywhere."""
    return 0.2 * np.sin(2 * np.pi * (np.arange(12) / 12 + rng.uniform()))


def rugged(rng: RNG) -> Array:
    """Any pattern over the year, up to three tenths of the level."""
    return rng.uniform(-0.3, 0.3, size=12)


def uneven(rng: RNG) -> Array:
    """Two waves over the year, each up to a twelfth of the level, with their tops anywhere."""
    at, tops = np.arange(12) / 12, rng.uniform(size=2)
    return 0.08 * (np.sin(2 * np.pi * (at + tops[0])) + np.sin(2 * np.pi * (2 * at + tops[1])))


UNCHANGED = {
    "noise alone, 12 months": World(12, 30, excess=0),
    "noise alone, 24 months": World(24, 30, excess=0),
    "noise alone, 36 months": World(36, 30, excess=0),
    "counts and noise, 12 months": World(12, 10, level=400),
    "counts and noise, 24 months": World(24, 10, level=400),
    "counts of 5 and noise, 24 months": World(24, 3, level=5),
    "counts of 8 times the variance, 12 months": World(12, 10, level=2000, excess=8),
    "counts of 8 times the variance, 24 months": World(24, 10, level=2000, excess=8),
    "counts of 8 times the variance, 48 months": World(48, 10, level=2000, excess=8),
    "a wave over the year, 12 months": World(12, 10, season=smooth),
    "a wave over the year, 18 months": World(18, 10, season=smooth),
    "any season, 24 months": World(24, 10, season=rugged),
    "any season, 48 months": World(48, 10, season=rugged),
    "any season, 16 quarters": World(16, 17, level=3000, season=rugged, grain=Grain.QUARTER),
}
"""Worlds in which nothing changes but what comes back every year."""

SLOPING = {
    "30 % a year, 12 months": World(12, 10, slope=0.3),
    "30 % a year, 24 months": World(24, 10, slope=0.3),
    "30 % a year, 48 months": World(48, 10, slope=0.3),
    "30 % a year and any season, 48 months": World(48, 10, slope=0.3, season=rugged),
    "30 % of each year's level, 24 months": World(24, 10, growth=0.3),
    "30 % of each year's level, 36 months": World(36, 10, growth=0.3),
    "30 % of each year's level, 48 months": World(48, 10, growth=0.3),
    "10 % of each year's level of 5,000, 60 months": World(60, 10, level=5000, growth=0.1),
    "30 % of each year's level and any season, 48 months": World(48, 10, growth=0.3, season=rugged),
}
"""Worlds that drift: a finding of drift is right, one of a jump is not."""

STEPLESS = {
    "two waves over the year, 13 months": World(13, 10, level=3000, season=uneven),
    "two waves over the year, 18 months": World(18, 10, level=3000, season=uneven),
    "two waves over the year, 23 months": World(23, 10, level=3000, season=uneven),
    "any season, 18 months": World(18, 10, season=rugged),
    "one odd month of each group, half more, 24 months": World(24, 10, odd=0.5),
    "one odd month of each group, half more, 36 months": World(36, 10, odd=0.5),
}
"""Worlds that neither drift nor jump, and are not what is supposed: an uneven course is right, a jump is not."""


def alarms(world: World, runs: int, seed: int) -> Array:
    """How many answers had a finding: any, against the year before, a drift, a step, a course that is none."""
    rng = np.random.default_rng(seed)
    counted = np.zeros(5, dtype=int)
    for _ in range(runs):
        found = screened(of_rows(world.drawn(rng, world.truth(rng)), world.sigma, world.grain))
        counted += np.array([any(found), *found])
    return counted


@pytest.mark.parametrize(
    "world", [UNCHANGED["counts and noise, 24 months"], UNCHANGED["counts of 8 times the variance, 12 months"]]
)
def test_nothing_is_found_where_nothing_has_changed(world: World) -> None:
    """In 60 answers of five groups each there are no more findings than one in twenty."""
    assert at_most(FALSE_ALARM, int(alarms(world, 60, seed=1)[0]), 60)


@pytest.mark.slow  # 1,000 answers of five groups for each world
@pytest.mark.parametrize("name", UNCHANGED)
def test_false_alarms(name: str) -> None:
    """Any finding, in any of five groups, in at most one of twenty answers in which nothing has changed."""
    counted = alarms(UNCHANGED[name], 1000, seed=2)
    print(f"{name}: {counted.tolist()} of 1000")
    assert at_most(FALSE_ALARM, int(counted[0]), 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOPING)
def test_a_slope_is_no_jump(name: str) -> None:
    """What grows steadily is said to jump in at most one of twenty answers."""
    counted = alarms(SLOPING[name], 1000, seed=3)
    print(f"{name}: {counted.tolist()} of 1000")
    assert at_most(FALSE_ALARM, int(counted[3]), 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPLESS)
def test_what_no_step_describes_is_no_jump(name: str) -> None:
    """A season that is no wave, and an odd month, are said to jump in at most one of twenty answers."""
    counted = alarms(STEPLESS[name], 1000, seed=11)
    print(f"{name}: {counted.tolist()} of 1000")
    assert at_most(FALSE_ALARM, int(counted[3]), 1000)


def test_taking_the_noise_for_all_variation_would_raise_false_alarms() -> None:
    """The look itself works: judged by the known noise and Poisson chance alone, a series that varies more has changes."""
    world, rng = World(24, 10, level=2000, excess=8, groups=1), np.random.default_rng(4)
    found = 0
    for _ in range(60):
        values = world.drawn(rng, world.truth(rng))[0]
        spread = np.sqrt(2000 + world.sigma**2)
        steps = [abs(values[at:].mean() - values[:at].mean()) / np.sqrt(1 / at + 1 / (24 - at)) for at in range(2, 23)]
        # 3.5 deviations: beyond what one step in a series of known variance shows once in twenty answers.
        found += max(steps) / spread > 3.5
    assert not at_most(FALSE_ALARM, found, 60)


@pytest.mark.parametrize("ratio", [1.0, 7.0])
def test_thresholds_do_not_depend_on_how_variances_differ(ratio: float) -> None:
    """Simulated with equal variances, a threshold holds for a series whose months vary up to seven times as much."""
    variances = np.exp(np.random.default_rng(8).uniform(0, np.log(ratio), 24))
    numbers = np.arange(24)
    sequel = Sequel(numbers, np.zeros(24), variances, 12, Guard.MONTHS)
    rng = np.random.default_rng(9)
    scans = [scanned(replace(sequel, values=rng.normal(0, 3 * np.sqrt(variances)))) for _ in range(400)]
    above = sum(scan.statistic > scan.threshold(0.2) for scan in scans)
    assert RARE < binom.cdf(above, 400, 0.2) < 1 - RARE


# What is seen of what has changed


@dataclass
class Seen:
    """How often a step was seen, and how often what was said of it was right."""

    runs: int = 0
    found: int = 0
    dated: int = 0
    sized: int = 0
    shared: int = 0
    once: int = 0
    """No second step was said to be there."""
    months: int = 0
    """That the dates of a step span, in all."""


def first_steps(answer: Panel) -> tuple[Step, ...]:
    """The steps that `find` reports of the first group, without the rest."""
    looked = [sought(group, answer.grain, counts=True, season=True) for group in answer.groups]
    series = [one for one in looked if isinstance(one, Sought)]
    p_values = [p for one in series for p in one.p_values]
    tests = sum(not np.isnan(p) for p in p_values)
    return stepped(series[0], answer.grain, Together(len(series), 0, tests), holm(p_values)[2])[1]


def seen(world: World, size: float, place: int, runs: int, seed: int) -> Seen:
    """Answers in which one of the groups has a step of `size` deviations of a month's value."""
    rng, counted = np.random.default_rng(seed), Seen(runs)
    step = size * float(np.sqrt(world.sigma**2 + world.level * max(world.excess, 0.0)))
    for _ in range(runs):
        truth = world.truth(rng)
        base = truth[0].mean()
        truth[0, place:] += step
        answer = of_rows(world.drawn(rng, truth), world.sigma)
        steps = first_steps(answer)
        if not steps:
            continue
        counted.found += 1
        counted.once += len(steps) == 1
        at = label_of(answer.groups[0].places[place].number, Grain.MONTH)
        near = min(steps, key=lambda one: abs(int(one.at.replace("-", "")) - int(at.replace("-", ""))))
        counted.dated += near.first <= at <= near.last
        counted.sized += near.amount.low <= step <= near.amount.high
        counted.months += number_of(near.last) - number_of(near.first) + 1
        counted.shared += bool(near.amount.share_low <= step / base <= near.amount.share_high)
    return counted


def test_steps_of_the_simulation_are_those_that_are_found() -> None:
    """Simulations of power look at what `find` reports."""
    world, rng = World(36, 30, groups=2), np.random.default_rng(10)
    answer = of_rows(world.drawn(rng, world.truth(rng) + 300.0 * (np.arange(36) > 19)), world.sigma)
    assert first_steps(answer) == find(answer, counts=True).groups[0].steps != ()


def test_a_large_step_is_seen_dated_and_sized() -> None:
    """A step of 6 deviations in 36 months is found in 9 of 10 answers, and what is said of it holds."""
    counted = seen(World(36, 30, groups=1), 6.0, 20, 25, seed=5)
    assert at_least(0.9, counted.found, counted.runs)
    for right in (counted.dated, counted.sized, counted.shared, counted.once):
        assert at_least(0.9, right, counted.found)


STEPS = [
    (periods, sigma, size)
    for periods, sigma in ((24, 10.0), (24, 100.0), (36, 10.0), (36, 100.0), (60, 10.0))
    for size in (2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
]


@pytest.mark.slow  # 200 answers of five groups for each size of step
@pytest.mark.parametrize(("periods", "sigma", "size"), STEPS)
def test_what_is_said_of_a_step_is_right(periods: int, sigma: float, size: float) -> None:
    """Of steps that are found, dates and sizes lie in their intervals in 19 of 20 cases."""
    counted = seen(World(periods, sigma), size, periods // 2 + 3, 200, seed=6)
    print(f"{periods} months, noise {sigma:g}, {size:g} deviations: {counted}")
    if size >= 4:
        for right in (counted.dated, counted.sized):
            assert at_least(0.95, right, counted.found)


def held(world: World, runs: int, seed: int) -> tuple[Array, int]:
    """How many answers' intervals all hold: of the slope, and of the newest year on the year before."""
    rng, right = np.random.default_rng(seed), np.zeros(2, dtype=int)
    slope = world.slope * world.level
    for _ in range(runs):
        truth = world.truth(rng)
        groups = find(of_rows(world.drawn(rng, truth), world.sigma), counts=True).groups
        right[0] += all(one.drift.amount.low <= slope <= one.drift.amount.high for one in groups)
        recent, before = truth[:, -12:].mean(axis=1), truth[:, -24:-12].mean(axis=1)
        right[1] += all(
            one.year_before.tested.amount.share_low <= share <= one.year_before.tested.amount.share_high
            for one, share in zip(groups, recent / before - 1, strict=True)
        )
    return right, runs


@pytest.mark.slow  # 200 answers of five groups for each world
@pytest.mark.parametrize(
    "world",
    [
        World(24, 30, level=400, slope=0.1, season=smooth),
        World(48, 30, level=400, slope=0.1, season=rugged),
        World(36, 10, level=2000, excess=8, slope=0.05),
    ],
)
def test_intervals_of_slope_and_year_hold_for_all_groups_together(world: World) -> None:
    """In 19 of 20 answers, the intervals of all five groups hold at once."""
    right, runs = held(world, 200, seed=7)
    print(f"{world.periods} months, excess {world.excess:g}: slope {right[0]}, year {right[1]} of {runs}")
    assert all(at_least(0.95, int(cases), runs) for cases in right)
