"""What can be judged only when everything is there: budgets in doubt, gaps, embargoes.

Asked anew at every reading, because a late leaf may clear what an earlier reading held against
somebody. Time is the newest checkpoint's, never the reader's own clock. docs/auditing.md §3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cordon.reading.charges import Charge
from cordon.reading.members import Membership
from cordon.reading.mirror import Mirror
from cordon.reading.verdict import Check, Discrepancy, Pending

DAY = 86_400


class Judge:
    """Judges a mirror as of its newest checkpoint."""

    def __init__(self, mirror: Mirror, members: Membership) -> None:
        """Judge by the checkpoint that the mirror has accepted."""
        self._sql = mirror.sql
        self._time = mirror.time
        self._members = members

    def verdicts(self, *, owed_at_once: bool, refused: frozenset[int]) -> Iterator[Discrepancy | Pending]:
        """Everything that is wrong, or may still turn out to be.

        Args:
            owed_at_once: whether the reader is owed opened queries without embargo.
            refused: leaves whose openings were served, and refused; they are not overdue as well.
        """
        if self._members.first is None:
            return
        yield from self._clocks()
        yield from self._budgets()
        yield from self._gaps()
        yield from self._statement_gaps()
        yield from (late for late in self._embargoes(owed_at_once=owed_at_once) if late.leaf not in refused)

    @property
    def _in_flight(self) -> int:
        """Seconds that something may take to reach the register."""
        return 2 * self._members.newest.timing.freshness_seconds

    def _late(self, since: int) -> bool:
        return self._time > since + self._in_flight

    def _unless_fresh(self, since: int, leaf: int, what: str, check: Check) -> Discrepancy | Pending:
        return Discrepancy(leaf, what, check) if self._late(since) else Pending(leaf, what)

    # Times

    def _clocks(self) -> Iterator[Discrepancy | Pending]:
        """Queries from the future: what they hold would stay fresh, and under embargo, for ever."""
        latest = self._time + self._members.newest.timing.clock_tolerance_seconds
        query = "SELECT leaf, submitted_at FROM queries WHERE submitted_at > ?"
        for leaf, submitted_at in self._sql.execute(query, (latest,)):
            what = "the query was submitted later than the register was signed"
            # A clock that was put right by an hour or so is no lie, and delays nothing for long.
            far = submitted_at > self._time + DAY
            yield Discrepancy(leaf, what, Check.QUERIES) if far else Pending(leaf, what)

    # Budgets

    def _budgets(self) -> Iterator[Discrepancy | Pending]:
        query = "SELECT receipts.* FROM doubts JOIN receipts USING (force, number)"
        for row in self._sql.execute(query).fetchall():
            charge = Charge(*row)
            found = self._over(charge)
            if found is None:
                self._sql.execute("DELETE FROM doubts WHERE force = ? AND number = ?", (charge.force, charge.number))
            else:
                yield found

    def _over(self, charge: Charge) -> Discrepancy | Pending | None:
        """What is wrong with a charge under the limits that were in force for it."""
        name = f"receipt {charge.number} of {charge.force}"
        analyst, purpose, submitted_at = self._sql.execute(
            "SELECT analyst, purpose, submitted_at FROM queries WHERE leaf = ?", (charge.query,)
        ).fetchone()
        stated = self._stated(charge, submitted_at)
        if stated is None:
            what = f"{name} is charged to {charge.domain!r}, for which no budget statement stands in the register"
            return self._unless_fresh(max(submitted_at, self._time_at(charge.leaf)), charge.leaf, what, Check.BUDGETS)
        *limits, failed_limit = stated
        sums = self._sums(charge, analyst, purpose)
        for words, value, limit in zip(_WORDS, sums, limits, strict=True):
            if value > limit:
                what = f"{name} brings {words} of {charge.domain!r} to {value} nano-rho, over its limit of {limit}"
                return Discrepancy(charge.leaf, what, Check.BUDGETS)
        failed = self._failed_before(charge) if charge.attempt > 1 else 0
        if failed > failed_limit:
            what = (
                f"{name} is for a further attempt, after failed ones cost {failed} nano-rho of {failed_limit} at most"
            )
            return Discrepancy(charge.leaf, what, Check.BUDGETS)
        return None

    def _stated(self, charge: Charge, submitted_at: int) -> list[int] | None:
        """The limits of the newest statement that says it precedes a charge, and did not come long after it."""
        latest = max(submitted_at, self._time_at(charge.leaf)) + self._in_flight
        is_lost = charge.query < 0
        for leaf, stated_at, text in self._sql.execute(_LIMITS, (charge.force, charge.domain, charge.number)):
            # Otherwise a force could spend first, and state later that it might: where no query lies
            # between the two, only its own word says when that was.
            if is_lost or leaf < charge.leaf or max(stated_at, self._time_at(leaf)) <= latest:
                return [int(limit) for limit in json.loads(text)]
        return None

    def _time_at(self, leaf: int) -> int:
        """When the newest query before a leaf was submitted."""
        row = self._sql.execute(_TIME_AT, (leaf,)).fetchone()
        return 0 if row is None else int(row[0])

    def _sums(self, charge: Charge, analyst: bytes, purpose: str) -> tuple[Any, ...]:
        values = {**charge._asdict(), "analyst": analyst, "purpose": purpose}
        return tuple(self._sql.execute(_SUMS, values).fetchone())

    def _failed_before(self, charge: Charge) -> int:
        """Charged for attempts that the force must have known to have failed: it was charged for a further one."""
        return int(self._sql.execute(_FAILED, charge._asdict()).fetchone()[0])

    # Gaps

    def _gaps(self) -> Iterator[Discrepancy | Pending]:
        for force, state in self._sql.execute("SELECT force, state FROM chains ORDER BY force").fetchall():
            number, _, waiting, *_ = json.loads(state)
            if not waiting:
                continue
            leaf, follower, submitted_at = self._sql.execute(_FOLLOWER, (force, number)).fetchone()
            what = f"receipts of {force} are missing: {_span(number, follower)} before the one in this leaf"
            yield self._unless_fresh(max(submitted_at, self._time_at(leaf)), leaf, what, Check.RECEIPTS)

    def _statement_gaps(self) -> Iterator[Discrepancy | Pending]:
        for force, state in self._sql.execute("SELECT force, state FROM chains ORDER BY force").fetchall():
            _, _, _, number, _, waiting, _ = json.loads(state)
            if not waiting:
                continue
            leaf, follower, stated_at = self._sql.execute(
                "SELECT leaf, number, stated_at FROM statements WHERE force = ? AND number > ? ORDER BY number LIMIT 1",
                (force, number),
            ).fetchone()
            what = f"budget statements of {force} are missing: {_span(number, follower)} before the one in this leaf"
            yield self._unless_fresh(stated_at, leaf, what, Check.BUDGETS)

    # Embargoes

    def _embargoes(self, *, owed_at_once: bool) -> Iterator[Discrepancy]:
        """Queries, and answers that were published to them, which are owed by now and are not opened."""
        for leaf, kind, query, purpose, submitted_at in self._sql.execute(_OWED):
            name = "the query" if kind == "query" else "the published answer"
            listed = self._members.at(query).by_purpose.get(purpose)
            days = listed.embargo_days if listed is not None else 0
            if owed_at_once:
                yield Discrepancy(leaf, f"{name} is not opened to the auditor, and not erased", Check.OPENINGS)
            elif self._time > submitted_at + days * DAY and self._late(submitted_at):
                what = f"the query's embargo of {days} days has passed, and {name} is not opened or erased"
                yield Discrepancy(leaf, what, Check.OPENINGS)


_WORDS = (
    "the sum of the period",
    "the lifetime sum",
    "the analyst's sum of the period",
    "the purpose's sum of the period",
    "the query's sum",
)
_LIMITS = """
SELECT leaf, stated_at, limits FROM statements
WHERE force = ? AND domain = ? AND after_receipt < ? ORDER BY number DESC
"""
_TIME_AT = "SELECT submitted_at FROM queries WHERE leaf < ? ORDER BY leaf DESC LIMIT 1"
_OWED = """
SELECT wanted.leaf, kind, queries.leaf, purpose, submitted_at FROM wanted JOIN queries ON queries.leaf = wanted.query
LEFT JOIN erased ON target IN (wanted.leaf, wanted.query)
WHERE opened = 0 AND kind IN ('query', 'answer') AND target IS NULL
"""
_SUMS = """
SELECT sum(receipts.rho) FILTER (WHERE period = :period), sum(receipts.rho),
    sum(receipts.rho) FILTER (WHERE period = :period AND analyst = :analyst),
    sum(receipts.rho) FILTER (WHERE period = :period AND purpose = :purpose),
    sum(receipts.rho) FILTER (WHERE query = :query)
FROM receipts JOIN queries ON queries.leaf = receipts.query
WHERE force = :force AND domain = :domain AND number <= :number
"""
_FAILED = """
SELECT coalesce(sum(failed.rho), 0) FROM failed JOIN receipts AS lost USING (force, number)
WHERE force = :force AND failed.domain = :domain AND failed.period = :period AND number < :number
    AND EXISTS (SELECT 1 FROM receipts AS further WHERE further.force = :force AND further.query = failed.query
        AND further.attempt > lost.attempt AND further.number <= :number)
"""
_FOLLOWER = (
    "SELECT receipts.leaf, number, submitted_at FROM receipts JOIN queries ON queries.leaf = receipts.query "
    "WHERE force = ? AND number > ? ORDER BY number LIMIT 1"
)


def _span(first: int, follower: int) -> str:
    return f"number {first}" if follower == first + 1 else f"numbers {first} to {follower - 1}"
