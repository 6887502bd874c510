"""Quantiles from noised bins: against dense least squares and numpy's quantiles, and in their limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordon.estimate.histogram import Hierarchy, quantile_values, quantiles

REACH = 1.959963984540054


def counts_of(values, hierarchy):
    """Exact counts in the bins of each width, as one row."""
    places = np.asarray(values) - hierarchy.low
    return [np.bincount(places // width, minlength=hierarchy.bins(width))[None, :] * 1.0 for width in hierarchy.widths]


def noised(counts, hierarchy, generator, rows):
    """Rows of releases of the same counts."""
    return [
        count + math.sqrt(variance) * generator.standard_normal((rows, count.shape[-1]))
        for count, variance in zip(counts, hierarchy.variances, strict=True)
    ]


@st.composite
def hierarchies(draw):
    """A range that is often no multiple of the widths, which are multiples of one another."""
    low = draw(st.integers(-20, 20))
    widths = [draw(st.integers(1, 4))]
    for factor in draw(st.lists(st.integers(2, 5), max_size=2)):
        widths.append(widths[-1] * factor)
    variances = tuple(draw(st.floats(0.1, 30)) for _ in widths)
    return Hierarchy(low, low + draw(st.integers(0, 60)), tuple(widths), variances)


@settings(max_examples=60, deadline=None)
@given(hierarchies(), st.integers(0, 2**32))
def test_the_fit_is_dense_weighted_least_squares(hierarchy, seed):
    """The finest bins are the solution of the stacked system, whatever hangs over at the end of the range."""
    finest = hierarchy.bins(hierarchy.widths[0])
    starts = np.arange(finest) * hierarchy.widths[0]
    matrices = [
        (starts // width == np.arange(hierarchy.bins(width))[:, None]) / math.sqrt(variance)
        for width, variance in zip(hierarchy.widths, hierarchy.variances, strict=True)
    ]
    generator = np.random.default_rng(seed)
    counts = [generator.normal(5, 3, (2, hierarchy.bins(width))) for width in hierarchy.widths]
    wanted = np.concatenate(
        [count / math.sqrt(variance) for count, variance in zip(counts, hierarchy.variances, strict=True)], axis=-1
    )
    dense, *_ = np.linalg.lstsq(np.vstack(matrices), wanted.T, rcond=None)
    assert np.allclose(hierarchy.fit(counts), dense.T, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(hierarchies(), st.floats(0.01, 0.99))
def test_deviations_of_ranks_follow_from_the_dense_covariance(hierarchy, q):
    """The deviation of (rows up to a bin) less q of all rows is that of its coefficients on the fitted bins."""
    covariance = hierarchy._covariance
    bins = len(covariance)
    coefficients = np.tril(np.ones((bins, bins))) - q
    dense = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", coefficients, covariance, coefficients), 0))
    assert np.allclose(hierarchy.deviations(q), dense, atol=1e-6)


def test_noise_left_after_the_fit_is_drawn_with_its_covariance():
    """20,000 draws have the covariance of fitted releases: every entry within 6 standard errors of its own."""
    hierarchy = Hierarchy(0, 11, (1, 4), (2.0, 1.0))
    drawn = hierarchy.noise(1, 20_000, np.random.default_rng(5))[:, 0]
    covariance = hierarchy._covariance
    errors = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / len(drawn))
    assert (np.abs(np.cov(drawn.T) - covariance) < 6 * errors).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-7, 43), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]),
)
def test_without_noise_a_quantile_is_that_of_the_inverted_distribution(values, q):
    """The least value that a share q does not exceed, as numpy's `inverted_cdf`, up to an exact tie of ranks."""
    hierarchy = Hierarchy(-7, 43, (1, 6), (1.0, 1.0))
    fitted = counts_of(values, hierarchy)[0]
    found = quantile_values(hierarchy, fitted, q)[0]
    # A rank q·n that is whole in exact arithmetic may fall on either side of it in floats.
    near = [np.quantile(values, share, method="inverted_cdf") for share in (q - 1e-9, q, q + 1e-9)]
    assert found in near


