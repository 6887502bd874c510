"""From a plan to one force's exact integer vector, over its snapshot.

The result has the plan's shape whatever the records are; rows that lie on no axis are left out.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordon.contract import FORCE, Contract
from cordon.errors import Declined
from cordon.query.model import Measure, MeasureKind, Question
from cordon.query.plan import Block, Plan, make_plan
from cordon.register.leaf import DeclineCode
from cordon.units import NANO, Rho
from cordon.wire.messages import HeldContract
from node.cluster import ClusterFault, Link
from node.compile import HERE, Scan, Statements, Table, compile_plan, scans, schema_of
from node.database import Fault, not_whole, open_to_serve
from node.place import Place, read_place
from node.snapshot import check_rows, read_label

MOST_TEXT = 2**23
"""Characters of compiled statements that a snapshot keeps."""


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
            self._database = open_to_serve(path.resolve())
        except Fault as error:
            raise not_whole(path, error) from None
        vintage = read_label(self._database, path, contract)
        place = self._place(path)
        if place is None:
            check_rows(self._database, path, schema_of(contract))
        # Reached when it is first asked: a node starts, and declines, also while its engine is away.
        self._link = None if place is None else Link(place.cluster)
        self._known = _Known(contract, HERE if place is None else place.compiled)
        self._warm_up()
        self.held = HeldContract(
            vintage.dataset,
            vintage.version,
            contract.digest,
            vintage.as_at,
            vintage.first_month,
            vintage.last_month,
            vintage.load_id,
            vintage.note,
        )
        self.vintage = vintage

    def _place(self, path: Path) -> Place | None:
        try:
            return read_place(self._database)
        except (Fault, ValueError) as error:
            raise not_whole(path, error) from None

    def _warm_up(self) -> None:
        # The first statement that is compiled loads ibis's dialect: not while a query waits for it.
        question = Question(
            self._contract.dataset, self._contract.version, (Measure(MeasureKind.COUNT),), None, (), ("nobody",)
        )
        plan = make_plan(question, (Rho(NANO),), self._contract, colluders=1, most_cells=1)
        self._known.of(plan)

    def aggregate(self, plan: Plan, force: str) -> list[int]:
        """A force's exact cells: shape (plan.cells,), in the measures' integer units.

        Raises:
            Declined: the engine could not compute them; its message may quote a value, and stays here.
        """
        cells = [0] * plan.cells
        for scan, blocks in scans(plan).items():
            places = [plan.axes[key].places for key in scan.keys]
            _place(self._rows(plan, scan), places, [_target(block, scan, plan, force) for block in blocks], cells)
        return cells

    def _rows(self, plan: Plan, scan: Scan) -> list[tuple[Any, ...]]:
        try:
            if self._link is not None:
                return self._link.rows(self._known.of(plan).of(scan))
            with self._lock:
                return self._database.execute(self._known.of(plan).of(scan)).fetchall()
        except (Fault, ClusterFault, MemoryError):
            raise Declined(DeclineCode.FAULT.words, "this force could not compute its share") from None

    def close(self) -> None:
        """Close the file, and the connection to the engine that holds its rows, if there is one."""
        self._database.close()
        if self._link is not None:
            self._link.close()


class _Known:
    """Statements that were compiled before: the same question is often asked again, at another cost."""

    def __init__(self, contract: Contract, place: Table) -> None:
        self._contract = contract
        self._place = place
        self._known: OrderedDict[Question, Statements] = OrderedDict()
        self._length = 0

    def of(self, plan: Plan) -> Statements:
        """The statements of a plan; what they say follows from its question alone."""
        found = self._known.get(plan.question)
        if found is not None:
            return found
        compiled = self._known[plan.question] = compile_plan(plan, self._contract, self._place)
        self._length += compiled.length
        while self._length > MOST_TEXT:
            self._length -= self._known.popitem(last=False)[1].length
        return compiled


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a scan's rows go in one block."""

    first: int
    """Cell of the first value of every key of the scan, in this force's own part of the block."""
    strides: tuple[int, ...]
    """Cells from one value of a key to its next, for each key of the scan."""
    column: int
    """Of the measure, in the scan's rows."""
    bins: int
    """Of the scan that are one bin of the block; 0 for a block without bins."""

    def cell(self, positions: Sequence[int], bin_: int) -> int:
        """The cell of a row."""
        offset = sum(at * stride for at, stride in zip(positions, self.strides, strict=True))
        return self.first + offset + (bin_ // self.bins if self.bins else 0)


def _target(block: Block, scan: Scan, plan: Plan, force: str) -> _Target:
    lengths = [len(plan.axes[key].values) for key in block.keys]
    bins = block.cells // math.prod(lengths)
    strides = {key: bins * math.prod(lengths[place + 1 :]) for place, key in enumerate(block.keys)}
    own = [key for key in block.keys if plan.axes[key].key.column == FORCE]
    return _Target(
        first=block.start + sum(strides[key] * plan.axes[key].values.index(force) for key in own),
        strides=tuple(strides[key] for key in scan.keys),
        column=len(scan.keys)
        + (1 if scan.width else 0)
        + scan.measures.index(plan.question.measures.index(block.measure)),
        bins=block.width // scan.width if scan.width else 0,
    )


def _place(
    rows: Iterable[tuple[Any, ...]], places: Sequence[dict[int, int]], targets: Sequence[_Target], cells: list[int]
) -> None:
    for row in rows:
        positions = [place.get(row[at], -1) for at, place in enumerate(places)]
        if -1 in positions:
            continue
        for target in targets:
            # Unknown where no value of a number is known.
            cells[target.cell(positions, row[len(places)])] += int(row[target.column] or 0)
