"""Privacy arithmetic, against OpenDP's own conversion and by exact comparison."""

from fractions import Fraction

import opendp.prelude as dp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordon.accounting import SHARE_DENOMINATOR, epsilon, rho_for_epsilon, share_sigma, summed_rho, tau
from cordon.units import NANO, Rho

DELTA = 1e-9


@pytest.mark.parametrize(
    ("nano", "expected"), [(14_970_000, 1.0), (100_000_000, 2.716), (500_000_000, 6.474), (NANO, 9.522)]
)
def test_epsilon_has_the_documented_values(nano, expected):
    """The values that the documents name are those of the code."""
    assert epsilon(Rho(nano), DELTA) == pytest.approx(expected, abs=2e-3)


@given(st.integers(1, 10**9), st.integers(1, 10**10), st.integers(1, 64), st.integers(1, 50), st.integers(0, 20))
def test_a_share_is_the_smallest_multiple_that_suffices(d_squared, nano, scale, roster, colluders):
    """One step less of sigma would break the promise; the share itself keeps it."""
    share = share_sigma(Fraction(d_squared), Rho(nano), scale=scale, roster=roster, colluders=colluders)
    needed = Fraction(scale**2 * d_squared * NANO, 2 * nano * max(1, roster - colluders))
    assert share**2 >= needed
    assert (share - Fraction(1, SHARE_DENOMINATOR)) ** 2 < needed


@pytest.mark.parametrize("target", ["1/10", "1", "4"])
def test_rho_for_epsilon_is_the_most_that_fits(target):
    """One nano-rho more would exceed the epsilon."""
    rho = rho_for_epsilon(Fraction(target), DELTA)
    assert epsilon(rho, DELTA) <= Fraction(target) < epsilon(Rho(rho.nano + 1), DELTA)


def test_a_sum_of_narrow_shares_has_no_bound():
    """Below sigma 0.5 the bound does not hold and is not given; at 4 it costs nothing that can be seen."""
    with pytest.raises(ValueError, match=r"below 0\.5"):
        summed_rho(0.1, sigma=0.49, forces=2, cells=1)
    assert tau(4.0, 43) < 1e-66
    assert summed_rho(0.1, sigma=4.0, forces=43, cells=1000) == pytest.approx(0.1)


@pytest.mark.parametrize("rho", [0.01497, 0.1, 0.5, 1.0])
def test_epsilon_is_close_to_opendps_own(rho):
    """OpenDP's conversion of a zCDP guarantee gives the same epsilon."""
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    noise = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=(1 / (2 * rho)) ** 0.5))
    theirs = noise.map(1.0).epsilon(delta=DELTA)
    assert epsilon(Rho(round(rho * NANO)), DELTA) == pytest.approx(theirs, rel=2e-3)
