"""The noise that comes out of the whole pipeline: what opens, less the bounded truth."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from statistical.exact import FALSE_ALARM, chi_square, log_pmf, variance_p_value
from statistical.federation import FORCES, plan, release, snapshot

from cordon.query.model import Measure, MeasureKind
from cordon.units import Rho

RHO = Rho(500_000_000)
ROWS = [(f"p{at}", f"c{at % 60}", f"c{at % 7}", at % 9) for at in range(300)]
"""Losses run to 8 where the contract bounds them at 4, so the truth is the bounded one."""


MEASURES = {
    MeasureKind.COUNT: Measure(MeasureKind.COUNT),
    MeasureKind.COUNT_UNIT: Measure(MeasureKind.COUNT_UNIT),
    MeasureKind.SUM: Measure(MeasureKind.SUM, "loss"),
    MeasureKind.SQUARES: Measure(MeasureKind.SQUARES, "loss", centre=2, offset=2),
    MeasureKind.HISTOGRAM: Measure(MeasureKind.HISTOGRAM, "loss", widths=(5,)),
    MeasureKind.PRODUCTS: Measure(MeasureKind.PRODUCTS, "loss", centre=2, other="toll", other_centre=1),
}
VALUES = {
    MeasureKind.SUM: lambda loss: loss,
    MeasureKind.SQUARES: lambda loss: (loss - 2) ** 2 - 2,
    MeasureKind.PRODUCTS: lambda loss: (loss - 2) * (min(loss, 3) - 1),
}
"""What a row adds to its cell, where it is not one: the histogram has one bin, so that every kind has 4,096 cells."""


def truth_of(kind):
    """Each cell of one force, counted here in plain Python."""
    cells = [0] * 4096
    for _, first, second, loss in ROWS:
        cells[64 * int(first[1:]) + int(second[1:])] += VALUES.get(kind, lambda _: 1)(min(loss, 4))
    return cells


def noise_of(tmp_path, kind, roster, off_by=1.0):
    """Opened less bounded truth, in scaled units, and the plan."""
    made = plan((MEASURES[kind],), roster, (RHO,))
    opened = snapshot(tmp_path / "force", ROWS)
    exact = [opened.aggregate(made, force) for force in FORCES[:roster]]
    opened.close()
    scale = made.blocks[0].scale
    results = release(made, exact, off_by=off_by)
    noise = [x - scale * roster * cell for x, cell in zip(results, truth_of(kind), strict=True)]
    return noise, made


CASES = [(MeasureKind.COUNT, 1), (MeasureKind.COUNT, 8), (MeasureKind.COUNT_UNIT, 4), (MeasureKind.SUM, 5)]
MORE = [(kind, n) for kind in MeasureKind for n in (1, 3, 4, 5, 6, 7, 8) if (kind, n) not in CASES]


def accepts(noise, made, roster):
    """Whether the noise is the planned one: by its mean square, and by its whole distribution."""
    sigma = float(made.blocks[0].share(roster, 1)) * math.sqrt(roster)
    reach = int(40 * sigma)
    by_shape = chi_square(noise, np.exp(log_pmf(sigma, reach)), reach)
    return min(by_shape, variance_p_value(noise, sigma)) >= FALSE_ALARM / 2


@pytest.mark.parametrize("off_by", [0.7, 1.0, 1.3])
@pytest.mark.parametrize(("kind", "roster"), [*CASES, *(pytest.param(*c, marks=pytest.mark.slow) for c in MORE)])
def test_opened_less_truth_is_the_planned_noise(tmp_path, kind, roster, off_by):
    """Of 4,096 cells the planned noise is accepted, and noise 0.7 or 1.3 times as large is not.

    Mean square and chi-square, false-alarm rate 1e-9 together. A ratio of 0.49 or 1.69 in variance
    is 23 or 31 standard errors away: the power is above 1 − 1e-9.
    """
    noise, made = noise_of(tmp_path, kind, roster, off_by)

    assert accepts(noise, made, roster) is (off_by == 1.0)


def test_intervals_cover_and_the_error_is_the_planned_one(tmp_path):
    """95 % intervals hold the truth in about 95 % of 4,096 cells, and the error is within 5 % of sigma.

    The coverage is held to an exact binomial at 1e-9; the root-mean-square's own error is 1.1 %, so
    5 % is 4.5 standard errors: a false alarm in 150,000.
    """
    noise, made = noise_of(tmp_path, MeasureKind.COUNT, 5)
    block = made.blocks[0]
    sigma = block.sigma(5, 1)
    errors = np.array(noise) / block.scale
    # What lies within half a step of the edge is inside: the noise is on a grid.
    half = norm.ppf(0.975) * sigma
    expected = 2 * norm.cdf((math.floor(half * block.scale) + 0.5) / (sigma * block.scale)) - 1
    inside = int((abs(errors) <= half).sum())

    assert binomtest(inside, len(errors), expected).pvalue >= FALSE_ALARM
    assert math.sqrt(float(np.mean(errors**2))) == pytest.approx(sigma, rel=0.05)
