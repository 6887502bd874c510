"""An opened answer: estimates with intervals, and everything that people must know to read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cordon.accounting import epsilon
from cordon.analyst.rows import Estimate, Row, make_rows
from cordon.analyst.vintages import Vintages
from cordon.contract import Contract
from cordon.manifest import Manifest
from cordon.query.plan import Plan
from cordon.query.statement import Statement
from cordon.register.leaf import Checkpoint, Receipt
from cordon.units import Rho

ANSWER_VERSION = 4


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
class OpenedAnswer:
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
    opened_at: str
    """When it was opened, by the analyst's clock: ISO 8601 in UTC."""
    checked: str
    """What was verified."""
    notes: tuple[str, ...] = ()
    """What people must know to read the columns, in sentences."""

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
            "opened_at": self.opened_at,
            "checked": self.checked,
            "notes": list(self.notes),
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
    opened_at: str,
    checked: str,
) -> OpenedAnswer:
    """Turn an opened vector into an answer. Everything here is post-processing: it costs no privacy.

    Args:
        opened: shape (plan.cells,), scaled units, verified by its check cells.
        rho: charged per attempt.
        opened_at: ISO 8601 in UTC.
    """
    rows, notes = make_rows(
        opened, statement, plan, contract, answered=participation.answered, absent=participation.words
    )
    return OpenedAnswer(
        query_id=query_id,
        sql=statement.sql,
        dataset=f"{contract.dataset} v{contract.version}",
        unit=contract.unit.words,
        caveat=contract.unit.caveat,
        columns=tuple(output.name for output in statement.outputs),
        is_measure=tuple(output.is_measure for output in statement.outputs),
        rows=rows,
        participation=participation,
        costs=costs(rho, attempts_charged, len(participation.answered), manifest),
        record=record,
        opened_at=opened_at,
        checked=checked,
        notes=notes,
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
    return {
        "keys": list(row.keys),
        "values": [_estimate_as_dict(value) for value in row.values],
        "note": row.note,
        "certainty": row.certainty,
    }


def _estimate_as_dict(value: Estimate) -> dict[str, float | None]:
    parts = {"estimate": value.value, "low": value.low, "high": value.high, "raw": value.raw}
    # JSON has no infinity: null stands for a bound, or an estimate, that the noise does not give.
    return {name: part if math.isfinite(part) else None for name, part in parts.items()}
