"""How a question's cost is shared out over its blocks, so that its columns get the narrowest intervals.

Only who asks decides this: the shares are signed with the query, and everybody else checks their sum.
docs/privacy.md §4 derives both rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt

from cordon.accounting import MARGIN
from cordon.contract import Contract, Number
from cordon.errors import QuestionRefused
from cordon.query.axes import conjuncts
from cordon.query.expression import Expression, Leaf, Part, Quantile, Values, evaluate, leaves
from cordon.query.model import Measure, MeasureKind, Predicate, Range
from cordon.query.plan import Outline
from cordon.units import Rho

REFERENCE_ROWS = 10**6
"""Rows of the imagined cell at which derivatives are taken; quotients of measures do not depend on it."""

ADDITIVE = (MeasureKind.COUNT, MeasureKind.SUM, MeasureKind.SQUARES, MeasureKind.PRODUCTS)
"""Measures whose tables add up, so that a fine table says something of a coarse one."""

_STEPS = 300


def split(
    rho: Rho, outlined: Outline, expressions: Sequence[Expression], weights: Sequence[float], contract: Contract
) -> tuple[Rho, ...]:
    """What each part of an outline may spend.

    Variances are a_i / rho_i for public a_i. For a column that alone could reach the variance v* with all of the
    cost, minimise the weighted sum of its variance over v*: rho_i is then proportional to the root of the
    weighted sum of a_i / v*. Within a measure the tables are shared by the same rule, taken after they have been
    made to agree; a histogram's widths get equal shares.

    Args:
        rho: of one attempt, the margin for tau included.
        expressions: the answer's columns, and what HAVING compares; each with a weight above zero.

    Raises:
        QuestionRefused: less than one nano-rho for a part.
    """
    shares = _measure_shares(outlined, expressions, weights, contract)
    within = [_table_shares(outlined, at) for at in range(len(outlined.question.measures))]
    measures = outlined.question.measures
    fractions = [
        shares[part.measure] * within[part.measure][part.keys] / max(1, len(measures[part.measure].widths))
        for part in outlined.parts
    ]
    return _rounded(rho, fractions)


def _measure_shares(
    outlined: Outline, expressions: Sequence[Expression], weights: Sequence[float], contract: Contract
) -> list[float]:
    measures = outlined.question.measures
    first = {part.measure: part for part in reversed(outlined.parts)}
    spread = {at: float(first[at].d_squared) for at in range(len(measures))}
    wanted = [0.0] * len(measures)
    weights = [weight / max(weights) for weight in weights]
    for expression, weight in zip(expressions, weights, strict=True):
        parts = _variances(expression, measures, spread, contract)
        alone = sum(math.sqrt(a) for a in parts.values()) ** 2
        for at, a in parts.items():
            wanted[at] += weight * a / alone
    # A measure that no column's error depends on must still be released.
    floor = 1e-4 * max(wanted)
    roots = [math.sqrt(max(a, floor)) for a in wanted]
    return [root / sum(roots) for root in roots]


def _variances(
    expression: Expression, measures: Sequence[Measure], spread: Mapping[int, float], contract: Contract
) -> dict[int, float]:
    """What each measure adds to the variance of an expression, if it may spend a rho of one half; by measure."""
    given = {leaf: reference(leaf, measures, contract, REFERENCE_ROWS) for leaf in leaves(expression)}
    slopes = evaluate(expression, given).slopes
    found: dict[int, float] = {}
    for leaf, slope in slopes.items():
        if isinstance(leaf, Part | Quantile):
            own = spread[leaf.measure] if isinstance(leaf, Part) else _width(leaf, measures, contract)
            a = float(slope) ** 2 * own
            found[leaf.measure] = found.get(leaf.measure, 0.0) + a
    useful = {at: a for at, a in found.items() if math.isfinite(a) and a > 0}
    return useful or dict.fromkeys(found, 1.0)


def reference(leaf: Leaf, measures: Sequence[Measure], contract: Contract, rows: Values) -> Values:
    """A leaf's value in an imagined cell of `rows` rows whose numbers are spread evenly over their bounds."""
    if not isinstance(leaf, Part | Quantile):
        return rows
    measure = measures[leaf.measure]
    rows = rows * _kept(measure, measures)
    if not measure.column:
        return rows
    if isinstance(leaf, Quantile):
        column = _number(measure.column, contract)
        return (column.low + column.high) / 2 + 0 * rows
    squares = [_square(_number(name, contract), centre) for name, centre in measure.numbers]
    if measure.kind is MeasureKind.SQUARES:
        return rows * (squares[0] - measure.offset)
    # Not the mean, which a centre puts at zero: how far from it a cell's own mean may well lie.
    return rows * math.sqrt(math.prod(squares))


def _square(column: Number, centre: int) -> float:
    """The mean squared distance from a centre of values that are spread evenly over a column's bounds."""
    middle, width = (column.low + column.high) / 2, column.high - column.low
    return width * width / 12 + (middle - centre) ** 2


