"""Intervals as images of a ball: against closed forms where there are any, and against grids where there are none."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordon.estimate.interval import REACH_95, Ends, Given, interval, is_linear
from cordon.query.expression import Arithmetic, Bounded, Constant, Part, Quantile, Residents, Root, evaluate

A, B, C = Part(0), Part(1), Part(2)
MEDIAN, UPPER, LOWER = (Quantile(3, Fraction(q, 4)) for q in (2, 3, 1))


def constant(value):
    """A public number."""
    return Constant(Fraction(value))


def known(values, deviations=None, *, residents=None, boxes=None):
    """What is known of some parts, in rows."""
    leaves = {Part(at): np.asarray(value, dtype=float) for at, value in enumerate(values)}
    spread = {Part(at): np.asarray(value, dtype=float) for at, value in enumerate(deviations or [1.0] * len(values))}
    if residents is not None:
        leaves[Residents()] = np.asarray(residents, dtype=float)
    ends = {leaf: Ends(np.asarray(low, float), np.asarray(high, float)) for leaf, (low, high) in (boxes or {}).items()}
    return Given(leaves, spread, ends)


def fieller(x, y, a, b):
    """Fieller's interval of x / y for independent deviations a and b, where 1.96 b is below |y|."""
    z = REACH_95**2
    centre, denominator = x * y, y * y - z * b * b
    root = np.sqrt(centre**2 - (x * x - z * a * a) * denominator)
    return (centre - root) / denominator, (centre + root) / denominator


def on_grid(expression, values, deviations, *, points=400):
    """The least and largest value over a fine grid of the sphere of three parts, inner shells included."""
    polar, turn = np.meshgrid(np.linspace(0, math.pi, points), np.linspace(0, 2 * math.pi, points))
    shells = np.array([0.25, 0.5, 0.75, 1.0])[:, None, None] * REACH_95
    noise = [shells * np.sin(polar) * np.cos(turn), shells * np.sin(polar) * np.sin(turn), shells * np.cos(polar)]
    moved = {Part(at): values[at] + deviations[at] * part for at, part in enumerate(noise)}
    found = evaluate(expression, moved).value
    return float(found.min()), float(found.max())


def test_which_expressions_are_linear():
    """Sums of parts times what is public are; a part times or under another, a root and a bound are not."""
    per_1000 = Arithmetic("/", Arithmetic("*", constant(1000), A), Residents())
    assert all(
        map(is_linear, (A, Arithmetic("-", A, B), per_1000, Arithmetic("*", Arithmetic("+", A, B), constant(2))))
    )
    others = (Arithmetic("*", A, B), Arithmetic("/", constant(1), A), Root(A), Bounded(A, None, None), MEDIAN)
    assert not any(map(is_linear, others))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), st.floats(0.1, 1e3), st.floats(0.1, 1e3))
def test_a_linear_expression_is_its_estimate_and_196_deviations(values, a, b):
    """3A/residents - B/2 + A, whose coefficients of A add up."""
    expression = Arithmetic(
        "+",
        Arithmetic("-", Arithmetic("/", Arithmetic("*", constant(3), A), Residents()), Arithmetic("/", B, constant(2))),
        A,
    )
    x, y = np.array(values[:2]), np.array(values[2:])
    residents = np.array([7.0, 50.0])
    found = interval(expression, known([x, y], [a, b], residents=residents))
    centre = 3 * x / residents - y / 2 + x
    reach = REACH_95 * np.sqrt(((3 / residents + 1) * a) ** 2 + (b / 2) ** 2)
    assert np.allclose(found.low, centre - reach)
    assert np.allclose(found.high, centre + reach)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e5, 1e5), st.floats(0.01, 100), st.floats(0.01, 100), st.floats(1.05, 1e4), st.sampled_from([-1, 1]))
def test_a_ratio_has_fiellers_interval(x, a, b, far, sign):
    """To 1e-6 of its length, down to a denominator 5 % beyond the reach of its noise."""
    y = sign * far * REACH_95 * b
    found = interval(Arithmetic("/", A, B), known([[x], [y]], [a, b]))
    low, high = fieller(x, y, a, b)
    assert found.low[0] == pytest.approx(low, abs=1e-6 * (high - low))
    assert found.high[0] == pytest.approx(high, abs=1e-6 * (high - low))


