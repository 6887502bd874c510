"""What series show: steps, drifts, years, seasons; and nothing where nothing has changed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from trends import document, of_rows, panel, screened

from cordon.estimate.interval import REACH_95
from cordon.workbench.captions import captions_of
from cordon.workbench.trend.amounts import Linear, amount
from cordon.workbench.trend.drawing import drawing_of
from cordon.workbench.trend.finding import find, holm, sought
from cordon.workbench.trend.model import Guard
from cordon.workbench.trend.periods import Grain
from cordon.workbench.trend.reading import cautions, readings
from cordon.workbench.trend.season import without_season
from cordon.workbench.trend.series import read_panel
from cordon.workbench.trend.showing import COLUMNS, sheet_of
from cordon.workbench.trend.steps import _segmented, _without_any, places_of, scanned

SIGMA = 10.0


def drawn(seed: int, count: int, sigma: float = SIGMA) -> np.ndarray:
    """Noise of a known deviation."""
    return np.random.default_rng(seed).normal(0, sigma, count)


def one(values, *, counts=True, season=True, sigma=SIGMA, grain=Grain.MONTH):
    """What one series shows."""
    (found,) = find(panel({"red": values}, sigma, grain), counts=counts, season=season).groups
    return found


def test_a_step_is_found_where_it_is_and_as_large_as_it_is():
    """A lasting jump is found, dated and sized, and is no drift beside it."""
    values = 1000 + 300.0 * (np.arange(36) >= 20) + drawn(1, 36, 33.0)
    found = one(values)
    (step,) = found.steps
    assert (step.at, step.first <= "2020-12" <= step.last) == ("2020-12", True)
    assert step.amount.low < 300 < step.amount.high
    assert step.amount.share == pytest.approx(0.3, abs=0.06)
    assert found.drift_beside.low < 0 < found.drift_beside.high


def test_a_drift_is_tested_and_sized_by_one_fit():
    """The test of a drift and its amount are of the same fit, without steps; beside steps it has an amount of its own."""
    found = one(1000 + 300.0 * (np.arange(36) >= 20) + drawn(1, 36, 33.0))
    assert found.steps
    assert found.drift.p_value < 0.05
    assert found.drift.amount.low > 0, "what is tested is what is sized"
    said = readings(find(panel({"red": 1000 - 300.0 * (np.arange(36) >= 20) + drawn(1, 36, 33.0)}, SIGMA), counts=True))
    assert "fell by" in said[0]
    assert "by -" not in said[0], "a fall by less than nothing would be a rise"


def two_waves(seed: int, count: int, share: float) -> np.ndarray:
    """Counts of 3,000 with a season that is no single wave."""
    rng, at = np.random.default_rng(seed), np.arange(count)
    tops = rng.uniform(size=2)
    season = np.sin(2 * np.pi * (at / 12 + tops[0])) + np.sin(2 * np.pi * (at / 6 + tops[1]))
    return rng.poisson(3000 * (1 + share * season)) + rng.normal(0, SIGMA, count)


def test_no_step_is_named_that_its_interval_denies():
    """Where the season is no single wave, a short series is uneven: that is said, and no date or size."""
    uneven = 0
    for seed in range(6):
        trend = find(panel({"red": two_waves(seed, 18, 0.08)}, SIGMA), counts=True)
        (found,) = trend.groups
        assert not found.steps
        uneven += found.is_uneven
        if found.is_uneven:
            assert "not as a jump that could be dated" in readings(trend)[0]
            assert "no sudden change stands out" not in readings(trend)[0]
        assert any("but along one smooth wave a year, the chance" in caution for caution in cautions(trend))
    assert uneven > 2


@pytest.mark.parametrize(("growth", "count"), [(0.3, 48), (0.1, 60)])
def test_growth_in_percent_is_no_jump(growth, count):
    """What grows by the same share each year bends, and has no step up or down."""
    rng = np.random.default_rng(20)
    level = 5000 * (1 + growth) ** (np.arange(count) / 12)
    for _ in range(2):
        found = one(rng.poisson(level) + rng.normal(0, SIGMA, count))
        assert not found.steps
        assert found.drift.stands_out


def test_an_odd_month_is_no_new_level():
    """Over two years of free months, one odd month is not told from a jump: none is named."""
    for at in (0, 11, 12, 23):
        values = 1000 + drawn(21 + at, 24, 33.0)
        values[at] += 700
        assert not one(values).steps
    # One that lasts is.
    assert one(1000 + 400.0 * (np.arange(24) >= 14) + drawn(22, 24, 33.0)).steps


def test_leaving_a_value_out_is_fitting_without_it():
    """The size of a step without each value, found at once, is that of as many regressions."""
    values = 1000 + 200.0 * (np.arange(30) >= 17) + drawn(23, 30, 45.0)
    (of,) = (sought(group, Grain.MONTH, counts=True, season=True) for group in of_rows(values[None, :], SIGMA).groups)
    sequel, strengths = of.sequel, []
    for at in range(30):
        kept = np.arange(30) != at
        columns = sequel.columns((17,))[kept] / np.sqrt(sequel.variances[kept])[:, None]
        standard = (sequel.values / np.sqrt(sequel.variances))[kept]
        size = np.linalg.lstsq(columns, standard, rcond=None)[0]
        left = np.square(standard - columns @ size).sum() / (29 - columns.shape[1])
        strengths.append(size[-1] / np.sqrt(np.linalg.inv(columns.T @ columns)[-1, -1] * max(1.0, left)))
    assert _without_any(sequel, (17,)) == pytest.approx([min(strengths)])


def test_two_steps_are_two_steps():
    """A level that comes back has changed twice."""
    at = np.arange(48)
    found = one(1000 + 400.0 * ((at >= 18) & (at < 31)) + drawn(2, 48, 33.0))
    assert [step.at for step in found.steps] == ["2020-10", "2021-11"]
    assert [step.amount.size > 0 for step in found.steps] == [True, False]


def test_a_steady_slope_is_a_drift_and_no_jump():
    """What grows month by month is said to grow by the year, with its interval."""
    found = one(1000 + 20.0 * np.arange(36) + drawn(3, 36, 35.0))
    assert not found.steps
    assert found.drift.stands_out
    assert found.drift.amount.low < 240 < found.drift.amount.high
    assert found.year_before.tested.stands_out


def test_a_season_is_no_change_and_is_taken_out():
    """What comes back every year is in no finding; three years of it are shown without it."""
    season = 300 * np.sin(2 * np.pi * np.arange(48) / 12) + 200 * (np.arange(48) % 12 == 8)
    found = one(1000 + season + drawn(4, 48, 33.0))
    assert not found.steps
    assert not found.drift.stands_out
    assert not found.year_before.tested.stands_out
    adjusted = np.array([point.adjusted for point in found.points])
    assert np.abs(adjusted - adjusted.mean()).max() < 120 < np.abs(season).max()
    # Without its guard a part of the year that is like that every year is a change.
    summer = 300.0 * (np.arange(20) % 12 >= 6)
    assert one(1000 + summer + drawn(4, 20, 33.0), season=False).steps


def test_the_noise_of_adjusted_values_is_known():
    """Each adjusted value's interval covers the noise that is left in it, no more and no less."""
    season = np.tile(np.arange(12) * 10.0, 4)
    rows = np.array([season + drawn(seed, 48) for seed in range(60)])
    looked = [sought(group, Grain.MONTH, counts=False, season=True) for group in of_rows(rows, SIGMA).groups]
    flat = np.array([list(without_season(of.sequel, (), of.sigmas).values()) for of in looked])
    adjusted, sigmas = flat[:, :, 0], flat[:, :, 1]
    assert np.allclose(sigmas, sigmas[0])
    assert sigmas[0, 0] < SIGMA, "a mean of four years is taken out, and a part of the noise with it"
    ratio = np.square(adjusted.std(axis=0, ddof=1) / sigmas[0]).mean()
    assert np.sqrt(ratio) == pytest.approx(1, abs=0.06)


