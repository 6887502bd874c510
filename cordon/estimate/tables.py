"""The tables of an answer: each measure's estimates and deviations, made to agree where they add up.

One object holds what was released of every measure in every table; expressions are then evaluated on it, row by
row, with their intervals or on simulated noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from cordon.contract import FORCE, Contract, Number
from cordon.estimate import consistent
from cordon.estimate.consistent import Keys
from cordon.estimate.histogram import Hierarchy, Quantiles, quantile_values, quantiles
from cordon.estimate.interval import REACH_95, Ends, Given, interval
from cordon.query.expression import Arithmetic, Constant, Expression, Leaf, Part, Quantile, Residents, evaluate, leaves
from cordon.query.model import Measure, MeasureKind
from cordon.query.plan import Block, Plan
from cordon.query.split import ADDITIVE

Array = npt.NDArray[np.float64]

MOST_DRAWN = 8_000_000
"""Simulated values of one measure that are held at once; fewer draws are made of larger answers."""


@dataclass(frozen=True)
class Cells:
    """An expression's estimates in every row of a table, in its own unit."""

    value: Array
    """What is shown: non-negative where tables were made so. NaN where the noise leaves nothing to say."""
    low: Array
    high: Array
    raw: Array
    """From what was released, before anything was made to agree."""


@dataclass(frozen=True)
class _Marginals:
    """One measure in every table: shapes are the sizes of the tables' axes."""

    raw: dict[Keys, Array]
    deviations: dict[Keys, float]
    """Of `fitted`."""
    released: dict[Keys, float]
    """Of `raw`."""
    fitted: dict[Keys, Array]
    shown: dict[Keys, Array]