def test_a_ratio_of_sums_that_share_parts_has_fiellers_interval():
    """A share A/(A+B) is 1/(1+B/A): the noise of A moves both sides at once."""
    x, y = np.array([40.0, 7.0]), np.array([100.0, 30.0])
    found = interval(Arithmetic("/", A, Arithmetic("+", A, B)), known([x, y], [2.0, 3.0]))
    low, high = fieller(y, x, 3.0, 2.0)
    assert np.allclose([found.low, found.high], [1 / (1 + high), 1 / (1 + low)])


def test_a_ratio_whose_denominator_may_vanish_has_no_ends():
    """Where zero lies within 1.96 deviations of the denominator, or is it, nothing bounds the ratio but its column."""
    ratio = Arithmetic("/", A, B)
    given_ = known([[5.0, 5, 0, 5, 0], [1.9, -1.9, 0, 0, 1.97]])
    found = interval(ratio, given_)
    assert np.isinf(found.low).tolist() == [True, True, True, True, False]
    assert np.isinf(found.high).tolist() == [True, True, True, True, False]
    bounded = interval(Bounded(ratio, Fraction(0), Fraction(110)), given_)
    assert bounded.low.tolist()[:4] == [0] * 4
    assert bounded.high.tolist()[:4] == [110] * 4


def test_bounds_cut_an_interval_off():
    """Ends beyond a bound become the bound, also where the whole interval lies beyond it; None is no bound."""
    found = interval(Bounded(A, Fraction(0), None), known([[1.0, 10, -10]]))
    assert found.low.tolist() == pytest.approx([0, 10 - REACH_95, 0])
    assert found.high.tolist() == pytest.approx([1 + REACH_95, 10 + REACH_95, 0])


def variance(rows=A, total=B, squares=C):
    """The population's variance, from rows, their sum and their sum of squares."""
    mean = Arithmetic("/", total, rows)
    return Arithmetic("-", Arithmetic("/", squares, rows), Arithmetic("*", mean, mean))


@pytest.mark.parametrize(
    ("values", "deviations"),
    [
        ((1000, 300, 250_000), (5, 60, 4000)),
        ((60, 30, 15_000), (5, 200, 4000)),
        ((20, -400, 30_000), (5, 90, 3000)),
        ((14, 0, 2000), (5, 300, 9000)),
    ],
)
def test_a_variance_spans_what_it_takes_over_the_ball(values, deviations):
    """As far as a grid of 160,000 directions finds, and no further than 0.1 % beyond; with and without N/(N - 1)."""
    rows = Arithmetic("/", A, Arithmetic("-", A, constant(1)))
    for expression in (variance(), Arithmetic("*", variance(), rows)):
        found = interval(expression, known([[value] for value in values], deviations))
        low, high = on_grid(expression, values, deviations)
        slack = 1e-3 * (high - low)
        assert low - slack <= found.low[0] <= low + 1e-9 * abs(low)
        assert high - 1e-9 * abs(high) <= found.high[0] <= high + slack


def test_a_square_reaches_down_to_zero():
    """A product of a part with itself is least inside the ball and not on its surface."""
    found = interval(Arithmetic("*", A, A), known([[0.5, -1.0, 10.0]]))
    assert found.low.tolist() == pytest.approx([0, 0, (10 - REACH_95) ** 2], abs=1e-6)
    assert found.high.tolist() == pytest.approx([(0.5 + REACH_95) ** 2, (1 + REACH_95) ** 2, (10 + REACH_95) ** 2])


@pytest.mark.parametrize("sign", "+-*/")
def test_arithmetic_of_nonlinear_columns_spans_the_ball(sign):
    """(A/B) with C by each sign, and the square of A - B, against the grid."""
    expression = Arithmetic(sign, Arithmetic("/", A, B), Arithmetic("-", C, constant(1)))
    values, deviations = (30.0, 40.0, 9.0), (6.0, 7.0, 1.0)
    found = interval(expression, known([[value] for value in values], deviations))
    low, high = on_grid(expression, values, deviations)
    assert found.low[0] == pytest.approx(low, abs=1e-3 * (high - low))
    assert found.high[0] == pytest.approx(high, abs=1e-3 * (high - low))


def test_a_root_has_the_roots_of_the_ends():
    """Below zero both ends are zero."""
    found = interval(Root(A), known([[100.0, 1.0, -5.0]]))
    assert found.low.tolist() == pytest.approx([math.sqrt(100 - REACH_95), 0, 0])
    assert found.high.tolist() == pytest.approx([math.sqrt(100 + REACH_95), math.sqrt(1 + REACH_95), 0])


