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
from cordon.workbench.watch.months import Span, covered, month_key, window, within
from cordon.workbench.watch.saved import Natural, Saved, kinds_of


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of two releases can be compared."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    """In sentences."""


def compared(before: Answer, now: Answer, statement: Statement, contract: Contract, saved: Saved) -> Comparison:
    """The cells that both releases have, of the same forces and the same months."""
    force = _force_at(statement)
    if force is None and set(before.answered) != set(now.answered):
        why = _other_forces(before, now)
        return Comparison((), (f"not compared, since other forces answered: {why}; GROUP BY force compares each",))
    notes: tuple[str, ...] = ()
    if force is not None and set(before.answered) != set(now.answered):
        notes = (f"other forces answered: {_other_forces(before, now)}; those are not compared",)
    clusters = [_cluster(kind, contract, saved) for kind in kinds_of(statement)]
    earlier = {row.keys: row for row in before.rows}
    months = _Months.of(before, now, statement, contract, force)
    moved = {row.keys: months.moved(row) for row in now.rows}
    pairs = [
        pair
        for row in now.rows
        if not moved[row.keys]
        for pair in _pairs(earlier.get(row.keys), row, now.measures, clusters)
    ]
    others = sorted({name for names in moved.values() for name in names})
    if others:
        notes = (*notes, f"not compared where records cover other months than before: {months.told(others)}")
    return Comparison(tuple(pairs), notes)


@dataclass(frozen=True, slots=True)
class _Months:
    """Which months each force's records covered, then and now."""

    then: dict[str, Span]
    now: dict[str, Span]
    asked: Span
    month_at: int | None
    force_at: int | None

    @classmethod
    def of(cls, before: Answer, now: Answer, statement: Statement, contract: Contract, force_at: int | None) -> _Months:
        then, today = (_spans(answer) for answer in (before, now))
        return cls(then, today, window(statement, contract), month_key(statement, contract), force_at)

    def moved(self, row: Row) -> list[str]:
        """Forces of a cell whose records cover other months of it than before."""
        asked = self.asked if self.month_at is None else within(self.asked, row.keys[self.month_at])
        both = set(self.then) & set(self.now)
        forces = both if self.force_at is None else both & {row.keys[self.force_at]}
        return [force for force in forces if covered(self.then[force], asked) != covered(self.now[force], asked)]

    def told(self, forces: Sequence[str]) -> str:
        return "; ".join(
            f"{force} ({' to '.join(self.then[force])} then, {' to '.join(self.now[force])} now)" for force in forces
        )


def _spans(answer: Answer) -> dict[str, Span]:
    vintages = answer.document.get("vintages") or {}
    return {force: (held["first_month"], held["last_month"]) for force, held in vintages.items()}


def _force_at(statement: Statement) -> int | None:
    keys = statement.question.keys
    shown = [output.key for output in statement.outputs if output.key is not None]
    return next((place for place, at in enumerate(shown) if keys[at].column == FORCE), None)


def _pairs(before: Row | None, now: Row, measures: Sequence[str], clusters: Sequence[float | None]) -> list[Pair]:
    if before is None or not before.values or not now.values:
        return []
    found = zip(measures, before.values, now.values, clusters, strict=True)
    return [
        Pair(now.keys, measure, first, second, cluster)
        for measure, first, second, cluster in found
        if is_plain(first) and is_plain(second)
    ]


def _cluster(kind: MeasureKind, contract: Contract, saved: Saved) -> float | None:
    if saved.natural is Natural.NONE:
        return None
    # A unit is counted once, or with as many rows as are kept of it.
    return saved.times * (1 if kind is MeasureKind.COUNT_UNIT else contract.unit.max_rows_per_unit)


def _other_forces(before: Answer, now: Answer) -> str:
    came, went = (sorted(set(a.answered) - set(b.answered)) for a, b in ((now, before), (before, now)))
    parts = [f"{', '.join(names)} only {when}" for names, when in ((came, "now"), (went, "then")) if names]
    return " and ".join(parts)
