"""One force's receipts and budget statements: numbered, chained, added up and held against its limits.

Receipts are taken in the order of their numbers, whatever the order of their leaves. What looks wrong
with a budget here is only a doubt: a statement may still arrive late, so `cordon.reading.judge` decides
it, exactly, from all that is there. docs/auditing.md §3.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from operator import le
from typing import Any, NamedTuple

from cordon.reading.examine import parsed
from cordon.reading.mirror import Mirror
from cordon.reading.verdict import Check
from cordon.register.leaf import NO_DIGEST

LIMITS = ("period_limit", "lifetime_limit", "analyst_limit", "purpose_limit", "query_limit", "failed_limit")
"""Of a budget statement, in the order in which they are kept."""


class Charge(NamedTuple):
    """A row of the mirror's receipts."""

    force: str
    number: int
    leaf: int
    query: int
    attempt: int
    domain: str
    period: int
    rho: int

    @classmethod
    def of(cls, receipt: Any, leaf: int, query: int) -> Charge:
        """The row of a receipt that stands in a leaf, about the query of another leaf."""
        return cls(
            *(receipt.force, receipt.number, leaf, query, receipt.attempt),
            *(receipt.domain, receipt.period, receipt.rho),
        )


@dataclass(slots=True)
class Domain:
    """Sums of one budget domain in its newest period."""

    period: int = 0
    in_period: int = 0
    lifetime: int = 0
    analysts: dict[str, int] = field(default_factory=dict)
    purposes: dict[str, int] = field(default_factory=dict)
    limits: list[list[int]] = field(default_factory=list)
    """Per statement, oldest first: the receipt that it follows, then `LIMITS`."""


@dataclass(slots=True)
class Chain:
    """One force: what its next receipt and its next statement must follow."""

    force: str
    next: int = 1
    previous: bytes = NO_DIGEST
    waiting: int = 0
    """Receipts that are here already and follow one that is not."""
    next_statement: int = 1
    previous_statement: bytes = NO_DIGEST
    waiting_statements: int = 0
    domains: dict[str, Domain] = field(default_factory=dict)


