"""Two answers to one question, cell by cell: what can be compared, and what must be known to read it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cordon.analyst.rows import Row
from cordon.contract import FORCE, Contract
from cordon.query.model import MeasureKind
from cordon.query.statement import Statement
from cordon.workbench.answer import Answer
from cordon.workbench.watch.change import Pair, is_plain
from cordon.workbench.watch.saved import Natural, kinds_of


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of two releases can be compared."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    """In sentences."""


def compared(before: Answer, now: Answer, statement: Statement, contract: Contract, natural: Natural) -> Comparison:
    """The cells that both releases have, of the same forces."""
    notes = _months(before, now)
    force = _force_at(statement)
    if force is None and set(before.answered) != set(now.answered):
        why = _other_forces(before, now)
        return Comparison(
            (), (*notes, f"not compared, since other forces answered: {why}; GROUP BY force compares each")
        )
    if force is not None and set(before.answered) != set(now.answered):
        notes = (*notes, f"other forces answered: {_other_forces(before, now)}; those are not compared")
    clusters = [_cluster(kind, contract, natural) for kind in kinds_of(statement)]
    earlier = {row.keys: row for row in before.rows}
    pairs = [pair for row in now.rows for pair in _pairs(earlier.get(row.keys), row, now.measures, clusters)]
    return Comparison(tuple(pairs), notes)


def _force_at(statement: Statement) -> int | None:
    keys = statement.question.keys
    shown = [output.key for output in statement.outputs if output.key is not None]
    return next((place for place, at in enumerate(shown) if keys[at].column == FORCE), None)


def _pairs(before: Row | None, now: Row, measures: Sequence[str], clusters: Sequence[int | None]) -> list[Pair]:
    if before is None or not before.values or not now.values:
        return []
    found = zip(measures, before.values, now.values, clusters, strict=True)
    return [
        Pair(now.keys, measure, first, second, cluster)
        for measure, first, second, cluster in found
        if is_plain(first) and is_plain(second)
    ]


def _cluster(kind: MeasureKind, contract: Contract, natural: Natural) -> int | None:
    if natural is Natural.NONE:
        return None
    # A unit is counted once, or with as many rows as are kept of it.
    return 1 if kind is MeasureKind.COUNT_UNIT else contract.unit.max_rows_per_unit


def _other_forces(before: Answer, now: Answer) -> str:
    came, went = (sorted(set(a.answered) - set(b.answered)) for a, b in ((now, before), (before, now)))
    parts = [f"{', '.join(names)} only {when}" for names, when in ((came, "now"), (went, "then")) if names]
    return " and ".join(parts)


def _months(before: Answer, now: Answer) -> tuple[str, ...]:
    """A force whose records cover other months has other counts for that alone."""
    then, today = (answer.document.get("vintages") or {} for answer in (before, now))
    moved = [
        f"{force} ({then[force]['first_month']} to {then[force]['last_month']} then, "
        f"{today[force]['first_month']} to {today[force]['last_month']} now)"
        for force in sorted(set(then) & set(today))
        if any(then[force][end] != today[force][end] for end in ("first_month", "last_month"))
    ]
    return (f"records cover other months than before, which changes counts by itself: {'; '.join(moved)}",) * bool(
        moved
    )
