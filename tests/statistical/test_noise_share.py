"""The noise of one force's share, against the exact discrete Gaussian."""

import multiprocessing
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from statistical.exact import FALSE_ALARM, chi_square, log_pmf

from cordon.noise import add_noise_share, local_rho
from cordon.query.model import Measure, MeasureKind, Question
from cordon.query.plan import SMALL, Block, Plan
from cordon.units import Rho

RHO = Rho(10**8)


def plan_of(cells, scale, rho=RHO):
    """One COUNT block of D = 1 over a roster whose share is the same at every size up to c + 1."""
    question = Question("events", 1, (Measure(MeasureKind.COUNT),), None, (), ("a", "b", "c"))
    block = Block(question.measures[0], Fraction(1), 1000, rho, scale, 0, cells)
    return Plan(question, (), (block,), SMALL, 1)


def accepted(samples, sigma):
    """Whether samples pass for a discrete Gaussian of `sigma`."""
    reach = int(40 * sigma)
    return chi_square(samples, np.exp(log_pmf(sigma, reach)), reach) >= FALSE_ALARM


@pytest.mark.parametrize(("off_by", "passes"), [(0.7, False), (1.0, True), (1.3, False)])
def test_share_is_a_discrete_gaussian_of_the_planned_sigma(off_by, passes):
    """20,000 draws are accepted at the planned sigma and rejected 30 % either side.

    Chi-square, false-alarm rate 1e-9; at 0.7 and 1.3 the statistic exceeds its threshold by far, so
    the power is above 1 − 1e-9.
    """
    plan = plan_of(20_000, 2)
    sigma = float(plan.blocks[0].share(2, 1))
    noisier = replace(plan.blocks[0], rho=Rho(round(RHO.nano / off_by**2)))
    noise = add_noise_share([0] * plan.cells, replace(plan, blocks=(noisier,)), 2)

    assert accepted(noise, sigma) is passes


def test_cells_are_independent():
    """Neighbouring cells of 20,000 draws, and two forces' cells, correlate by less than 6.2/√n (false alarm 1e-9)."""
    plan = plan_of(20_000, 2)
    first, second = (np.array(add_noise_share([0] * plan.cells, plan, 2), dtype=float) for _ in range(2))
    limit = 6.2 / np.sqrt(plan.cells)

    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < limit
    assert abs(np.corrcoef(first, second)[0, 1]) < limit


def draw(queue):
    """What a forked process draws after seeding every seedable generator alike."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the claim is about this generator
    queue.put(add_noise_share([0] * 64, plan_of(64, 2), 2))


def test_noise_cannot_be_seeded():
    """Two spawned-by-fork processes with equal seeds draw differently: 64 equal cells by chance have odds below 1e-50."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=draw, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    drawn = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()

    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("roster", [1, 2, 3, 8, 43])
@pytest.mark.parametrize("colluders", [1, 14])
def test_a_share_alone_costs_what_is_stated(roster, colluders):
    """OpenDP's map of one share gives at most rho·max(1, |R| − c)."""
    block = plan_of(1, 64).blocks[0]
    found = local_rho(block.d_squared, scale=block.scale, sigma=block.share(roster, colluders))

    assert found <= float(RHO.nano) / 1e9 * max(1, roster - colluders) * (1 + 1e-9)
