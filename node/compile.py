"""From a question to DuckDB's statements over a snapshot; pure, and the only part that knows ibis.

The typed query is compiled to ibis expressions, so nothing from the wire is ever pasted into a statement.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ibis

from cordon.contract import FORCE, Category, Contract, Date, Identifier, Number
from cordon.query.axes import MONTHS_IN
from cordon.query.model import All, Grain, Key, Measure, MeasureKind, Member, Missing, Predicate, Question, Range, Some
from node.load import MONTH_SUFFIX, RANK, UNIT

MOST_STATEMENTS = 256
"""Compiled statements that a snapshot keeps."""

_ADDITIVE = (MeasureKind.COUNT, MeasureKind.SUM, MeasureKind.SQUARES)


@dataclass(frozen=True, slots=True)
class Step:
    """What one statement computes: some measures of one table.

    Its result has one row for each group that occurs: the stored value of each of the table's keys but `force`,
    for a histogram the number of the finest bin, then the measures.
    """

    where: Predicate | None
    keys: tuple[Key, ...]
    """Every key of the question: rows need a value of each, so that its tables add up."""
    table: tuple[int, ...]
    measures: tuple[Measure, ...]
    """Any number of additive ones, or one of another kind."""

    @property
    def in_bins(self) -> bool:
        """Whether a histogram is computed."""
        return self.measures[0].kind is MeasureKind.HISTOGRAM


def steps(question: Question) -> Iterator[Step]:
    """What must be computed for a question, table by table."""
    additive = tuple(measure for measure in question.measures if measure.kind in _ADDITIVE)
    others = [(measure,) for measure in question.measures if measure.kind not in _ADDITIVE]
    for table in question.tables:
        # Each count of distinct units holds all of them in memory, so no statement has two.
        for measures in [additive, *others] if additive else others:
            yield Step(question.where, question.keys, table, measures)


def compile_step(step: Step, contract: Contract) -> str:
    """The DuckDB statement of one step."""
    kept = _kept(step, contract)
    keys = [_key(step.keys[at], kept).name(f"key_{at}") for at in step.table if _is_stored(step.keys[at])]
    if step.in_bins:
        (first,) = step.measures
        kept = kept.filter(_histogrammed(first, kept, contract))
        keys.append(((kept[first.column] - _low(first, contract)) // first.widths[0]).name("bin"))
        measures = {"measure_0": kept.count()}
    else:
        measures = {f"measure_{at}": _measure(measure, kept, contract) for at, measure in enumerate(step.measures)}
    expression = kept.group_by(keys).aggregate(**measures) if keys else kept.aggregate(**measures)
    return str(ibis.to_sql(expression, dialect="duckdb"))


class Statements:
    """Statements that were compiled before: the same question is often asked again, at another cost."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._known: OrderedDict[Step, str] = OrderedDict()

    def of(self, step: Step) -> str:
        """The statement of a step."""
        if step not in self._known:
            self._known[step] = compile_step(step, self._contract)
            if len(self._known) > MOST_STATEMENTS:
                self._known.popitem(last=False)
        return self._known[step]


def _schema(contract: Contract) -> dict[str, str]:
    schema: dict[str, str] = {}
    for column in contract.columns:
        if isinstance(column, Category):
            schema[column.name] = "uint16"
        elif isinstance(column, Date):
            schema |= {column.name: "int32", column.name + MONTH_SUFFIX: "int32"}
        elif isinstance(column, Identifier):
            continue
        else:
            schema[column.name] = "int64"
    return schema | {UNIT: "int64", RANK: "int32"}


def _kept(step: Step, contract: Contract) -> Any:
    """The bounded rows that WHERE takes and that have a value on every axis."""
    table: Any = ibis.table(_schema(contract), name="snapshot")
    kept = table[RANK] <= contract.unit.max_rows_per_unit
    if step.where is not None:
        kept = kept & _condition(step.where, table, contract)
    for key in step.keys:
        # A category is always known. What WHERE takes lies on the axis, which only WHERE narrows.
        if _is_stored(key) and key.grain is not Grain.VALUE:
            kept = kept & table[key.column].notnull()
    return table.filter(kept)


def _is_stored(key: Key) -> bool:
    return key.column != FORCE


def _key(key: Key, table: Any) -> Any:
    """A row's value on an axis, as `Axis.stored` has it."""
    if key.grain in MONTHS_IN:
        month = table[key.column + MONTH_SUFFIX]
        return month if key.grain is Grain.MONTH else month // MONTHS_IN[key.grain]
    # Both quotients are exact, also where they are computed as floats: numbers stay below 2^40. docs/protocol.md §6.1
    return table[key.column] // key.width if key.grain is Grain.BIN else table[key.column]


def _condition(predicate: Predicate, table: Any, contract: Contract) -> Any:
    if isinstance(predicate, All | Some):
        parts = [_condition(part, table, contract) for part in predicate.parts]
        combined = parts[0]
        for part in parts[1:]:
            combined = combined & part if isinstance(predicate, All) else combined | part
        return combined
    column = table[predicate.column]
    if isinstance(predicate, Missing):
        return column.isnull()
    if isinstance(predicate, Member):
        positions = _category(predicate.column, contract).positions
        return column.isin([positions[code] for code in predicate.codes])
    return _within(predicate, column)


def _within(predicate: Range, column: Any) -> Any:
    # Never unknown, so that AND and OR around it follow two-valued logic.
    known = column.notnull()
    low = known if predicate.low is None else known & (column.fill_null(0) >= predicate.low)
    return low if predicate.high is None else low & (column.fill_null(0) <= predicate.high)


def _measure(measure: Measure, table: Any, contract: Contract) -> Any:
    where = None if measure.where is None else _condition(measure.where, table, contract)
    if measure.kind is MeasureKind.COUNT:
        return table.count(where=where)
    if measure.kind is MeasureKind.COUNT_UNIT:
        return table[UNIT].nunique(where=where)
    value = table[measure.column] - measure.centre if measure.centre else table[measure.column]
    if measure.kind is MeasureKind.SQUARES:
        # Below 2^58: a plan whose largest value or offset reaches 2^57 fits no parameter set.
        value = value * value - measure.offset
    return value.sum(where=where)


def _histogrammed(measure: Measure, table: Any, contract: Contract) -> Any:
    known = table[measure.column].notnull()
    return known if measure.where is None else known & _condition(measure.where, table, contract)


def _low(measure: Measure, contract: Contract) -> int:
    column = contract.column(measure.column)
    if not isinstance(column, Number):
        raise AssertionError("the plan has checked the kind of every column")
    return column.low


def _category(name: str, contract: Contract) -> Category:
    column = contract.column(name)
    if not isinstance(column, Category):
        raise AssertionError("the plan has checked the kind of every column")
    return column