def _kept(measure: Measure, measures: Sequence[Measure]) -> float:
    """The share of an imagined cell's rows that a measure's filter keeps: another one for each filter.

    Differences of filtered counts must not be zero by the choice of the cell; known values are all there are.
    """
    filters = dict.fromkeys(found for found in (_filter(other) for other in measures) if found)
    own = _filter(measure)
    return 1 / (list(filters).index(own) + 2) if own else 1.0


def _filter(measure: Measure) -> frozenset[Predicate]:
    """The conditions of a measure's filter, but for those that a number is known."""
    return frozenset(part for part in conjuncts(measure.where) if part != _known(part))


def _known(part: Predicate) -> Predicate | None:
    return Range(part.column, None, None) if isinstance(part, Range) else None


def _width(leaf: Quantile, measures: Sequence[Measure], contract: Contract) -> float:
    """A stand-in for a quantile's variance, in squared resolutions; matters only where it is mixed with other measures.

    Numbers are taken to be spread evenly, so that k of the imagined cell's rows move a rank by k / rows of the range.
    """
    column = _number(measures[leaf.measure].column, contract)
    return ((column.high - column.low) * contract.unit.max_rows_per_unit / REFERENCE_ROWS) ** 2


def _number(name: str, contract: Contract) -> Number:
    column = contract.column(name)
    if not isinstance(column, Number):
        raise AssertionError("the outline has checked that the column is a number")
    return column


def _table_shares(outlined: Outline, measure: int) -> dict[tuple[int, ...], float]:
    tables = list(dict.fromkeys(part.keys for part in outlined.parts if part.measure == measure))
    if len(tables) == 1 or outlined.question.measures[measure].kind not in ADDITIVE:
        return dict.fromkeys(tables, 1 / len(tables))
    sizes = [len(axis.values) for axis in outlined.axes]
    return dict(zip(tables, best_table_shares(tables, sizes), strict=True))


def best_table_shares(tables: Sequence[tuple[int, ...]], sizes: Sequence[int]) -> list[float]:
    """Shares of a cost over tables that are made to agree afterwards, for the least sum of their variances.

    Each table's variance counts relative to what it would be with all of the cost. With precisions f_S the
    component T of the fitted tables, T a set of axes, has precision Σ_{S ⊇ T} n_{S^c} f_S, where n_{S^c} is the
    product of the sizes of the axes that S lacks; the objective is a sum of reciprocals of these, and a
    multiplicative update never increases it.

    Args:
        tables: the axes of each, as indices.
        sizes: values of each axis.

    Source: Xiao, He, Zhang and Kifer (2023), ResidualPlanner, for the components; Yu (2010), Monotonic
    convergence of a general algorithm for computing optimal designs, for the update.
    """
    seen, wanted = _components(tables, sizes)
    shares = np.full(len(tables), 1 / len(tables))
    for _ in range(_STEPS):
        precision = seen @ shares
        slopes = seen.T @ (wanted / precision**2)
        shares *= np.sqrt(slopes)
        shares /= shares.sum()
    return [float(share) for share in shares]


def components_of(tables: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Every set of axes that some table has all of."""
    subsets = chain.from_iterable(combinations(keys, r) for keys in tables for r in range(len(keys) + 1))
    return list(dict.fromkeys(subsets))


def cells_summed(keys: tuple[int, ...], sizes: Sequence[int]) -> int:
    """Cells of the array by all axes that one cell of a table with these axes sums."""
    return math.prod(size for at, size in enumerate(sizes) if at not in keys)


def _components(
    tables: Sequence[tuple[int, ...]], sizes: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How precisely each table sees each component (T × S), and each component's weight in the objective."""
    components = components_of(tables)
    summed = {s: cells_summed(s, sizes) for s in tables}
    seen = np.array([[summed[s] if set(t) <= set(s) else 0.0 for s in tables] for t in components])
    # A table's mean variance is the sum over its components of their dimensions and reciprocal precisions.
    each = {s: summed[s] / math.prod(sizes[at] for at in s) for s in tables}
    weight = [sum(each[s] for s in tables if set(t) <= set(s)) for t in components]
    dimensions = [math.prod(sizes[at] - 1 for at in t) for t in components]
    wanted = np.array(weight) * np.array(dimensions, dtype=float)
    return seen, wanted


def _rounded(rho: Rho, fractions: Sequence[float]) -> tuple[Rho, ...]:
    """Whole nano-rho in these proportions that add up to `rho` less the margin; at least one each."""
    whole = rho.nano - MARGIN.nano
    spare = whole - len(fractions)
    if spare < 0:
        raise QuestionRefused("the privacy cost is too small to buy any answer", hint="ask with a larger --epsilon")
    total = sum(fractions)
    nanos = [1 + math.floor(spare * fraction / total) for fraction in fractions]
    rest = whole - sum(nanos)
    # A floor takes off less than one a part; a rounded-up product could take one too many.
    for at in range(abs(rest)):
        nanos[at % len(nanos)] += 1 if rest > 0 else -1
    return tuple(Rho(nano) for nano in nanos)