class Tables:
    """Every measure of an opened answer, in every table. Rows of forces that did not answer hold NaN."""

    def __init__(self, opened: Sequence[int], plan: Plan, contract: Contract, answered: Sequence[str]) -> None:
        self._plan, self._contract, self._roster = plan, contract, len(answered)
        self._answered = [
            [at for at, value in enumerate(axis.values) if axis.key.column != FORCE or value in answered]
            for axis in plan.axes
        ]
        self._opened = opened
        self._drawn: dict[tuple[int, int, int], dict[Keys, Array]] = {}

    @property
    def consistent(self) -> bool:
        """Whether tables of at least one measure were made to agree."""
        measures = self._plan.question.measures
        return len(self._plan.question.tables) > 1 and any(measure.kind in ADDITIVE for measure in measures)

    def cells(self, keys: Keys, expression: Expression, *, residents: Array | None = None) -> Cells:
        """Evaluate an expression in every row of a table.

        Args:
            keys: the table's axes.
            residents: behind each row, where the expression divides by them.
        """
        reads = leaves(expression)
        given = Given(
            {leaf: self._value(leaf, keys, "fitted", residents) for leaf in reads},
            {
                leaf: np.array(self._marginals[leaf.measure].deviations[keys])
                for leaf in reads
                if isinstance(leaf, Part)
            },
            {leaf: self._box(leaf, keys) for leaf in reads if isinstance(leaf, Quantile)},
        )
        low, high = interval(expression, given)
        shown = {leaf: self._value(leaf, keys, "shown", residents) for leaf in reads}
        raw = {leaf: self._value(leaf, keys, "raw", residents) for leaf in reads}
        rows = (len(self._plan.rows_of(keys)),)
        value = _finite(evaluate(expression, shown).value, rows)
        if self.consistent and self._is_never_negative(expression):
            low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
        if self.consistent:
            # What is shown may lie outside the interval of what it was made from.
            low, high = np.fmin(low, value), np.fmax(high, value)
        return Cells(
            value,
            np.array(np.broadcast_to(low, rows)),
            np.array(np.broadcast_to(high, rows)),
            _finite(evaluate(expression, raw).value, rows),
        )

    def draws(
        self, keys: Keys, expression: Expression, *, count: int, seed: int, residents: Array | None = None
    ) -> Array:
        """What an expression may truly be, given what was released: noise drawn anew around the estimates.

        Args:
            count: draws; fewer are made of a large answer.
            seed: draws of one seed belong together, also those of other tables and expressions.

        Returns:
            Shape (draws, rows).
        """
        cells = max(1, self._plan.cells)
        count = max(200, min(count, MOST_DRAWN // cells))
        values = {leaf: self._draws(leaf, keys, count, seed, residents) for leaf in leaves(expression)}
        found = evaluate(expression, values).value
        return np.array(np.broadcast_to(found, (count, len(self._plan.rows_of(keys)))))

    def expected_deviation(self, leaf: Part | Quantile, keys: Keys, rows: Array) -> Array:
        """Deviation of a leaf's noise in a cell of `rows` rows."""
        if isinstance(leaf, Part):
            return np.full(rows.shape, self._marginals[leaf.measure].deviations[keys])
        hierarchy, _ = self._histograms[leaf.measure, keys]
        rank = float(hierarchy.deviations(float(leaf.q)).max())
        return np.asarray(rank * (hierarchy.high - hierarchy.low) / rows)

    # One leaf

    def _value(self, leaf: Leaf, keys: Keys, which: str, residents: Array | None) -> Array:
        if isinstance(leaf, Residents):
            return _known(residents)
        if isinstance(leaf, Quantile):
            return self._quantiles(leaf, keys).value
        tables: dict[Keys, Array] = getattr(self._marginals[leaf.measure], which)
        return tables[keys].reshape(-1)

    def _box(self, leaf: Quantile, keys: Keys) -> Ends:
        found = self._quantiles(leaf, keys)
        return Ends(found.low, found.high)

    def _quantiles(self, leaf: Quantile, keys: Keys) -> Quantiles:
        hierarchy, fitted = self._histograms[leaf.measure, keys]
        return quantiles(hierarchy, fitted, float(leaf.q), REACH_95)

    def _draws(self, leaf: Leaf, keys: Keys, count: int, seed: int, residents: Array | None) -> Array:
        if isinstance(leaf, Residents):
            return _known(residents)
        generator = np.random.default_rng([seed, leaf.measure])
        if isinstance(leaf, Quantile):
            return self._quantile_draws(leaf, keys, count, generator)
        name = (leaf.measure, count, seed)
        if name not in self._drawn:
            self._drawn[name] = self._marginal_draws(leaf.measure, count, generator)
        return self._drawn[name][keys]

    def _quantile_draws(self, leaf: Quantile, keys: Keys, count: int, generator: np.random.Generator) -> Array:
        hierarchy, fitted = self._histograms[leaf.measure, keys]
        # Row by row: a histogram of many bins in many rows would not fit.
        drawn = [
            quantile_values(hierarchy, row + hierarchy.noise(1, count, generator)[:, 0], float(leaf.q))
            for row in fitted
        ]
        return np.stack(drawn, axis=1)

    def _marginal_draws(self, measure: int, count: int, generator: np.random.Generator) -> dict[Keys, Array]:
        of = self._marginals[measure]
        noise = {
            keys: deviation * generator.standard_normal((count, *of.raw[keys].shape))
            for keys, deviation in of.released.items()
        }
        if self._agrees(measure):
            noise = self._fitted(noise, of.released)
        return {keys: (of.fitted[keys] + noise[keys]).reshape(count, -1) for keys in noise}

    # What was released

    @cached_property
    def _marginals(self) -> dict[int, _Marginals]:
        measures = self._plan.question.measures
        plain = [at for at, measure in enumerate(measures) if measure.kind is not MeasureKind.HISTOGRAM]
        return {at: self._marginal(at) for at in plain}

    def _marginal(self, measure: int) -> _Marginals:
        raw, released = {}, {}
        for block in self._blocks(measure):
            table = self._released(block).reshape(self._sizes(block.keys))
            raw[block.keys] = self._placed(self._present(table, block.keys), block.keys)
            released[block.keys] = block.sigma(self._roster, self._plan.colluders)
        if not self._agrees(measure):
            return _Marginals(raw, released, released, raw, raw)
        fitted = self._fitted(raw, released)
        shown = self._nonnegative(raw, released) if self._lowest(measure) >= 0 else None
        variances = consistent.fitted_variances(_squared(released), self._present_sizes)
        deviations = {keys: math.sqrt(variance) for keys, variance in variances.items()}
        return _Marginals(raw, deviations, released, fitted, shown or fitted)

    @cached_property
    def _histograms(self) -> dict[tuple[int, Keys], tuple[Hierarchy, Array]]:
        found: dict[tuple[int, Keys], tuple[Hierarchy, Array]] = {}
        for at, measure in enumerate(self._plan.question.measures):
            if measure.kind is MeasureKind.HISTOGRAM:
                found |= {(at, keys): self._histogram(at, measure, keys) for keys in self._plan.question.tables}
        return found

    def _histogram(self, at: int, measure: Measure, keys: Keys) -> tuple[Hierarchy, Array]:
        column = self._contract.column(measure.column)
        assert isinstance(column, Number)  # noqa: S101 - the plan has checked it
        blocks = [block for block in self._blocks(at) if block.keys == keys]
        variances = tuple(block.sigma(self._roster, self._plan.colluders) ** 2 for block in blocks)
        hierarchy = Hierarchy(column.low, column.high, measure.widths, variances)
        sizes = self._sizes(keys)
        fitted = hierarchy.fit([self._released(block).reshape(math.prod(sizes), -1) for block in blocks])
        # Bins are no axis of the plan: they stand first while rows are taken out and put back.
        table = np.moveaxis(fitted.reshape(*sizes, -1), -1, 0)
        placed = self._placed(self._present(table, keys), keys)
        return hierarchy, placed.reshape(len(placed), -1).T

    def _blocks(self, measure: int) -> Iterator[Block]:
        wanted = self._plan.question.measures[measure]
        return (block for block in self._plan.blocks if block.measure == wanted)

    def _released(self, block: Block) -> Array:
        cells = self._opened[block.start : block.start + block.cells]
        return np.array([cell / block.scale for cell in cells], dtype=np.float64)

    # Tables that add up

    def _agrees(self, measure: int) -> bool:
        kind = self._plan.question.measures[measure].kind
        return kind in ADDITIVE and len(self._plan.question.tables) > 1

    def _lowest(self, measure: int) -> int:
        """The least that one row can add to a cell."""
        of = self._plan.question.measures[measure]
        if of.kind is MeasureKind.SQUARES:
            return -of.offset
        ends = [self._ends(name, centre) for name, centre in of.numbers]
        return min(math.prod(corner) for corner in product(*ends)) if ends else 0

    def _ends(self, name: str, centre: int) -> tuple[int, int]:
        """The least and the largest value of a number, less its centre."""
        column = self._contract.column(name)
        assert isinstance(column, Number)  # noqa: S101 - the plan has checked it
        return column.low - centre, column.high - centre

    def _is_never_negative(self, expression: Expression) -> bool:
        """Whether an expression is a measure that cannot be below zero, perhaps in another unit."""
        if isinstance(expression, Part):
            return self._agrees(expression.measure) and self._lowest(expression.measure) >= 0
        if not isinstance(expression, Arithmetic) or expression.sign != "*":
            return False
        factor = expression.left
        return isinstance(factor, Constant) and factor.value >= 0 and self._is_never_negative(expression.right)

    def _fitted(self, tables: Mapping[Keys, Array], deviations: Mapping[Keys, float]) -> dict[Keys, Array]:
        present = {keys: self._present(table, keys) for keys, table in tables.items()}
        fitted = consistent.fit(present, _squared(deviations), self._present_sizes)
        return {keys: self._placed(table, keys) for keys, table in fitted.items()}

    def _nonnegative(self, tables: Mapping[Keys, Array], deviations: Mapping[Keys, float]) -> dict[Keys, Array] | None:
        present = {keys: self._present(table, keys) for keys, table in tables.items()}
        found = consistent.counts(present, _squared(deviations), self._present_sizes)
        return None if found is None else {keys: self._placed(table, keys) for keys, table in found.items()}

    @property
    def _present_sizes(self) -> list[int]:
        return [len(places) for places in self._answered]

    def _sizes(self, keys: Keys) -> tuple[int, ...]:
        return tuple(len(self._plan.axes[at].values) for at in keys)

    def _present(self, table: Array, keys: Keys) -> Array:
        """A table without the rows of forces that did not answer, which hold nothing but noise."""
        for place, at in enumerate(keys):
            table = np.take(table, self._answered[at], axis=place - len(keys))
        return table

    def _placed(self, table: Array, keys: Keys) -> Array:
        """A table with NaN in the rows of forces that did not answer."""
        leading = table.shape[: table.ndim - len(keys)]
        whole = np.full((*leading, *self._sizes(keys)), math.nan)
        where: tuple[Any, ...] = (..., *np.ix_(*(self._answered[at] for at in keys)))
        whole[where] = table
        return whole


def expected_deviations(
    plan: Plan, keys: Keys, contract: Contract, reads: Sequence[Leaf], rows: Array
) -> dict[Leaf, Array]:
    """Deviations of leaves in one cell of a table if every force that is asked answers; nothing has been opened.

    Args:
        rows: imagined in the cell, with numbers spread evenly over their bounds, which says how far a quantile
            moves when its rank does.
    """
    blank = Tables([0] * plan.cells, plan, contract, plan.question.forces)
    return {leaf: blank.expected_deviation(leaf, keys, rows) for leaf in reads if not isinstance(leaf, Residents)}


def _known(residents: Array | None) -> Array:
    if residents is None:
        raise AssertionError("the expression divides by residents, and none were given")
    return residents


def _squared(deviations: Mapping[Keys, float]) -> dict[Keys, float]:
    return {keys: deviation**2 for keys, deviation in deviations.items()}


def _finite(value: Array, rows: tuple[int, ...]) -> Array:
    found = np.array(np.broadcast_to(value, rows), dtype=np.float64)
    found[~np.isfinite(found)] = math.nan
    return found
