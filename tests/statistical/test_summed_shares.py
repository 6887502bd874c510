"""A sum of discrete Gaussian shares against the bound that is charged for it, by exact convolution."""

import math

import numpy as np
import pytest
from statistical.exact import log_sum, renyi_over_alpha

from cordon.accounting import summed_rho, tau

ALPHAS = (1.01, 1.5, 2.0, 4.0, 8.0)


def bound(sigma, forces):
    """The bound's own formula, also below 0.5, where production code refuses to use it."""
    rho = 1 / (2 * forces * sigma**2)
    extra = tau(sigma, forces)
    return min(rho + extra / 4, (math.sqrt(2 * rho) + extra) ** 2 / 2)


def exact(sigma, forces):
    """The largest Rényi divergence over alpha."""
    logs = log_sum(sigma, forces, 60)
    return max(renyi_over_alpha(logs, alpha) for alpha in ALPHAS)


@pytest.mark.parametrize(("sigma", "forces"), [(0.5, 2), (0.5, 5), (0.7, 3), (1.0, 2), (1.0, 8), (4.0, 3)])
def test_exact_divergence_is_within_the_charged_bound(sigma, forces):
    """From sigma 0.5 on, no order of divergence exceeds `summed_rho`; exact, so it has no false alarms."""
    charged = summed_rho(1 / (2 * forces * sigma**2), sigma=sigma, forces=forces, cells=1)

    assert charged == pytest.approx(bound(sigma, forces))
    assert exact(sigma, forces) <= charged * (1 + 1e-9)


def test_below_a_half_the_bound_fails_and_the_convolution_shows_it():
    """At sigma 0.3 and two shares the exact divergence is 4.755 where the bound says 3.806."""
    assert bound(0.3, 2) == pytest.approx(3.806, abs=1e-3)
    assert exact(0.3, 2) == pytest.approx(4.755, abs=1e-3)


def test_bound_is_refused_where_it_fails():
    """Production code does not compute a charge from a bound that does not hold."""
    with pytest.raises(ValueError, match=r"below 0\.5"):
        summed_rho(1.0, sigma=0.49, forces=2, cells=1)


def test_thirty_tiny_shares_add_up_to_almost_no_noise():
    """At sigma 0.2 a sum of 30 shares has standard deviation 0.01, not 0.2·√30 = 1.10."""
    values = np.arange(-60, 61)
    deviation = math.sqrt(float((np.exp(log_sum(0.2, 30, 60)) * values**2).sum()))

    assert deviation == pytest.approx(0.01, abs=0.005)