@settings(max_examples=100, deadline=None)
@given(hierarchies(), st.sampled_from([0.01, 0.25, 0.5, 0.9]), st.integers(0, 2**32))
def test_an_interval_holds_its_estimate_and_lies_within_the_column(hierarchy, q, seed):
    """Low, value and high ascend within the contract's bounds, also where the noise is larger than the counts."""
    generator = np.random.default_rng(seed)
    values = generator.integers(hierarchy.low, hierarchy.high + 1, 20)
    found = quantiles(hierarchy, hierarchy.fit(noised(counts_of(values, hierarchy), hierarchy, generator, 5)), q, REACH)
    known = ~np.isnan(found.value)
    assert (found.low[known] <= found.value[known]).all()
    assert (found.value[known] <= found.high[known]).all()
    assert (hierarchy.low <= found.low).all()
    assert (found.high <= hierarchy.high).all()


def test_rows_of_nothing_have_no_quantile_and_the_whole_range():
    """Where the fitted bins sum to zero or less, or are unknown, nothing is said: NaN, and both bounds."""
    hierarchy = Hierarchy(3, 12, (2, 4), (1.0, 1.0))
    found = quantiles(hierarchy, np.array([[0.0] * 5, [-3.0] + [0.0] * 4, [math.nan] * 5]), 0.5, REACH)
    assert np.isnan(found.value).all()
    assert found.low.tolist() == [3, 3, 3]
    assert found.high.tolist() == [12, 12, 12]


def test_one_bin_says_no_more_than_the_range():
    """A histogram of one bin spreads its rows evenly, and its interval is the bin."""
    hierarchy = Hierarchy(10, 19, (10,), (4.0,))
    found = quantiles(hierarchy, hierarchy.fit([np.array([[100.0]])]), 0.5, REACH)
    assert found.value[0] == pytest.approx(14.5)
    assert (found.low[0], found.high[0]) == (10, 19)


def test_a_range_of_one_value_is_that_value():
    """A column whose bounds are equal has one quantile."""
    hierarchy = Hierarchy(7, 7, (1,), (1.0,))
    found = quantiles(hierarchy, hierarchy.fit([np.array([[5.0]])]), 0.9, REACH)
    assert (found.value[0], found.low[0], found.high[0]) == (7, 7, 7)


def test_wide_bins_hold_the_true_quantile():
    """With bins of 25 and counts far above the noise, the interval is the true value's bin."""
    generator = np.random.default_rng(2)
    values = np.clip(generator.normal(340, 80, 100_000), 0, 1000).astype(int)
    hierarchy = Hierarchy(0, 1000, (25, 100), (4.0, 4.0))
    found = quantiles(
        hierarchy, hierarchy.fit(noised(counts_of(values, hierarchy), hierarchy, generator, 1)), 0.5, REACH
    )
    true = np.quantile(values, 0.5, method="inverted_cdf")
    assert (found.low[0], found.high[0]) == (true // 25 * 25, true // 25 * 25 + 24)
    # Rows are taken to be spread evenly over a bin, which they nearly are.
    assert abs(found.value[0] - true) < 2


def test_an_interval_reaches_as_far_as_the_noise_allows():
    """Ends are where the rank lies 1.96 of its deviations away: a tenfold noise makes it about ten times as long."""
    counts = [np.full((1, 1000), 50.0)]
    lengths = []
    for variance in (4.0, 400.0):
        hierarchy = Hierarchy(0, 999, (1,), (variance,))
        found = quantiles(hierarchy, counts[0], 0.5, REACH)
        slack = REACH * math.sqrt(variance * 250)
        assert found.high[0] == pytest.approx(499 + slack / 50, abs=1.5)
        lengths.append(found.high[0] - found.low[0])
    assert lengths[1] == pytest.approx(10 * lengths[0], rel=0.2)