def test_nothing_is_found_in_noise():
    """Eight groups of noise around a level hold no finding, and the reading says what could not have been seen."""
    trend = find(of_rows(500 + drawn(5, 8 * 24).reshape(8, 24), SIGMA), counts=True)
    for group in trend.groups:
        assert not group.steps
        assert not group.drift.stands_out
        assert not group.year_before.tested.stands_out
    assert all("no change that noise and chance would not explain" in text for text in readings(trend))
    assert all("would hardly be seen" in text for text in readings(trend))
    assert trend.tests == 24


@pytest.mark.parametrize(
    ("count", "season", "guard", "words"),
    [
        (6, True, Guard.NONE, "shorter than a year"),
        (6, False, Guard.NONE, "too short"),
        (12, True, Guard.WAVE, ""),
        (24, True, Guard.MONTHS, ""),
        (12, False, Guard.NONE, ""),
    ],
)
def test_a_series_is_guarded_against_its_season_as_far_as_it_is_long(count, season, guard, words):
    """Short series say that they are short; longer ones say what is kept apart from changes."""
    found = one(1000 + drawn(6, count), season=season)
    assert words in found.note
    assert bool(words) == bool(found.note)
    if not words:
        assert found.guard is guard
    assert not found.is_adjusted


def test_the_year_before_is_compared_month_by_month():
    """Twelve months against twelve, or as many as there are, with Fieller's interval of the ratio."""
    values = [100.0] * 12 + [112.0] * 12
    found = one(values, counts=False, sigma=1.0)
    year = found.year_before
    assert (year.periods[0], year.periods[-1]) == ("2020-04", "2021-03")
    assert year.tested.amount.size == pytest.approx(12)
    assert year.tested.amount.share == pytest.approx(0.12)
    # By hand, for means of twelve with deviation 1 / sqrt(12).
    spread = REACH_95**2 / 12
    centre, half = 112 / 100, math.sqrt(112**2 + 100**2 - spread) * math.sqrt(spread) / 100**2
    low = (centre - half) / (1 - spread / 100**2) - 1
    assert year.recorded_low == pytest.approx(low, abs=1e-4)
    assert one(values[:18], counts=False).year_before.periods == (
        "2020-04",
        "2020-05",
        "2020-06",
        "2020-07",
        "2020-08",
        "2020-09",
    )
    assert one(values[:12], counts=False).year_before is None


