"""Tables that add up: against dense solvers, and against the truth in seeded simulations."""

import math
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from cordon.estimate.consistent import counts, fit, fitted_variances, nonnegative


@st.composite
def designs(draw):
    """Sizes of up to three axes, some tables over them (the full one is often missing), and their noise."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    every = list(chain.from_iterable(combinations(range(len(sizes)), r) for r in range(len(sizes) + 1)))
    tables = draw(st.lists(st.sampled_from(every), min_size=1, max_size=5, unique=True))
    variances = {keys: draw(st.floats(0.05, 50)) for keys in tables}
    return sizes, variances, draw(st.integers(0, 2**32))


def summing(keys, sizes):
    """The dense matrix that sums the full array, flattened, into a table."""
    cells = np.arange(math.prod(sizes)).reshape(sizes)
    at = np.array(np.unravel_index(cells.reshape(-1), sizes))
    shape = [sizes[key] for key in keys]
    matrix = np.zeros((math.prod(shape), cells.size))
    rows = np.ravel_multi_index([at[key] for key in keys], shape) if keys else np.zeros(cells.size, int)
    matrix[rows, np.arange(cells.size)] = 1
    return matrix


def summed(full, keys, axes):
    """A table, from an array by all keys after any leading axes."""
    return full.sum(axis=tuple(at - axes for at in range(axes) if at not in keys))


def weighted(variances, sizes):
    """All tables' sums over one another, each row in units of its own noise."""
    return np.vstack([summing(keys, sizes) / math.sqrt(variance) for keys, variance in variances.items()])


def released(sizes, variances, seed, *, cases=()):
    """Noised tables of a random sparse truth."""
    generator = np.random.default_rng(seed)
    truth = generator.poisson(1.5, (*cases, *sizes))
    axes = len(sizes)
    return {
        keys: summed(truth, keys, axes)
        + math.sqrt(variance) * generator.standard_normal((*cases, *(sizes[key] for key in keys)))
        for keys, variance in variances.items()
    }


def in_units(tables, variances):
    """Every released value, in units of its noise, in the order of `weighted`."""
    return np.concatenate([np.ravel(tables[keys]) / math.sqrt(variance) for keys, variance in variances.items()])


