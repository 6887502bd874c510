"""How often a watch alarms although nothing has changed, over whole years of releases, and how often it finds a change."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from cordon.workbench.watch.change import FALSE_ALARMS, SPARED, holm, p_values
from cordon.workbench.watch.schedule import Every

CONFIDENCE = 1 - 1e-6
"""Of each binomial bound: about as seldom does a test here fail although the promise is kept."""

SEED = 20_261_128
"""The simulations draw their own noise; nothing of the product is seeded."""


def years_with_alarms(
    rates: np.ndarray, sigma: float, *, every: Every, years: int, cluster: int = 1, known_sigma: float | None = None,
    natural: bool = True, rows_known: bool = True, times: float = 1.0, allowed: float = 1.0,
) -> int:  # fmt: skip
    """Simulated calendar years in which at least one cell of at least one release raises an alert.

    Every slot is released and compared with the one before it. Rows come in groups of `cluster` at constant rates.

    Args:
        rates: expected rows of each cell in one release.
        sigma: of the noise of one release.
        known_sigma: what the watch takes it for; None for what it is.
        natural: whether the truth varies at all.
        times: variance of the truth, in those of independent rows: negative binomial above 1.
        allowed: what the watch takes it for.
    """
    generator = np.random.default_rng(SEED)
    releases, alarmed = every.most_a_year, np.zeros(years, dtype=bool)
    variance = 2 * (sigma if known_sigma is None else known_sigma) ** 2
    level = FALSE_ALARMS / releases
    tail = SPARED * level / len(rates)
    shape = (years, len(rates))

    def released() -> np.ndarray:
        mean = rates / cluster if times == 1 else generator.gamma(rates / (times - 1), times - 1, shape)
        truth = cluster * generator.poisson(mean, shape) if natural else np.broadcast_to(rates, shape)
        # A discrete Gaussian of this deviation, or a rounded normal: the same to 0.1 % of a deviation.
        return truth + np.rint(generator.normal(0, sigma * 4, shape)) / 4

    before = released()
    for _ in range(releases):
        now = released()
        k = np.full(shape, allowed * cluster if rows_known and natural else 0.0)
        p = p_values(before, now, np.full(shape, variance), k, tail)
        # Holm rejects something exactly where the smallest p-value is at most its first threshold.
        alarmed |= p.min(axis=1) <= level / len(rates)
        before = now
    return int(alarmed.sum())


def upper(alarms: int, years: int) -> float:
    """Upper confidence bound on the rate (Clopper and Pearson 1934)."""
    return 1.0 if alarms == years else float(beta.ppf(CONFIDENCE, alarms + 1, years - alarms))


def lower(alarms: int, years: int) -> float:
    """Lower confidence bound on the rate."""
    return 0.0 if alarms == 0 else float(beta.ppf(1 - CONFIDENCE, alarms, years - alarms + 1))


MIXED = np.array([0.0, 0.5, 3, 10, 40, 150, 600, 2500, 10_000, 40_000])
"""Cells of every size, from empty to far beyond the noise."""


def test_a_year_without_change_seldom_alarms_and_would_without_the_rules() -> None:
    """Over 500 years of monthly releases the rate of years with an alert is not above 5 %; taking the noise for half of
    what it is, or chance for change, it is certainly more.
    """
    years = 500
    kept = years_with_alarms(MIXED, 6, every=Every.MONTH, years=years)
    assert lower(kept, years) <= FALSE_ALARMS
    careless = years_with_alarms(MIXED, 6, every=Every.MONTH, years=years, known_sigma=3)
    assert lower(careless, years) > FALSE_ALARMS
    chance = years_with_alarms(MIXED, 6, every=Every.MONTH, years=years, rows_known=False)
    assert lower(chance, years) > FALSE_ALARMS


FORTY = np.full(40, 300.0)
"""As many cells as there are forces, of a usual size."""


def test_records_that_vary_more_alarm_in_most_years_and_seldom_where_that_was_said() -> None:
    """At twice the variance of independent rows far more than 5 % of years alarm, and with --natural 2 not."""
    years = 150
    unsaid = years_with_alarms(FORTY, 7, every=Every.MONTH, years=years, times=2)
    assert lower(unsaid, years) > FALSE_ALARMS
    said = years_with_alarms(FORTY, 7, every=Every.MONTH, years=years, times=2, allowed=2)
    assert said / years < FALSE_ALARMS


@pytest.mark.slow
@pytest.mark.parametrize("times", [1.5, 2.0, 4.0])
def test_the_rate_where_records_vary_more(times: float) -> None:
    """Figures of docs/analysis/watch.md: without a word of it, and with what it is."""
    years = 2_000
    found = [years_with_alarms(FORTY, 7, every=Every.MONTH, years=years, times=times, allowed=a) for a in (1.0, times)]
    print(f"\n| {times:g} | {found[0] / years:.1%} | {found[1] / years:.1%} |")
    assert upper(found[1], years) <= FALSE_ALARMS


CASES = {
    "monthly, 10 cells, sigma 6": (MIXED, 6.0, Every.MONTH, 1),
    "monthly, 10 cells, sigma 60": (MIXED, 60.0, Every.MONTH, 1),
    "monthly, 10 cells, sigma 1": (MIXED, 1.0, Every.MONTH, 1),
    "monthly, 40 small cells, sigma 3": (np.full(40, 2.0), 3.0, Every.MONTH, 1),
    "monthly, 40 empty cells, sigma 6": (np.zeros(40), 6.0, Every.MONTH, 1),
    "monthly, one cell of 5,000, sigma 6": (np.array([5000.0]), 6.0, Every.MONTH, 1),
    "quarterly, 10 cells, sigma 6": (MIXED, 6.0, Every.QUARTER, 1),
    "weekly, 10 cells, sigma 6": (MIXED, 6.0, Every.WEEK, 1),
    "monthly, rows by threes, sigma 6": (MIXED, 6.0, Every.MONTH, 3),
    "monthly, rows by tens, sigma 8": (MIXED, 8.0, Every.MONTH, 10),
}


# 12 to 54 releases a year of up to 40 cells over 20,000 years: up to a minute each.
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_false_alarm_rate_of_a_year_is_within_its_bound(name: str) -> None:
    """The exact upper bound on the rate of years with a false alert is below 5 % at one chance in a million."""
    rates, sigma, every, cluster = CASES[name]
    years = 20_000 if every is not Every.WEEK else 8_000
    alarms = years_with_alarms(rates, sigma, every=every, years=years, cluster=cluster)
    print(f"\n| {name} | {years:,} | {alarms} | {alarms / years:.2%} | {upper(alarms, years):.2%} |")
    assert lower(alarms, years) <= FALSE_ALARMS
    assert upper(alarms, years) <= FALSE_ALARMS * 1.2


@pytest.mark.slow
def test_noise_alone_alarms_within_the_bound() -> None:
    """Where the truth does not vary, and no natural variation is allowed for, the rate is just below 5 %."""
    years = 20_000
    alarms = years_with_alarms(MIXED, 6, every=Every.MONTH, years=years, natural=False)
    print(
        f"\n| monthly, noise alone, sigma 6 | {years:,} | {alarms} | {alarms / years:.2%} | {upper(alarms, years):.2%} |"
    )
    assert lower(alarms, years) <= FALSE_ALARMS
    # No looser than it must be: each release is compared twice, and the bound adds those up.
    assert alarms / years > FALSE_ALARMS / 2


@pytest.mark.parametrize(("rise", "found"), [(1.1, False), (1.3, True)])
def test_a_change_is_found_from_a_size_on(rise: float, found: bool) -> None:
    """Of 1,000 rows at sigma 6 among ten cells, a rise by 10 % in a month is hardly ever told, one by 30 % always."""
    generator, tries = np.random.default_rng(SEED), 400
    level = FALSE_ALARMS / Every.MONTH.most_a_year
    cells = np.full(10, 1000.0)
    before = generator.poisson(cells, (tries, 10)) + generator.normal(0, 6, (tries, 10))
    now = generator.poisson(np.append(cells[:-1], 1000 * rise), (tries, 10)) + generator.normal(0, 6, (tries, 10))
    p = p_values(before, now, np.full_like(now, 72.0), np.ones_like(now), SPARED * level / 10)
    hits = sum(9 in holm(row, level) for row in p)
    assert (hits / tries > 0.95) is found
    assert (hits / tries < 0.2) is not found
