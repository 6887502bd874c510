"""An opened answer: estimates with intervals, and everything that people must know to read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cordon.accounting import epsilon
from cordon.analyst.compose import INTERVAL_95, size_of_one
from cordon.analyst.vintages import Vintages
from cordon.contract import FORCE, Category, Contract, Number
from cordon.errors import QuestionRefused
from cordon.manifest import Manifest
from cordon.query.expression import Arithmetic, Constant, Part
from cordon.query.plan import Block, Plan
from cordon.query.statement import Output, Statement
from cordon.register.leaf import Checkpoint, Receipt
from cordon.units import Rho

ANSWER_VERSION = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """One noised value; both in the measure's own unit."""

    value: float
    half_width: float
    """Of the 95 % interval; it covers the noise, not what the data lack."""

    @property
    def too_noisy(self) -> bool:
        """Whether the interval is wider than the estimate itself."""
        return 2 * self.half_width > abs(self.value)


@dataclass(frozen=True, slots=True)
class Declining:
    """A force that said no, or that waits for a person."""

    force: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Participation:
    """Who is in an answer and who is not."""

    answered: tuple[str, ...]
    declined: tuple[Declining, ...]
    silent: tuple[str, ...]
    """Forces that did not answer."""
    lost: tuple[str, ...]
    """Forces that were lost after a roster was fixed; each made an attempt fail."""

    def words(self, force: str) -> str:
        """Why a force is not in the answer."""
        for declining in self.declined:
            if declining.force == force:
                return f"declined: {declining.code}"
        return "lost on the way" if force in self.lost else "did not answer"


@dataclass(frozen=True, slots=True)
class Costs:
    """What the query has cost, in rho and, at the federation's delta, in epsilon."""

    rho: Rho
    """Charged to each force of the answer, for the attempt that completed."""
    attempts_charged: int
    epsilon: float
    against_public: float
    """Epsilon against the analyst and the public."""
    against_colluders: float
    """Epsilon if as many forces collude as the federation tolerates."""
    against_all_others: float
    """Epsilon if every other party colludes."""

    @property
    def levels(self) -> dict[str, float]:
        """Each epsilon by its name in an answer."""
        return {
            "charged": self.epsilon,
            "against_public": self.against_public,
            "against_tolerated_colluders": self.against_colluders,
            "against_all_others": self.against_all_others,
        }