def test_a_share_of_what_may_be_nothing_is_not_named():
    """Where the base may be zero, a change has a size and no percentage."""
    of = amount(Linear(5.0, 1.0, 4.0, 4.0, -4.0), REACH_95)
    assert math.isnan(of.share)
    assert (of.low, of.high) == (pytest.approx(5 - 2 * REACH_95), pytest.approx(5 + 2 * REACH_95))


def test_shares_of_tied_parts_have_fiellers_interval():
    """A step over the level before it: the quadratic of Fieller (1954), with the covariance of both."""
    change, base, variance, base_variance, tied = 30.0, 100.0, 16.0, 9.0, -6.0
    of = amount(Linear(change, base, variance, base_variance, tied), 2.5)
    square = 2.5**2
    a, b, c = (
        base**2 - square * base_variance,
        -2 * (change * base - square * tied),
        change**2 - square * variance,
    )
    ends = sorted(np.roots([a, b, c]))
    assert (of.share_low, of.share_high) == (pytest.approx(ends[0], abs=1e-5), pytest.approx(ends[1], abs=1e-5))


def test_adjustment_is_holms():
    """Our adjustment is that of the statistics library, and leaves out what was not asked."""
    given = np.random.default_rng(7).uniform(0, 0.1, 12)
    assert holm(given) == pytest.approx(multipletests(given, method="holm")[1])
    assert holm([0.01, math.nan, 0.04]) == [
        pytest.approx(0.02),
        pytest.approx(math.nan, nan_ok=True),
        pytest.approx(0.04),
    ]


def test_the_penalised_optimum_is_the_librarys():
    """What PELT finds at a penalty is the best of all segmentations of at most three parts."""
    values = np.concatenate([np.zeros(6), np.full(5, 3.0), np.full(7, 1.0)]) + drawn(8, 18, 0.7)
    penalty = 6.0

    def cost(ends):
        parts = np.split(values, ends)
        return sum(np.square(part - part.mean()).sum() for part in parts) + penalty * len(ends)

    costs = {}
    for count in range(3):
        for ends in combinations(range(2, 17), count):
            edges = [0, *ends, 18]
            if min(np.diff(edges)) >= 2:
                costs[ends] = cost(ends)
    found = _segmented(values, penalty)
    assert len(found) == 2
    assert cost(found) == pytest.approx(min(costs.values()))