class Charges:
    """Every force's chain; the mirror keeps them between batches."""

    def __init__(self, mirror: Mirror) -> None:
        """Go on where the mirror is."""
        self._mirror = mirror
        self._sql = mirror.sql
        rows = self._sql.execute("SELECT force, state FROM chains")
        self._chains = {force: _chain_of(force, json.loads(state)) for force, state in rows}
        self._changed: set[str] = set()
        self._rows: list[Charge] = []

    def flush(self) -> None:
        """Write what changed."""
        self._flush_rows()
        texts = [(force, _text_of(self._chains[force])) for force in self._changed]
        self._sql.executemany("REPLACE INTO chains VALUES (?, ?)", texts)
        self._changed.clear()

    def add(self, charge: Charge, found: Any, payload_hash: bytes, times: int) -> int | None:
        """Take a receipt that fits its query; returns the leaf of another one of its number, if there is one.

        Args:
            times: how many attempts of its query the force is charged for, with this one.
        """
        chain = self._chain(charge.force)
        if charge.number < chain.next or chain.waiting:
            known = self._known(charge)
            if known is not None:
                return known
        self._rows.append(charge)
        if charge.number != chain.next:
            chain.waiting += 1
            return None
        self._count(chain, charge, found, payload_hash, times)
        self._catch_up(chain)
        return None

    def _known(self, charge: Charge) -> int | None:
        self._flush_rows()
        row = self._sql.execute(_KNOWN, (charge.force, charge.number)).fetchone()
        return None if row is None else int(row[0])

    def _catch_up(self, chain: Chain) -> None:
        """Count the receipts that have waited for the one that came."""
        while chain.waiting:
            self._flush_rows()
            row = self._sql.execute(_NEXT, (chain.force, chain.next)).fetchone()
            if row is None:
                return
            chain.waiting -= 1
            late = Charge(*row)
            envelope, found = parsed(self._mirror.leaf(late.leaf))
            self._count(chain, late, found, hashlib.sha256(envelope.payload).digest(), 1)
            # Statements may have come while it waited; which of them count for it is for the judge.
            self._doubt(late.force, late.number)

    def _count(self, chain: Chain, charge: Charge, found: Any, payload_hash: bytes, times: int) -> None:
        if found.previous != chain.previous:
            self._report(charge, f"does not follow the force's receipt {charge.number - 1}: the chain is broken")
        chain.next, chain.previous = charge.number + 1, payload_hash
        domain = chain.domains.get(charge.domain)
        if domain is None:
            domain = chain.domains[charge.domain] = Domain()
        if charge.period != domain.period:
            if charge.period < domain.period:
                self._report(charge, f"is charged to {charge.period}, after a receipt of {domain.period}")
            domain.period, domain.in_period = charge.period, self._in_period(charge)
            domain.analysts, domain.purposes = {}, {}
        rho, analyst, purpose = charge.rho, found.analyst_key_id.hex(), found.purpose
        domain.in_period += rho
        domain.lifetime += rho
        domain.analysts[analyst] = by_analyst = domain.analysts.get(analyst, 0) + rho
        domain.purposes[purpose] = for_purpose = domain.purposes.get(purpose, 0) + rho
        if found.period_sum != domain.in_period or found.lifetime_sum != domain.lifetime:
            self._report(
                charge,
                f"states sums of {found.period_sum} and {found.lifetime_sum} nano-rho where the force's receipts "
                f"add up to {domain.in_period} and {domain.lifetime}",
            )
        sums = (domain.in_period, domain.lifetime, by_analyst, for_purpose, rho * times)
        if charge.attempt > 1 or not _within(domain, charge.number, sums):
            self._doubt(charge.force, charge.number)

    def _in_period(self, charge: Charge) -> int:
        """What was charged to a period before; above zero only where a force went back to it."""
        self._flush_rows()
        values = (charge.force, charge.number, charge.domain, charge.period)
        return int(self._sql.execute(_BEFORE, values).fetchone()[0])

    def state(self, leaf: int, found: Any, payload_hash: bytes) -> None:
        """Take a budget statement."""
        chain = self._chain(found.force)
        limits = [getattr(found, name) for name in LIMITS]
        row = (
            *(found.force, found.number, leaf, payload_hash, found.previous, found.domain, found.after_receipt),
            *(found.stated_at, json.dumps(limits)),
        )
        known = self._sql.execute(_STATEMENT, (found.force, found.number)).fetchone()
        if known is not None:
            what = f"budget statement {found.number} of {found.force} also stands in leaf {known[1]}: two of one number"
            self._mirror.report(leaf, what, Check.BUDGETS)
            return
        self._sql.execute("INSERT INTO statements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        domain = chain.domains.setdefault(found.domain, Domain())
        numbers = "SELECT after_receipt, limits FROM statements WHERE force = ? AND domain = ? ORDER BY number"
        rows = self._sql.execute(numbers, (found.force, found.domain))
        domain.limits = [[after, *json.loads(text)] for after, text in rows]
        self._link_statements(chain, found.number, (found.previous, leaf, payload_hash))
        if found.after_receipt + 1 < chain.next:
            # Receipts that this statement governs were judged without it.
            self._flush_rows()
            self._sql.execute(_DOUBTS, (found.force, found.domain, found.after_receipt, chain.next))

    def _link_statements(self, chain: Chain, number: int, row: tuple[Any, ...] | None) -> None:
        if number != chain.next_statement:
            chain.waiting_statements += 1
            return
        while row is not None:
            previous, leaf, own = row
            if previous != chain.previous_statement:
                what = f"budget statement {chain.next_statement} of {chain.force} does not follow the one before it"
                self._mirror.report(leaf, what, Check.BUDGETS)
            chain.next_statement, chain.previous_statement = chain.next_statement + 1, own
            row = None
            if chain.waiting_statements:
                row = self._sql.execute(_STATEMENT, (chain.force, chain.next_statement)).fetchone()
                chain.waiting_statements -= row is not None

    def fail(self, leaf: int, force: str, number: int) -> None:
        """Note that a receipt is for an attempt that failed, by this leaf."""
        self._flush_rows()
        self._sql.execute(_FAILED, (leaf, force, number))

    def _chain(self, force: str) -> Chain:
        self._changed.add(force)
        chain = self._chains.get(force)
        if chain is None:
            chain = self._chains[force] = Chain(force)
        return chain

    def _report(self, charge: Charge, what: str) -> None:
        self._mirror.report(charge.leaf, f"receipt {charge.number} of {charge.force} {what}", Check.RECEIPTS)

    def _doubt(self, force: str, number: int) -> None:
        self._sql.execute("INSERT OR IGNORE INTO doubts VALUES (?, ?)", (force, number))

    def _flush_rows(self) -> None:
        self._sql.executemany("INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._rows)
        self._rows.clear()


_KNOWN = "SELECT leaf FROM receipts WHERE force = ? AND number = ?"
_NEXT = "SELECT * FROM receipts WHERE force = ? AND number = ?"
_BEFORE = "SELECT coalesce(sum(rho), 0) FROM receipts WHERE force = ? AND number < ? AND domain = ? AND period = ?"
_STATEMENT = "SELECT previous, leaf, hash FROM statements WHERE force = ? AND number = ?"
_DOUBTS = (
    "INSERT OR IGNORE INTO doubts SELECT force, number FROM receipts "
    "WHERE force = ? AND domain = ? AND number > ? AND number < ?"
)
_FAILED = (
    "INSERT OR IGNORE INTO failed SELECT force, number, ?, query, domain, period, rho FROM receipts "
    "WHERE force = ? AND number = ?"
)


def _within(domain: Domain, number: int, sums: tuple[int, ...]) -> bool:
    for stated in reversed(domain.limits):
        if stated[0] < number:
            return all(map(le, sums, stated[1:]))
    return False


def _text_of(chain: Chain) -> str:
    domains = {name: [getattr(found, part) for part in Domain.__slots__] for name, found in chain.domains.items()}
    return json.dumps(
        [
            *(chain.next, chain.previous.hex(), chain.waiting),
            *(chain.next_statement, chain.previous_statement.hex(), chain.waiting_statements, domains),
        ]
    )


def _chain_of(force: str, form: list[Any]) -> Chain:
    number, previous, waiting, statement, previous_statement, waiting_statements, domains = form
    found = {name: Domain(*parts) for name, parts in domains.items()}
    return Chain(
        force, number, bytes.fromhex(previous), waiting,
        statement, bytes.fromhex(previous_statement), waiting_statements, found,
    )  # fmt: skip