@settings(max_examples=60, deadline=None)
@given(designs())
def test_fitted_tables_are_those_of_dense_least_squares(design):
    """The closed form gives the tables of the pseudo-inverse, for any set of tables, with axes of size 1 as well."""
    sizes, variances, seed = design
    tables = released(sizes, variances, seed)
    full = np.linalg.pinv(weighted(variances, sizes)) @ in_units(tables, variances)
    fitted = fit(tables, variances, sizes)
    for keys in variances:
        assert fitted[keys].shape == tuple(sizes[key] for key in keys)
        assert np.allclose(np.ravel(fitted[keys]), summing(keys, sizes) @ full, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(designs())
def test_fitted_variances_are_those_of_dense_least_squares(design):
    """Each cell's variance is the diagonal of the dense covariance, and never above the released one."""
    sizes, variances, _ = design
    matrix = weighted(variances, sizes)
    covariance = np.linalg.pinv(matrix.T @ matrix)
    for keys, variance in fitted_variances(variances, sizes).items():
        dense = np.diag(summing(keys, sizes) @ covariance @ summing(keys, sizes).T)
        assert np.allclose(dense, variance, rtol=1e-6)
        assert variance <= variances[keys] * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(designs())
def test_leading_axes_are_independent_cases(design):
    """Six cases at once give what each gives alone."""
    sizes, variances, seed = design
    tables = released(sizes, variances, seed, cases=(2, 3))
    fitted = fit(tables, variances, sizes)
    alone = fit({keys: table[1, 2] for keys, table in tables.items()}, variances, sizes)
    assert all(np.allclose(fitted[keys][1, 2], alone[keys]) for keys in tables)


@settings(max_examples=40, deadline=None)
@given(designs())
def test_nonnegative_tables_are_those_of_a_dense_solver(design):
    """Their distance from what was released is the least that non-negative least squares finds, to 0.1 %."""
    sizes, variances, seed = design
    tables = released(sizes, variances, seed)
    matrix, wanted = weighted(variances, sizes), in_units(tables, variances)
    _, least = nnls(matrix, wanted, maxiter=10_000)
    found = nonnegative(tables, variances, sizes)
    distance = float(np.linalg.norm(in_units(found, variances) - wanted))
    assert distance <= least * 1.001 + 1e-3
    assert all((table >= 0).all() for table in found.values())


@settings(max_examples=40, deadline=None)
@given(designs(), st.booleans())
def test_tables_add_up(design, positive):
    """Every table sums to every coarser one, fitted and made non-negative."""
    sizes, variances, seed = design
    tables = (nonnegative if positive else fit)(released(sizes, variances, seed), variances, sizes)
    for fine in tables:
        for coarse in tables:
            if set(coarse) <= set(fine):
                added = summed(tables[fine], [fine.index(at) for at in coarse], len(fine))
                assert np.allclose(added, tables[coarse], atol=1e-9 * (1 + np.abs(added).max()))


def test_an_array_that_is_too_large_is_left_as_it_is():
    """Above the limit of cells there are no non-negative tables, whatever was released."""
    sizes = [1000, 1000]
    assert nonnegative({(): np.array(3.0)}, {(): 1.0}, sizes) is None


@settings(max_examples=40, deadline=None)
@given(designs())
def test_each_step_is_closer_to_the_truth(design):
    """In units of the noise and over all released tables, no fit is further off than what was released; and no
    non-negative one further than the fit, where the mean square over each table counts alike. Both are projections
    on what holds the truth: in every release, not on average.
    """
    sizes, variances, seed = design
    truth = np.random.default_rng(seed).poisson(1.5, tuple(sizes))
    true = in_units({keys: summed(truth, keys, len(sizes)) for keys in variances}, variances)
    raw = released(sizes, variances, seed)
    fitted = fit(raw, variances, sizes)
    off = [float(np.linalg.norm(in_units(tables, variances) - true)) for tables in (raw, fitted)]
    assert off[1] <= off[0] * (1 + 1e-9)
    alike = {
        keys: variance * math.prod(sizes[at] for at in keys)
        for keys, variance in fitted_variances(variances, sizes).items()
    }
    true = in_units({keys: summed(truth, keys, len(sizes)) for keys in variances}, alike)
    off = [float(np.linalg.norm(in_units(found, alike) - true)) for found in (fitted, counts(raw, variances, sizes))]
    assert off[1] <= off[0] * 1.001 + 1e-3


def bias(near, share, *, cases=30):
    """Of counts made non-negative: the mean error of cells near zero, of large ones and of the total.

    In deviations of the fit, with its standard error for each. 100 cells and their total, with noise of one.

    Args:
        near: truth of the cells near zero, in deviations; others are at 50.
        share: how many are near zero.
    """
    generator = np.random.default_rng(6)
    variances = {(0,): 1.0, (): 1.0}
    truth = np.where(np.arange(100) < 100 * share, near, 50.0)
    errors = []
    for _ in range(cases):
        raw = {(0,): truth + generator.standard_normal(100), (): truth.sum() + generator.standard_normal()}
        found = counts({keys: np.array(table) for keys, table in raw.items()}, variances, [100])
        off = found[0,] - truth
        errors.append((off[truth == near].mean(), off[truth == 50].mean(), found[()] - truth.sum()))
    deviations = fitted_variances(variances, [100])
    errors = np.array(errors) / np.sqrt([deviations[0,], deviations[0,], deviations[()]])
    return errors.mean(axis=0), errors.std(axis=0) / math.sqrt(cases)


@pytest.mark.parametrize(
    ("near", "share", "stated"),
    [
        (0, 0.1, (0.40, -0.04, 0.00)),
        (0, 0.5, (0.28, -0.28, 0.00)),
        (0, 0.9, (0.10, -0.91, 0.00)),
        (1, 0.1, (0.08, -0.01, 0.00)),
        (1, 0.9, (0.01, -0.09, 0.00)),
        (3, 0.5, (0.00, 0.00, 0.00)),
    ],
)
def test_the_bias_of_counts_made_non_negative_is_as_stated(near, share, stated):
    """The table of docs/privacy.md §6, to 5 standard errors and its rounding, with a fixed seed."""
    found, errors = bias(near, share)
    assert (np.abs(found - stated) < 5 * errors + 0.01).all()


SIZES = [6, 8, 5]
VARIANCES = {(0, 1, 2): 4.0, (0, 1): 4.0, (0,): 4.0, (): 4.0}


def errors(generator, *, rate, cases):
    """Root-mean-square errors of the finest and of all tables: as released, fitted, and made non-negative."""
    truth = generator.poisson(rate, SIZES).astype(float)
    true = {keys: summed(truth, keys, 3) for keys in VARIANCES}
    squares = {which: dict.fromkeys(VARIANCES, 0.0) for which in ("raw", "fitted", "shown")}
    for _ in range(cases):
        raw = {keys: table + 2 * generator.standard_normal(table.shape) for keys, table in true.items()}
        found = {"raw": raw, "fitted": fit(raw, VARIANCES, SIZES), "shown": counts(raw, VARIANCES, SIZES)}
        for which, tables in found.items():
            for keys, table in tables.items():
                squares[which][keys] += float(np.mean((table - true[keys]) ** 2)) / cases
    return {which: {keys: math.sqrt(value) for keys, value in of.items()} for which, of in squares.items()}


def test_tables_that_agree_are_closer_to_the_truth():
    """In a sparse table (0.3 records a cell, noise of 2 in each cell of a ROLLUP), 15 releases of a fixed seed.

    The fitted total has at most 0.8 of the released one's error, and no table more than its own; made non-negative,
    the finest table has at most half of the fitted one's.
    """
    found = errors(np.random.default_rng(4), rate=0.3, cases=15)
    assert found["fitted"][(0,)] < 0.95 * found["raw"][(0,)]
    assert all(found["fitted"][keys] < 1.03 * found["raw"][keys] for keys in VARIANCES)
    assert found["shown"][(0, 1, 2)] < 0.5 * found["fitted"][(0, 1, 2)]
    assert found["shown"][(0, 1)] < 0.85 * found["fitted"][(0, 1)]
    assert found["shown"][()] < 1.02 * found["fitted"][()]
