"""From a plan to the statements that answer it over a snapshot: one for each table, one more for each histogram.

The typed query becomes an ibis expression, so nothing from the wire is ever pasted into a statement. A statement
gives one row for each cell at most, so that what a node holds in memory follows from the plan. docs/privacy.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import and_, mul, or_
from typing import Any, NamedTuple

import ibis

from cordon.contract import FORCE, Category, Contract, Date, Identifier, Number
from cordon.query.axes import MONTHS_IN
from cordon.query.model import All, Grain, Key, Measure, MeasureKind, Member, Missing, Predicate, Question, Range, Some
from cordon.query.plan import Block, Plan
from node.coding import MONTH_SUFFIX, RANK
from node.engine import DUCKDB, Engine
from node.identifiers import UNIT
from node.snapshot import SNAPSHOT

KEPT = "kept"
"""Name of the rows that a question keeps, in the statements over them."""


class Scan(NamedTuple):
    """What one statement computes. Its rows are the stored values of its keys, a bin if it has bins, its measures."""

    keys: tuple[int, ...]
    """The axes that it groups by, as indices into the plan's; never `force`, which rows do not hold."""
    measures: tuple[int, ...]
    """Indices into the question's measures: a histogram alone, or any others."""
    width: int
    """Of its bins, the finest of the histogram's; 0 where it has none."""


@dataclass(frozen=True)
class Statements:
    """What answers a question over a snapshot."""

    kept: str
    """The rows that count, with their keys, the values of each measure and whether its filter lets them pass."""
    scans: dict[Scan, str]
    """What each scan asks of those rows."""

    def of(self, scan: Scan) -> str:
        """The statement of one scan."""
        return f"WITH {KEPT} AS (\n{self.kept}\n)\n{self.scans[scan]}"

    @property
    def length(self) -> int:
        """Characters held."""
        return len(self.kept) + sum(map(len, self.scans.values()))


def scans(plan: Plan) -> dict[Scan, list[Block]]:
    """The statements that a plan needs, each with the blocks that it fills."""
    filled: dict[tuple[tuple[int, ...], Measure | None], list[Block]] = {}
    for block in plan.blocks:
        held = tuple(key for key in block.keys if plan.axes[key].key.column != FORCE)
        alone = block.measure if block.measure.kind is MeasureKind.HISTOGRAM else None
        filled.setdefault((held, alone), []).append(block)
    scanned = {}
    for (held, alone), blocks in filled.items():
        measures = dict.fromkeys(plan.question.measures.index(block.measure) for block in blocks)
        scanned[Scan(held, tuple(measures), alone.widths[0] if alone is not None else 0)] = blocks
    return scanned


class Table(NamedTuple):
    """Where the rows of a snapshot lie."""

    name: str
    schema: str | None = None
    engine: Engine = DUCKDB


HERE = Table(SNAPSHOT)
"""In the snapshot's own file."""


def compile_plan(plan: Plan, contract: Contract, place: Table = HERE) -> Statements:
    """The statements of a plan, for the engine that holds the snapshot; pure.

    Conditions are compiled once, however many tables are asked for: they may be long, and compiling is slow.
    """
    question = plan.question
    table: Any = ibis.table(schema_of(contract), name=place.name, database=place.schema)
    kept = table.filter(reduce(and_, _conditions(question, table, contract))).select(
        _columns(question, table, contract)
    )
    named: Any = ibis.table(kept.schema(), name=KEPT)
    sql = place.engine.sql
    return Statements(sql(kept), {scan: sql(_scan(scan, question, named)) for scan in scans(plan)})


def _scan(scan: Scan, question: Question, kept: Any) -> Any:
    groups = [kept[f"key_{at}"] for at in scan.keys]
    if scan.width:
        (at,) = scan.measures
        passing = kept.filter(kept[f"value_{at}"].notnull())
        if question.measures[at].where is not None:
            passing = passing.filter(passing[f"passes_{at}"])
        return passing.group_by([*(f"key_{key}" for key in scan.keys), f"value_{at}"]).aggregate(
            measure=passing.count()
        )
    measures = {f"measure_{at}": _measure(at, question, kept) for at in scan.measures}
    return kept.group_by(groups).aggregate(**measures) if groups else kept.aggregate(**measures)


