"""From an opened vector to the rows of an answer. All of it is post-processing: it costs no privacy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cordon.analyst.residents import residents_note, residents_of, uses_residents
from cordon.contract import FORCE, Category, Contract, Number
from cordon.estimate.rank import rank_probabilities
from cordon.estimate.tables import Cells, Tables
from cordon.query.axes import Axis
from cordon.query.expression import Expression
from cordon.query.model import Grain
from cordon.query.plan import Plan
from cordon.query.statement import Comparison, Condition, Either, Every, Opposite, Statement
from cordon.units import exact_text

DRAWS = 2_000
"""Simulated answers from which probabilities are counted: each is off by at most 2.2 percentage points (95 %)."""

UNSURE = 0.05
"""A row may stand on the wrong side of HAVING if that happens in more than this share of the draws."""

_HOLDS: dict[str, Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.bool_]]] = {
    "=": np.equal, "<>": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip

_SEED = 20_260_101
"""Probabilities of one answer are the same each time that it is shown."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One noised value with its 95 % interval, in the column's own unit."""

    value: float
    """What is shown; NaN where the noise leaves nothing to say, as of an average over no rows."""
    low: float
    high: float
    """Of the interval: it covers the noise, not what the data lack. Infinite where the noise allows any value."""
    raw: float
    """Unbiased for the bounded truth where the column is a count or a sum: before tables were made to agree."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `values` is empty where its force is not in the answer."""

    keys: tuple[str | None, ...]
    """As people read them; None for a key that the row's table is not grouped by."""
    values: tuple[Estimate, ...]
    note: str = ""
    certainty: float | None = None
    """Probability that the row's place is right, where the answer is ordered by an estimate."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row before HAVING, ORDER BY and LIMIT, and where its draws stand."""

    row: Row
    table: int
    at: int
    sorts: tuple[tuple[int, str], ...]
    """What each key is ordered by: bins by number, everything else by what is shown. Totals stand last."""


