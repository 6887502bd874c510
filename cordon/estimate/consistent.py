"""Tables that add up: weighted least squares over released marginal tables, and the nearest ones not below zero.

Every axis is turned by an orthonormal matrix whose first row is constant. In these coordinates a table S of sums
over the axes that it lacks sees the coefficients of the full array that vanish on those axes, each magnified by
the root of the number of cells that were summed, and its noise stays independent. So least squares are a weighted
mean, coefficient by coefficient, and no matrix is ever inverted.

Source: Hay, Rastogi, Miklau and Suciu (2010) for consistency; Xiao, He, Zhang and Kifer (2023) for the
decomposition; docs/privacy.md §6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cordon.query.split import cells_summed, components_of

Array = npt.NDArray[np.float64]
Keys = tuple[int, ...]
"""The axes of a table, ascending."""

MOST_FULL_CELLS = 200_000
"""Cells of an array by all keys up to which tables are made non-negative."""

_MOST_STEPS = 2_000
_CLOSE = 1e-5
"""Non-negative tables are found to this fraction of the smallest table's deviation."""


def fit(tables: Mapping[Keys, Array], variances: Mapping[Keys, float], sizes: Sequence[int]) -> dict[Keys, Array]:
    """The tables that agree with one another and are nearest to what was released, in units of its noise; unbiased.

    Args:
        tables: unbiased estimates, shape (…, size of each of its axes); any leading axes are independent cases.
        variances: of the noise in one cell of each table.
        sizes: of every axis.
    """
    turned = {keys: _turn(table, keys, sizes) for keys, table in tables.items()}
    fitted = {keys: np.zeros_like(table) for keys, table in turned.items()}
    for component, seeing, precision in _components(variances, sizes):
        weighted = [
            math.sqrt(cells_summed(keys, sizes)) / variances[keys] * turned[keys][_place(component, keys)]
            for keys in seeing
        ]
        total = np.sum(weighted, axis=0)
        for keys in seeing:
            fitted[keys][_place(component, keys)] = math.sqrt(cells_summed(keys, sizes)) * total / precision
    return {keys: _turn(table, keys, sizes, back=True) for keys, table in fitted.items()}


def fitted_variances(variances: Mapping[Keys, float], sizes: Sequence[int]) -> dict[Keys, float]:
    """The variance of one cell of each table after `fit`; the same in all of its cells."""
    found = dict.fromkeys(variances, 0.0)
    for component, seeing, precision in _components(variances, sizes):
        dimension = math.prod(sizes[at] - 1 for at in component)
        for keys in seeing:
            found[keys] += dimension * cells_summed(keys, sizes) / precision / math.prod(sizes[at] for at in keys)
    return found


def counts(
    tables: Mapping[Keys, Array], variances: Mapping[Keys, float], sizes: Sequence[int]
) -> dict[Keys, Array] | None:
    """Tables that agree, are not below zero, and are nearest to the least-squares ones, each table counting alike.

    By the noise alone a total would weigh no more than one cell, and be lifted by what every empty cell is lifted
    by; here the mean square over each table's cells counts, so that totals stay where least squares put them.

    Returns:
        None where the array by all keys would be too large.
    """
    fitted = fitted_variances(variances, sizes)
    alike = {keys: variance * math.prod(sizes[at] for at in keys) for keys, variance in fitted.items()}
    return nonnegative(fit(tables, variances, sizes), alike, sizes)


def nonnegative(
    tables: Mapping[Keys, Array], variances: Mapping[Keys, float], sizes: Sequence[int]
) -> dict[Keys, Array] | None:
    """The tables that agree, are not below zero, and are nearest to what was released, in units of its noise.

    Biased: cells near zero are lifted, and others lowered by as much.

    Returns:
        None where the array by all keys would be too large.

    Source: alternating directions (Boyd et al. 2011), with each quadratic step taken in closed form.
    """
    if math.prod(sizes) > MOST_FULL_CELLS:
        return None
    every = tuple(range(len(sizes)))
    weights, target = _full(tables, variances, sizes)
    seen = weights[weights > 0]
    penalty = math.sqrt(float(seen.min()) * float(seen.max()))
    enough = _CLOSE * math.sqrt(min(variances.values()))
    kept = np.maximum(_turn(target, every, sizes, back=True), 0.0)
    dual = np.zeros_like(kept)
    for _ in range(_MOST_STEPS):
        mixed = (weights * target + penalty * _turn(kept - dual, every, sizes)) / (weights + penalty)
        free = _turn(mixed, every, sizes, back=True)
        before, kept = kept, np.maximum(free + dual, 0.0)
        dual += free - kept
        if max(np.abs(free - kept).max(), np.abs(kept - before).max()) < enough:
            break
    return {keys: _summed(kept, keys, len(sizes)) for keys in tables}


def _full(tables: Mapping[Keys, Array], variances: Mapping[Keys, float], sizes: Sequence[int]) -> tuple[Array, Array]:
    """In turned coordinates of the full array: the precision of each coefficient, and its least-squares value."""
    weights, target = np.zeros(tuple(sizes)), np.zeros(tuple(sizes))
    every = tuple(range(len(sizes)))
    for component, seeing, precision in _components(variances, sizes):
        place = _place(component, every)
        weights[place] = precision
        for keys in seeing:
            own = _turn(tables[keys], keys, sizes)[_place(component, keys)]
            target[place] += math.sqrt(cells_summed(keys, sizes)) / variances[keys] / precision * own
    return weights, target


def _components(variances: Mapping[Keys, float], sizes: Sequence[int]) -> Iterator[tuple[Keys, list[Keys], float]]:
    """Each set of axes that some table has, the tables that have all of it, and its coefficients' precision."""
    for component in components_of(variances):
        seeing = [keys for keys in variances if set(component) <= set(keys)]
        yield component, seeing, sum(cells_summed(keys, sizes) / variances[keys] for keys in seeing)


def _place(component: Keys, keys: Keys) -> tuple[Any, ...]:
    """Where a component's coefficients stand in a turned table."""
    return (..., *(slice(1, None) if at in component else 0 for at in keys))


def _turn(table: Array, keys: Keys, sizes: Sequence[int], *, back: bool = False) -> Array:
    turned = np.array(table, dtype=np.float64)
    for place, at in enumerate(keys):
        axis = place - len(keys)
        matrix = _orthonormal(sizes[at])
        turned = np.moveaxis(np.moveaxis(turned, axis, -1) @ (matrix if back else matrix.T), -1, axis)
    return turned


@cache
def _orthonormal(size: int) -> Array:
    """Helmert's matrix: orthonormal rows, the first of them constant."""
    matrix = np.zeros((size, size))
    matrix[0] = 1 / math.sqrt(size)
    for at in range(1, size):
        matrix[at, :at] = 1 / math.sqrt(at * (at + 1))
        matrix[at, at] = -at / math.sqrt(at * (at + 1))
    return matrix


def _summed(full: Array, keys: Keys, axes: int) -> Array:
    return np.asarray(full.sum(axis=tuple(at for at in range(axes) if at not in keys)))