def test_a_chance_is_never_zero_and_follows_the_threshold():
    """The threshold at a level is exceeded by that share of series without a change."""
    found = panel({"red": 1000 + drawn(9, 24)}, SIGMA).groups[0]
    looked = sought(found, Grain.MONTH, counts=True, season=True)
    scan = scanned(looked.sequel)
    assert 0 < scan.p_value <= 1
    for level in (0.5, 0.05, 0.001):
        assert (scan.nothing > scan.threshold(level)).mean() == pytest.approx(level, abs=1.5 / len(scan.nothing))
    assert len(places_of(looked.sequel, scan, 0.05)) >= 1, "once a step stands, it has a place"


def test_findings_of_the_whole_are_those_of_the_screen():
    """Simulations of false alarms look at what `find` reports."""
    rows = np.stack([1000 + drawn(10, 30), 1000 + 400.0 * (np.arange(30) > 14) + drawn(11, 30)])
    trend = find(of_rows(rows, SIGMA), counts=True)
    year = any(group.year_before.tested.stands_out for group in trend.groups)
    drift, step = any(group.drift.stands_out for group in trend.groups), any(group.steps for group in trend.groups)
    assert screened(of_rows(rows, SIGMA)) == (year, drift, step, any(group.is_uneven for group in trend.groups))
    assert step


def test_what_is_found_is_said_and_drawn():
    """Readings name size, interval and date; the picture has every mark, absent where a force is missing; JSON is plain."""
    level = np.concatenate([1000 + drawn(12, 24), 1400 + drawn(13, 12)])
    answer = document(
        {"red": list(level), "blue": list(900 + drawn(14, 36))},
        SIGMA,
        vintages={"kent": ("2019-04", "2022-03"), "surrey": ("2019-05", "2022-03")},
    )
    trend = find(read_panel(answer), counts=True)
    red, blue = readings(trend)
    assert "red: grew by" in red
    assert "at once in 2021-04" in red
    assert "no change that noise and chance would not explain" in blue
    assert any("at most 5 %: 6 tests" in caution for caution in cautions(trend))

    lines = drawing_of(trend, captions_of(answer, "records a month by colour"))
    assert [series.name for series in lines.series] == ["red", "blue"]
    assert [(change.series, change.label) for change in lines.changes] == [("red", "2021-04")]
    first, second = lines.series[0].marks[:2]
    assert (first.is_absent, second.is_absent) == (True, False)
    assert (second.low, second.high) == (answer.rows[1].values[0].low, answer.rows[1].values[0].high)

    sheet = sheet_of(trend, answer)
    assert all(len(row) == len(COLUMNS) for row in sheet.rows)
    assert len(sheet.rows) == 72
    json.dumps(dict(sheet.about), allow_nan=False)
    json.dumps([list(row) for row in sheet.rows], allow_nan=False)
    assert sheet.rows[0][-1] == "surrey"


def test_a_difference_that_is_recorded_need_not_be_a_change():
    """A year that differs by more than the noise, and by no more than the months do anyway, is said to do just that."""
    values = 1000 + np.concatenate([drawn(16, 12, 150.0), 60 + drawn(17, 12, 150.0)])
    found = find(panel({"red": values}, 2.0), counts=True)
    (year,) = (group.year_before for group in found.groups)
    assert not year.tested.stands_out
    assert not year.recorded_low <= 0 <= year.recorded_high
    assert "no more than such a series varies by anyway" in readings(found)[0]


def test_a_month_of_the_year_that_is_never_seen_leaves_a_wave():
    """Where each month cannot have a level of its own, only a wave is kept apart, and nothing breaks."""
    values = list(1000 + drawn(18, 36))
    whole = panel({"red": values}, SIGMA)
    seen = tuple(place for place in whole.groups[0].places if place.number % 12 != 5)
    (found,) = find(replace(whole, groups=(replace(whole.groups[0], places=seen),)), counts=True).groups
    assert found.guard is Guard.WAVE
    assert not found.steps


def test_quarters_are_series_too():
    """Four quarters are a year: the season of a quarter, and the year before, are counted in quarters."""
    values = 3000 + 500 * (np.arange(16) % 4 == 1) + 1500.0 * (np.arange(16) >= 9) + drawn(15, 16, 55.0)
    found = one(values, grain=Grain.QUARTER)
    assert [step.at for step in found.steps] == ["2021-Q3"]
    assert found.is_adjusted
    assert found.year_before.periods == ("2022-Q2", "2022-Q3", "2022-Q4", "2023-Q1")
