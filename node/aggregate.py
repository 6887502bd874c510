"""From a plan to one force's exact integer vector, over its snapshot.

The result has the plan's shape whatever the records are. docs/protocol.md §6.1.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from cordon.contract import FORCE, Contract
from cordon.errors import Declined, Misconfigured
from cordon.query.axes import Axis
from cordon.query.model import Measure, MeasureKind
from cordon.query.plan import Plan
from cordon.register.leaf import DeclineCode
from cordon.units import Digest
from cordon.wire.messages import HeldContract
from node.compile import Statements, Step, compile_step, steps

_MEMORY_LIMIT = "256MB"


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
        self._statements = Statements(contract)
        # The first statement that is compiled loads ibis's dialect: not while a query waits for it.
        compile_step(Step(None, (), (), (Measure(MeasureKind.COUNT),)), contract)
        self.held = HeldContract(row[0], row[1], Digest(row[2]), row[3], row[4], row[5], row[6], row[7])
        self.domain = str(row[8])

    def aggregate(self, plan: Plan, force: str) -> list[int]:
        """A force's exact cells: shape (plan.cells,), in the measures' integer units.

        Raises:
            Declined: DuckDB could not compute them; its message may quote a value, and stays here.
        """
        cells = [0] * plan.cells
        for step in steps(plan.question):
            _fill(cells, self._rows(step), step, plan, force)
        return cells

    def _rows(self, step: Step) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._database.execute(self._statements.of(step)).fetchall()
        except (duckdb.Error, MemoryError):
            raise Declined(DeclineCode.FAULT.words, "this force could not compute its share") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _fill(cells: list[int], rows: Iterable[tuple[Any, ...]], step: Step, plan: Plan, force: str) -> None:
    """Put a statement's rows in their cells."""
    axes = [plan.axes[at] for at in step.table]
    groups = math.prod(len(axis.values) for axis in axes)
    blocks = [
        [block for block in plan.blocks if block.measure == measure and block.keys == step.table]
        for measure in step.measures
    ]
    for row in rows:
        values = iter(row)
        group = _group(values, axes, force)
        if group is None:
            continue
        bin_ = int(next(values)) if step.in_bins else 0
        for of_measure, value in zip(blocks, values, strict=True):
            for block in of_measure:
                # A coarser bin is several whole finer ones: each width is a multiple of the one before.
                within = bin_ * of_measure[0].width // block.width if step.in_bins else 0
                cells[block.start + group * (block.cells // groups) + within] += int(value or 0)


def _group(values: Iterator[Any], axes: list[Axis], force: str) -> int | None:
    """Which row of the table has these key values, taken from `values`; None if one is on no axis."""
    group = 0
    for axis in axes:
        at = axis.values.index(force) if axis.key.column == FORCE else axis.places.get(next(values))
        if at is None:
            return None
        group = group * len(axis.values) + at
    return group