@dataclass(frozen=True, slots=True)
class Record:
    """What of an answer stands in the register, and which records it is about."""

    attempt: int
    leaf: int
    """Index of the registered sum."""
    checkpoint: Checkpoint
    """Where the register stood when the analyst was shown it."""
    receipts: tuple[Receipt, ...]
    """Of each force, in the roster's order."""
    vintages: Vintages
    """Of the forces that answered and said what they hold."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `values` is empty where its force is not in the answer."""

    keys: tuple[str, ...]
    values: tuple[Estimate, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query came to."""

    query_id: str
    sql: str
    dataset: str
    unit: str
    caveat: str
    columns: tuple[str, ...]
    is_measure: tuple[bool, ...]
    rows: tuple[Row, ...]
    """Keys and values in the order of the SELECT list's keys and measures."""
    participation: Participation
    costs: Costs
    record: Record
    checked: str
    """What was verified."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; estimates are unrounded."""
        return {
            "version": ANSWER_VERSION,
            "query": self.query_id,
            "sql": self.sql,
            "dataset": self.dataset,
            "protected_unit": self.unit,
            "caveat": self.caveat,
            "columns": [
                {"name": name, "measure": measure} for name, measure in zip(self.columns, self.is_measure, strict=True)
            ],
            "rows": [_row_as_dict(row) for row in self.rows],
            "answered": list(self.participation.answered),
            "declined": [{"force": d.force, "code": d.code, "text": d.text} for d in self.participation.declined],
            "did_not_answer": list(self.participation.silent),
            "lost": list(self.participation.lost),
            "rho": str(self.costs.rho),
            "attempts_charged": self.costs.attempts_charged,
            "epsilon": self.costs.levels,
            "charged": [_charge_as_dict(receipt) for receipt in self.record.receipts],
            "vintages": self.record.vintages,
            "attempt": self.record.attempt,
            "register": {
                "leaf": self.record.leaf,
                "size": self.record.checkpoint.size,
                "root": self.record.checkpoint.root.hex(),
            },
            "checked": self.checked,
        }


def make_answer(
    opened: list[int],
    statement: Statement,
    plan: Plan,
    contract: Contract,
    manifest: Manifest,
    participation: Participation,
    *,
    query_id: str,
    rho: Rho,
    attempts_charged: int,
    record: Record,
    checked: str,
) -> Answer:
    """Turn an opened vector into an answer. Everything here is post-processing: it costs no privacy.

    Args:
        opened: shape (plan.cells,), scaled units, verified by its check cells.
        rho: charged per attempt.
    """
    roster = len(participation.answered)
    outputs = statement.outputs
    rows = [_row(at, opened, statement, plan, contract, participation) for at in range(len(plan.rows))]
    rows = _ordered(rows, statement)
    kept = tuple(rows if statement.limit is None else rows[: statement.limit])
    return Answer(
        query_id=query_id,
        sql=statement.sql,
        dataset=f"{contract.dataset} v{contract.version}",
        unit=contract.unit.words,
        caveat=contract.unit.caveat,
        columns=tuple(output.name for output in outputs),
        is_measure=tuple(output.is_measure for output in outputs),
        rows=kept,
        participation=participation,
        costs=costs(rho, attempts_charged, roster, manifest),
        record=record,
        checked=checked,
    )


def costs(rho: Rho, attempts_charged: int, roster: int, manifest: Manifest) -> Costs:
    """The privacy levels of an answer of `roster` forces. docs/privacy.md §3."""
    delta = float(manifest.delta)
    honest = max(1, roster - manifest.colluders)
    total = rho * attempts_charged
    return Costs(
        rho=rho,
        attempts_charged=attempts_charged,
        epsilon=epsilon(total, delta),
        against_public=epsilon(Rho(-(-rho.nano * honest // max(1, roster))), delta),
        against_colluders=epsilon(rho, delta),
        against_all_others=epsilon(rho * honest, delta),
    )


def estimate(cell: int, block: Block, contract: Contract, *, roster: int, colluders: int) -> Estimate:
    """One opened cell in its measure's own unit, with its 95 % half-width."""
    per_unit = size_of_one(block, contract)
    return Estimate(cell / block.scale * per_unit, INTERVAL_95 * block.sigma(roster, colluders) * per_unit)


def row_keys(at: int, statement: Statement, plan: Plan, contract: Contract) -> tuple[str, ...]:
    """The keys of one row as people read them, in the order of the SELECT list."""
    keys = plan.rows[at]
    return tuple(
        _label(keys[output.key], plan, output.key, contract) for output in statement.outputs if output.key is not None
    )


def _row(
    at: int, opened: list[int], statement: Statement, plan: Plan, contract: Contract, participation: Participation
) -> Row:
    keys = plan.rows[at]
    shown = row_keys(at, statement, plan, contract)
    for axis, value in zip(plan.axes, keys, strict=True):
        if axis.key.column == FORCE and value not in participation.answered:
            return Row(shown, (), participation.words(value))
    values = tuple(
        estimate(
            opened[plan.blocks[_measure(output, contract, plan)].start + at],
            plan.blocks[_measure(output, contract, plan)],
            contract,
            roster=len(participation.answered),
            colluders=plan.colluders,
        )
        for output in statement.outputs
        if output.is_measure
    )
    return Row(shown, values)


def _measure(output: Output, contract: Contract, plan: Plan) -> int:
    """The measure that a column is."""
    for at, block in enumerate(plan.blocks):
        column = contract.column(block.measure.column) if block.measure.column else None
        per_unit = Constant(column.resolution if isinstance(column, Number) else Fraction(1))
        if output.expression in (Part(at), Arithmetic("*", per_unit, Part(at))):
            return at
    raise QuestionRefused(f"{output.name} is calculated from measures, which is not shown yet")


def _label(value: str, plan: Plan, at: int, contract: Contract) -> str:
    name = plan.axes[at].key.column
    column = contract.column(name) if name != FORCE else None
    if isinstance(column, Category):
        return column.codes[column.positions[value]].label
    return value


def _ordered(rows: list[Row], statement: Statement) -> list[Row]:
    for order in reversed(statement.order):
        output = statement.outputs[order.output]
        place = sum(o.is_measure == output.is_measure for o in statement.outputs[: order.output])
        if output.is_measure:
            # Rows without a value stand last in either direction.
            sign = -1 if order.descending else 1
            rows.sort(key=lambda row: sign * row.values[place].value if row.values else math.inf)
        else:
            rows.sort(key=lambda row: row.keys[place], reverse=order.descending)
    return rows


def _charge_as_dict(receipt: Receipt) -> dict[str, Any]:
    return {
        "force": receipt.force,
        "domain": receipt.domain,
        "period": receipt.period,
        "receipt": receipt.number,
        "period_sum": str(receipt.period_sum),
        "lifetime_sum": str(receipt.lifetime_sum),
    }


def _row_as_dict(row: Row) -> dict[str, Any]:
    values = [{"estimate": v.value, "low": v.value - v.half_width, "high": v.value + v.half_width} for v in row.values]
    return {"keys": list(row.keys), "values": values, "note": row.note}
