"""How exact an answer would be, from its plan and public facts alone: nothing here has seen a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cordon.analyst.residents import residents_of
from cordon.contract import FORCE, Contract
from cordon.estimate.interval import REACH_95
from cordon.estimate.tables import expected_deviations
from cordon.query.expression import Expression, Leaf, Residents, evaluate, leaves
from cordon.query.model import Grain
from cordon.query.plan import Plan
from cordon.query.split import reference
from cordon.query.statement import Statement

MOST_ROWS = 2**40
"""Where a column would not be readable from so many rows in a cell on, none is named."""

UNSAID_ROWS = 1000.0

FEW = 0.2
"""Share of cells too noisy to read from which on something coarser is suggested."""

_COARSER = {Grain.DAY: (Grain.MONTH, 30.4), Grain.MONTH: (Grain.QUARTER, 3.0), Grain.QUARTER: (Grain.YEAR, 4.0)}
_WIDER = 5


@dataclass(frozen=True, slots=True)
class Expected:
    """How exact one column of one table would be, if every force that is asked answers."""

    column: str
    keys: tuple[str, ...]
    """What the table is grouped by."""
    cells: int
    half_width: float
    """Of the 95 % interval, in the column's own unit, in a cell of `rows` rows; not finite where a denominator may
    be zero there, so that nothing can be foreseen."""
    exact: bool
    """Whether it is the same in every cell, whatever the records."""
    readable_from: int | None
    """Rows in a cell from which on the interval is narrower than the estimate; None where there is no such number."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What share of a table's cells would be too noisy to read, and what would be better."""

    column: str
    keys: tuple[str, ...]
    cells: int
    noisy: float
    suggestions: tuple[str, ...]
    """In words, best first; empty where few cells are too noisy."""


def expected(statement: Statement, plan: Plan, contract: Contract, *, rows: float) -> tuple[Expected, ...]:
    """How exact each column of each table would be.

    Args:
        rows: imagined in a cell, with numbers spread evenly over their bounds; matters only where not `exact`.
    """
    return tuple(
        _expected(output.name, output.expression, keys, plan, contract, rows)
        for keys in plan.question.tables
        for output in statement.outputs
        if output.expression is not None
    )


def rows_in_a_cell(plan: Plan, total: float | None) -> float:
    """Rows in a middling cell of the finest table, where `total` are expected in all; a thousand where nobody says."""
    finest = max(len(plan.rows_of(keys)) for keys in plan.question.tables)
    return UNSAID_ROWS if total is None else max(1.0, total / finest)


def widest(statement: Statement, plan: Plan, contract: Contract, *, rows: float | None) -> float:
    """The largest expected half-width of any column in any table.

    Args:
        rows: expected in all, None where nobody says; matters only to columns that are not counts or sums.
    """
    each = rows_in_a_cell(plan, rows)
    widths = [found.half_width for found in expected(statement, plan, contract, rows=each)]
    return max(widths) if all(map(math.isfinite, widths)) else math.inf


def outlook(statement: Statement, plan: Plan, contract: Contract, *, total: float) -> tuple[Outlook, ...]:
    """Which tables would be too noisy to read, if the sizes of their cells fall off as one over their rank.

    Args:
        total: rows that are expected in all.
    """
    return tuple(
        _outlook(output.name, output.expression, keys, plan, contract, total)
        for keys in plan.question.tables
        for output in statement.outputs
        if output.expression is not None
    )


def _expected(
    name: str, expression: Expression, keys: tuple[int, ...], plan: Plan, contract: Contract, rows: float
) -> Expected:
    probe = np.array([rows, 10 * rows, 1.0])
    half = _half_widths(expression, keys, plan, contract, probe)
    return Expected(
        column=name,
        keys=tuple(plan.axes[at].key.column for at in keys),
        cells=len(plan.rows_of(keys)),
        half_width=float(half[0]),
        exact=bool(np.isfinite(half).all() and np.allclose(half, half[0])),
        readable_from=_readable_from(expression, keys, plan, contract) if np.isfinite(half).all() else None,
    )