def make_rows(
    opened: Sequence[int],
    statement: Statement,
    plan: Plan,
    contract: Contract,
    *,
    answered: tuple[str, ...],
    absent: Callable[[str], str],
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows of an answer, and what people must know to read them.

    Args:
        opened: shape (plan.cells,), scaled units, verified by its check cells.
        answered: the roster.
        absent: why another force is not in the answer, in words.
    """
    reader = _Reader(opened, statement, plan, contract, answered)
    candidates = [found for table in range(len(reader.keys)) for found in reader.candidates(table, absent)]
    notes = list(statement.notes)
    if uses_residents(statement):
        notes.append(residents_note())
    if reader.tables.consistent:
        notes.append(
            "the tables were made to agree: counts add up and are not below zero, which lifts small ones a little; "
            "raw values are in the JSON"
        )
    if statement.having is not None:
        candidates, unsure = reader.kept(candidates, statement.having)
        if unsure:
            notes.append(f"HAVING: noise may well have put {unsure} rows on the wrong side of the condition")
    return tuple(reader.ordered(candidates)), tuple(notes)


def shown_keys(statement: Statement, plan: Plan, contract: Contract) -> list[tuple[str | None, ...]]:
    """The keys of every row before HAVING and LIMIT, table by table, in the order of the SELECT list."""
    return [
        _shown(keys, values, statement, plan, contract)
        for keys in plan.question.tables
        for values in plan.rows_of(keys)
    ]


class _Reader:
    def __init__(
        self, opened: Sequence[int], statement: Statement, plan: Plan, contract: Contract, answered: tuple[str, ...]
    ) -> None:
        self._statement, self._plan, self._contract, self._answered = statement, plan, contract, answered
        self.keys = plan.question.tables
        self.tables = Tables(opened, plan, contract, answered)
        self._residents = [
            residents_of(plan, keys, answered) if uses_residents(statement) else None for keys in self.keys
        ]

    def candidates(self, table: int, absent: Callable[[str], str]) -> list[_Candidate]:
        keys = self.keys[table]
        columns = [
            self._cells(table, output.expression) for output in self._statement.outputs if output.expression is not None
        ]
        force = next((place for place, at in enumerate(keys) if self._plan.axes[at].key.column == FORCE), None)
        found = []
        for at, values in enumerate(self._plan.rows_of(keys)):
            named = _shown(keys, values, self._statement, self._plan, self._contract)
            if force is not None and values[force] not in self._answered:
                row = Row(named, (), absent(values[force]))
            else:
                row = Row(named, tuple(_estimate(cells, at) for cells in columns))
            found.append(_Candidate(row, table, at, self._sorts(keys, values, named)))
        return found

    def _sorts(
        self, keys: tuple[int, ...], values: tuple[str, ...], named: tuple[str | None, ...]
    ) -> tuple[tuple[int, str], ...]:
        of = dict(zip(keys, values, strict=True))
        shown = [output.key for output in self._statement.outputs if output.key is not None]
        in_bins = [self._plan.axes[at].key.grain is Grain.BIN for at in shown]
        return tuple(
            (int(of[at]) if number and at in of else 0, text or "")
            for at, number, text in zip(shown, in_bins, named, strict=True)
        )

    def kept(self, candidates: list[_Candidate], having: Condition) -> tuple[list[_Candidate], int]:
        """The rows whose noised values meet a condition, and how many may stand on the wrong side of it."""
        tables = range(len(self.keys))
        holds = [self._holds(table, having, drawn=False, negated=False) for table in tables]
        often = [self._holds(table, having, drawn=True, negated=False).mean(axis=0) for table in tables]
        valued = [found for found in candidates if found.row.values]
        unsure = sum(min(often[found.table][found.at], 1 - often[found.table][found.at]) > UNSURE for found in valued)
        return [found for found in valued if holds[found.table][found.at]], int(unsure)

    def ordered(self, candidates: list[_Candidate]) -> list[Row]:
        for order in reversed(self._statement.order):
            output = self._statement.outputs[order.output]
            place = sum(o.is_measure == output.is_measure for o in self._statement.outputs[: order.output])
            candidates = _sorted(candidates, place, by_value=output.is_measure, descending=order.descending)
        limit = self._statement.limit
        rows = self._ranked(candidates)
        return rows if limit is None else rows[:limit]

    def _ranked(self, candidates: list[_Candidate]) -> list[Row]:
        """The rows, with the probability that each place is right where they are ordered by an estimate."""
        rows = [found.row for found in candidates]
        order = self._statement.order[0] if self._statement.order else None
        expression = None if order is None else self._statement.outputs[order.output].expression
        valued = [found for found in candidates if self._is_ranked(found)]
        if order is None or expression is None or len(valued) < 2:
            return rows
        draws = [self._draws(table, expression) for table in range(len(self.keys))]
        drawn = np.stack([draws[found.table][:, found.at] for found in valued], axis=1)
        certainty = rank_probabilities(drawn, descending=order.descending)
        sure = {id(found): float(p) for found, p in zip(valued, certainty, strict=True)}
        return [replace(found.row, certainty=sure.get(id(found))) for found in candidates]

    def _is_ranked(self, found: _Candidate) -> bool:
        """Whether a row has an estimate to be ordered by."""
        outputs, order = self._statement.outputs, self._statement.order
        place = sum(output.is_measure for output in outputs[: order[0].output]) if order else 0
        return bool(found.row.values) and not math.isnan(found.row.values[place].value)

    def _holds(self, table: int, condition: Condition, *, drawn: bool, negated: bool) -> npt.NDArray[np.bool_]:
        if isinstance(condition, Comparison):
            sides = [
                self._draws(table, side) if drawn else self._cells(table, side).value
                for side in (condition.left, condition.right)
            ]
            # As in SQL, what has no value is neither more nor less than anything, nor is it not.
            known = np.isfinite(sides[0]) & np.isfinite(sides[1])
            return np.asarray(known & (_HOLDS[condition.sign](sides[0], sides[1]) ^ negated))
        if isinstance(condition, Opposite):
            return self._holds(table, condition.of, drawn=drawn, negated=not negated)
        parts = [self._holds(table, part, drawn=drawn, negated=negated) for part in condition.parts]
        join = np.logical_and if isinstance(condition, Every) != negated else np.logical_or
        assert isinstance(condition, Every | Either)  # noqa: S101 - tells the type checker what is left
        return np.asarray(join.reduce(parts))

    def _cells(self, table: int, expression: Expression) -> Cells:
        return self.tables.cells(self.keys[table], expression, residents=self._residents[table])

    def _draws(self, table: int, expression: Expression) -> npt.NDArray[np.float64]:
        return self.tables.draws(
            self.keys[table], expression, residents=self._residents[table], count=DRAWS, seed=_SEED
        )


def _estimate(cells: Cells, at: int) -> Estimate:
    return Estimate(float(cells.value[at]), float(cells.low[at]), float(cells.high[at]), float(cells.raw[at]))


def _sorted(candidates: list[_Candidate], place: int, *, by_value: bool, descending: bool) -> list[_Candidate]:
    if by_value:
        return sorted(candidates, key=lambda found: _by_value(found.row, place, descending=descending))
    totals = [found for found in candidates if found.row.keys[place] is None]
    others = [found for found in candidates if found.row.keys[place] is not None]
    # Totals stand after what they add up, in either direction.
    return sorted(others, key=lambda found: found.sorts[place], reverse=descending) + totals


def _by_value(row: Row, place: int, *, descending: bool) -> float:
    # Rows without a value stand last in either direction.
    value = row.values[place].value if row.values else math.nan
    return math.inf if math.isnan(value) else -value if descending else value


def _shown(
    keys: tuple[int, ...], values: tuple[str, ...], statement: Statement, plan: Plan, contract: Contract
) -> tuple[str | None, ...]:
    of = dict(zip(keys, values, strict=True))
    return tuple(
        _label(of[output.key], plan.axes[output.key], contract) if output.key in of else None
        for output in statement.outputs
        if output.key is not None
    )


def _label(value: str, axis: Axis, contract: Contract) -> str:
    column = contract.column(axis.key.column) if axis.key.column != FORCE else None
    if isinstance(column, Category):
        return column.codes[column.positions[value]].label
    if isinstance(column, Number) and axis.key.grain is Grain.BIN:
        low, high = max(int(value), column.low), min(int(value) + axis.key.width - 1, column.high)
        ends = [exact_text(end * column.resolution) for end in (low, high)]
        return ends[0] if low == high else f"{ends[0]} to {ends[1]}"
    return value