def _measure(at: int, question: Question, kept: Any) -> Any:
    measure = question.measures[at]
    where = None if measure.where is None else kept[f"passes_{at}"]
    if measure.kind is MeasureKind.COUNT:
        return kept.count(where=where)
    if measure.kind is MeasureKind.COUNT_UNIT:
        return kept[UNIT].nunique(where=where)
    return kept[f"value_{at}"].sum(where=where)


def schema_of(contract: Contract) -> dict[str, str]:
    """The columns that a question may name, with their ibis types."""
    schema: dict[str, str] = {}
    for column in contract.columns:
        if isinstance(column, Category):
            schema[column.name] = "int16"
        elif isinstance(column, Date):
            schema |= {column.name: "int32", column.name + MONTH_SUFFIX: "int32"}
        elif isinstance(column, Identifier):
            continue
        else:
            schema[column.name] = "int64"
    return schema | {UNIT: "int64", RANK: "int32"}


def _conditions(question: Question, table: Any, contract: Contract) -> list[Any]:
    conditions = [table[RANK] <= contract.unit.max_rows_per_unit]
    if question.where is not None:
        conditions.append(_condition(question.where, table, contract))
    # Also of keys that a table leaves out: a row is in every table of a question or in none, so that they add up.
    # What is known and meets WHERE is on the axis; a category is always known, if only as `unknown`.
    keys = [key.column for key in question.keys if key.column != FORCE]
    return conditions + [table[key].notnull() for key in keys if not isinstance(contract.column(key), Category)]


def _columns(question: Question, table: Any, contract: Contract) -> dict[str, Any]:
    keys = [(at, key) for at, key in enumerate(question.keys) if key.column != FORCE]
    columns = {UNIT: table[UNIT]} | {f"key_{at}": _stored(key, table) for at, key in keys}
    for at, measure in enumerate(question.measures):
        if measure.where is not None:
            columns[f"passes_{at}"] = _condition(measure.where, table, contract)
        if measure.column:
            columns[f"value_{at}"] = _value(measure, table, contract)
    return columns


def _condition(predicate: Predicate, table: Any, contract: Contract) -> Any:
    if isinstance(predicate, All | Some):
        parts = [_condition(part, table, contract) for part in predicate.parts]
        return reduce(and_ if isinstance(predicate, All) else or_, parts)
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


def _value(measure: Measure, table: Any, contract: Contract) -> Any:
    if measure.kind is MeasureKind.HISTOGRAM:
        return (table[measure.column] - _number(measure.column, contract).low) // measure.widths[0]
    distances = [table[name] - centre if centre else table[name] for name, centre in measure.numbers]
    if measure.kind is not MeasureKind.SQUARES:
        # Within 64 bits: a plan takes no measure whose one row could exceed half the plaintext modulus, below 2^57.
        # Unknown where one of two numbers is, so that such a row adds nothing.
        return reduce(mul, distances)
    square = distances[0] * distances[0]
    return square - measure.offset if measure.offset else square


def _stored(key: Key, table: Any) -> Any:
    """What `Axis.stored` counts in."""
    if key.grain in MONTHS_IN:
        month = table[key.column + MONTH_SUFFIX]
        return month // MONTHS_IN[key.grain] if MONTHS_IN[key.grain] > 1 else month
    if key.grain is Grain.BIN:
        return table[key.column] // key.width
    return table[key.column]


def _category(name: str, contract: Contract) -> Category:
    column = contract.column(name)
    if not isinstance(column, Category):
        raise AssertionError("the plan has checked the kind of every column")
    return column


def _number(name: str, contract: Contract) -> Number:
    column = contract.column(name)
    if not isinstance(column, Number):
        raise AssertionError("the plan has checked the kind of every column")
    return column