def _half_widths(
    expression: Expression, keys: tuple[int, ...], plan: Plan, contract: Contract, rows: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Half-widths to first order in cells of these sizes."""
    given = _given(expression, keys, plan, contract, rows)
    deviations = expected_deviations(plan, keys, contract, list(given), rows)
    variance = np.zeros(len(rows))
    for leaf, slope in evaluate(expression, given).slopes.items():
        if leaf in deviations:
            variance = variance + (slope * deviations[leaf]) ** 2
    return np.asarray(REACH_95 * np.sqrt(variance))


def _noisy(
    expression: Expression, keys: tuple[int, ...], plan: Plan, contract: Contract, rows: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    value = np.abs(evaluate(expression, _given(expression, keys, plan, contract, rows)).value) + np.zeros(len(rows))
    return ~np.asarray(2 * _half_widths(expression, keys, plan, contract, rows) < value)


def _given(
    expression: Expression, keys: tuple[int, ...], plan: Plan, contract: Contract, rows: npt.NDArray[np.float64]
) -> dict[Leaf, npt.NDArray[np.float64]]:
    """Every leaf's value in imagined cells of these sizes; residents are public, and the fewest of any row count."""
    given = {leaf: reference(leaf, plan.question.measures, contract, rows) for leaf in leaves(expression)}
    if Residents() in given:
        known = residents_of(plan, keys, plan.question.forces)
        fewest = known[np.isfinite(known)].min(initial=math.inf)
        given[Residents()] = np.full(rows.shape, fewest if math.isfinite(fewest) else math.nan)
    return given


def _readable_from(expression: Expression, keys: tuple[int, ...], plan: Plan, contract: Contract) -> int | None:
    low, high = 0, MOST_ROWS
    if _noisy(expression, keys, plan, contract, np.array([float(high)]))[0]:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        noisy = _noisy(expression, keys, plan, contract, np.array([float(middle)]))[0]
        low, high = (middle, high) if noisy else (low, middle)
    return high


def _outlook(
    name: str, expression: Expression, keys: tuple[int, ...], plan: Plan, contract: Contract, total: float
) -> Outlook:
    def noisy(cells: float) -> float:
        sizes = _falling(total, max(1, round(cells)))
        return float(_noisy(expression, keys, plan, contract, sizes).mean())

    cells = len(plan.rows_of(keys))
    share = noisy(cells)
    named = tuple(plan.axes[at].key.column for at in keys)
    if share <= FEW:
        return Outlook(name, named, cells, share, ())
    better = [(noisy(fewer), text) for fewer, text in _coarser(keys, plan, cells)]
    better = sorted((found, text) for found, text in better if found < share)
    return Outlook(name, named, cells, share, tuple(text for _, text in better[:3]))


def _falling(total: float, cells: int) -> npt.NDArray[np.float64]:
    sizes = 1 / np.arange(1, cells + 1)
    return np.asarray(total * sizes / sizes.sum())


def _coarser(keys: tuple[int, ...], plan: Plan, cells: int) -> Sequence[tuple[float, str]]:
    """Coarser tables: how many cells each would have, and what to do for it."""
    found: list[tuple[float, str]] = []
    for at in keys:
        axis = plan.axes[at]
        column, size = axis.key.column, len(axis.values)
        if axis.key.grain in _COARSER:
            grain, factor = _COARSER[axis.key.grain]
            found.append((cells / min(factor, size), f"group by {grain.name.lower()}"))
        if axis.key.grain is Grain.BIN:
            found.append((cells / min(_WIDER, size), f"make the bins of {column} {_WIDER} times as wide"))
        if size > 1:
            what = "leave out force" if column == FORCE else f"leave out {column}"
            found.append((cells / size, what))
    return found
