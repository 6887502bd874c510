"""From a plan to one force's exact integer vector, over its snapshot.

The typed query is compiled to an ibis expression, so nothing from the wire is ever pasted into a
statement. The result has the plan's shape whatever the records are.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis

from cordon.contract import FORCE, Category, Contract, Date, Identifier
from cordon.errors import Declined, Misconfigured
from cordon.query.axes import Axis
from cordon.query.model import All, Grain, Measure, MeasureKind, Member, Missing, Predicate, Question, Range, Some
from cordon.query.plan import Block, Plan, make_plan
from cordon.register.leaf import DeclineCode
from cordon.units import NANO, Digest, Rho
from cordon.wire.messages import HeldContract
from node.load import MONTH_SUFFIX, RANK, UNIT

_MEMORY_LIMIT = "256MB"


MOST_STATEMENTS = 256
"""Compiled statements that a snapshot keeps."""


class Snapshot:
    """One data set's open snapshot; read only, safe to use from several threads."""

    def __init__(self, path: Path, contract: Contract) -> None:
        """Open a snapshot.

        Raises:
            Misconfigured: truncated, or built for another contract than the federation lists.
        """
        self._contract = contract
        self._lock = threading.Lock()
        try:
            # By the name that is this load's own: within a process DuckDB gives an open file again for the same name.
            self._database = duckdb.connect(
                str(path.resolve()), read_only=True, config={"threads": 1, "memory_limit": _MEMORY_LIMIT}
            )
            row = self._database.execute(
                "SELECT dataset, version, contract, as_at, first_month, last_month, load_id, note, domain FROM vintage"
            ).fetchone()
        except duckdb.Error as error:
            raise Misconfigured(
                f"{path} is not a whole snapshot: {str(error).splitlines()[0]}", hint="build it anew: cordon node load"
            ) from None
        if row is None or Digest(row[2]) != contract.digest:
            raise Misconfigured(
                f"{path} was built for another contract than the manifest lists", hint="build it anew: cordon node load"
            )
        self._statements = _Statements(contract)
        self._warm_up()
        self.held = HeldContract(row[0], row[1], Digest(row[2]), row[3], row[4], row[5], row[6], row[7])
        self.domain = str(row[8])

    def _warm_up(self) -> None:
        # The first statement that is compiled loads ibis's dialect: not while a query waits for it.
        question = Question(
            self._contract.dataset, self._contract.version, (Measure(MeasureKind.COUNT),), None, (), ("nobody",)
        )
        plan = make_plan(question, (Rho(NANO),), self._contract, colluders=1, most_cells=1)
        compile_plan(plan, self._contract)

    def aggregate(self, plan: Plan, force: str) -> list[int]:
        """A force's exact cells: shape (plan.cells,), in the measures' integer units.

        Raises:
            Declined: DuckDB could not compute them; its message may quote a value, and stays here.
        """
        cells = [0] * plan.cells
        try:
            with self._lock:
                rows = self._database.execute(self._statements.of(plan)).fetchall()
        except (duckdb.Error, MemoryError):
            raise Declined(DeclineCode.FAULT.words, "this force could not compute its share") from None
        places = _places(plan, self._contract, force)
        for row in rows:
            offset = _offset(row, places)
            if offset is None:
                continue
            for block, value in zip(plan.blocks, row[-len(plan.blocks) :], strict=True):
                cells[block.start + offset] += int(value or 0)
        return cells

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def compile_plan(plan: Plan, contract: Contract) -> str:
    """The DuckDB statement that answers a plan over a snapshot; pure."""
    table: Any = ibis.table(_schema(contract), name="snapshot")
    bounded = table[RANK] <= contract.unit.max_rows_per_unit
    where = plan.question.where
    kept = table.filter(bounded if where is None else bounded & _condition(where, table, contract))
    measures = {f"measure_{at}": _measure(block, kept) for at, block in enumerate(plan.blocks)}
    keys = [kept[_stored_key(axis, contract)] for axis in plan.axes if axis.key.column != FORCE]
    expression = kept.group_by(keys).aggregate(**measures) if keys else kept.aggregate(**measures)
    return str(ibis.to_sql(expression, dialect="duckdb"))


class _Statements:
    """Statements that were compiled before: the same question is often asked again, at another cost."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._known: OrderedDict[tuple[object, ...], str] = OrderedDict()

    def of(self, plan: Plan) -> str:
        """The statement of a plan; what it says follows from question, measures and axes alone."""
        name = (plan.question, tuple(block.measure for block in plan.blocks), tuple(axis.key for axis in plan.axes))
        if name not in self._known:
            self._known[name] = compile_plan(plan, self._contract)
            if len(self._known) > MOST_STATEMENTS:
                self._known.popitem(last=False)
        return self._known[name]


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


def _measure(block: Block, table: Any) -> Any:
    if block.measure.kind is MeasureKind.COUNT:
        return table.count()
    if block.measure.kind is MeasureKind.COUNT_UNIT:
        return table[UNIT].nunique()
    return table[block.measure.column].sum()


def _category(name: str, contract: Contract) -> Category:
    column = contract.column(name)
    if not isinstance(column, Category):
        raise AssertionError("the plan has checked the kind of every column")
    return column


def _stored_key(axis: Axis, contract: Contract) -> str:
    is_date = isinstance(contract.column(axis.key.column), Date)
    return axis.key.column + MONTH_SUFFIX if is_date else axis.key.column


@dataclass(frozen=True, slots=True)
class _Place:
    """How far apart one key's values lie in a block, and where each stored value lies among them."""

    stride: int
    positions: dict[int, int]
    fixed: int | None
    """Position of this force's own cells; None for a key that rows have."""


def _places(plan: Plan, contract: Contract, force: str) -> list[_Place]:
    strides: Iterator[int] = _strides(plan.axes)
    places = [_place(axis, contract, force, stride) for axis, stride in zip(plan.axes, strides, strict=True)]
    # Rows carry every key but `force`; its offset is constant, so it goes last.
    return [place for place in places if place.fixed is None] + [place for place in places if place.fixed is not None]


def _strides(axes: tuple[Axis, ...]) -> Iterator[int]:
    for at in range(len(axes)):
        stride = 1
        for axis in axes[at + 1 :]:
            stride *= len(axis.values)
        yield stride


def _place(axis: Axis, contract: Contract, force: str, stride: int) -> _Place:
    if axis.key.column == FORCE:
        return _Place(stride, {}, axis.values.index(force))
    if axis.key.grain is Grain.MONTH:
        stored = [12 * int(value[:4]) + int(value[5:]) - 1 for value in axis.values]
    else:
        positions = _category(axis.key.column, contract).positions
        stored = [positions[value] for value in axis.values]
    return _Place(stride, {value: at for at, value in enumerate(stored)}, None)


def _offset(row: tuple[Any, ...], places: list[_Place]) -> int | None:
    offset = 0
    for at, place in enumerate(places):
        position = place.fixed if place.fixed is not None else place.positions.get(row[at])
        if position is None:
            return None
        offset += position * place.stride
    return offset