def test_a_difference_of_quantiles_reaches_over_both_of_their_intervals():
    """QUANTILE(x, 0.75) - QUANTILE(x, 0.25) lies between the shortest and the longest distance of their values."""
    given_ = Given(
        {UPPER: np.array([40.0]), LOWER: np.array([20.0])},
        {},
        {UPPER: Ends(np.array([38.0]), np.array([43.0])), LOWER: Ends(np.array([19.0]), np.array([22.0]))},
    )
    found = interval(Arithmetic("-", UPPER, LOWER), given_)
    assert (found.low[0], found.high[0]) == (16, 24)


def test_products_and_quotients_of_quantiles_take_all_corners():
    """Signs of the ends matter; a divisor that may be zero leaves no ends, and zero times no end is zero."""
    boxes = {UPPER: ([-2.0, 0.0], [3.0, 0.0]), LOWER: ([4.0, -1.0], [5.0, 1.0])}
    given_ = known([], boxes=boxes)
    product = interval(Arithmetic("*", UPPER, LOWER), given_)
    assert (product.low.tolist(), product.high.tolist()) == ([-10, 0], [15, 0])
    quotient = interval(Arithmetic("/", UPPER, LOWER), given_)
    assert (quotient.low[0], quotient.high[0]) == (-0.5, 0.75)
    assert (quotient.low[1], quotient.high[1]) == (0, 0)
    under = interval(Arithmetic("/", constant(1), LOWER), given_)
    assert (under.low[1], under.high[1]) == (-math.inf, math.inf)


def test_a_quantile_beside_a_part_takes_every_value_of_both_intervals():
    """MEDIAN + A: ends add up; times a public number they are scaled."""
    given_ = known([[10.0]], boxes={MEDIAN: ([30.0], [34.0])})
    found = interval(Arithmetic("+", Arithmetic("*", constant(2), MEDIAN), A), given_)
    assert found.low[0] == pytest.approx(60 + 10 - REACH_95)
    assert found.high[0] == pytest.approx(68 + 10 + REACH_95)


@pytest.mark.parametrize(
    "expression",
    [
        A,
        Arithmetic("/", A, B),
        Arithmetic("*", A, B),
        variance(),
        Bounded(variance(), Fraction(0), Fraction(9)),
        Root(variance()),
        Arithmetic("/", Arithmetic("/", A, B), C),
        Arithmetic("/", A, Residents()),
        Arithmetic("/", Arithmetic("/", A, B), Residents()),
        Arithmetic("-", Arithmetic("/", A, B), Arithmetic("/", C, B)),
    ],
    ids=range(10),
)
def test_what_is_zero_or_unknown_raises_no_warning(expression):
    """Zeros and unknown values in any place give ends that are in order, or NaN, or no ends."""
    edge = [0.0, 0.0, 3.0, math.nan, 1e-320, 5.0, 0.0]
    rows = known(
        [edge, edge[::-1], [0.0, 2, 0, 4, math.nan, 0, 0]],
        [1.0, 0.5, 2.0],
        residents=[0.0, 10, math.nan, 10, 0, 0, 10],
    )
    found = interval(expression, rows)
    ends = [np.broadcast_to(end, (7,)) for end in found]
    assert not (ends[0] > ends[1]).any()


def test_unknown_residents_leave_no_interval_of_a_quantile():
    """A quantile divided by residents that nobody knows is unknown, and not zero."""
    given_ = known([], residents=[math.nan], boxes={MEDIAN: ([3.0], [5.0])})
    found = interval(Arithmetic("*", MEDIAN, Residents()), given_)
    assert np.isnan(found.low[0])
    assert np.isnan(found.high[0])


def test_ten_thousand_rows_are_ten_thousand_intervals():
    """Each row's ends are what it gets alone."""
    generator = np.random.default_rng(3)
    values = [generator.normal(50, 10, 10_000), generator.normal(0, 500, 10_000), generator.normal(2e4, 4e3, 10_000)]
    deviations = [5.0, 90.0, 900.0]
    found = interval(variance(), known(values, deviations))
    for at in (0, 77, 9_999):
        alone = interval(variance(), known([value[[at]] for value in values], deviations))
        assert alone.low[0] == pytest.approx(found.low[at], rel=1e-6)
        assert alone.high[0] == pytest.approx(found.high[at], rel=1e-6)
