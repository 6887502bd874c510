"""What a ledger remembers of the register: the newest checkpoint accepted, and what is not proven to be in it.

Receipts and budget statements lie in the outbox until an inclusion proof has shown them in the register.
Evidence that the register was forked or rewritten is kept for the auditor, and never deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cordon.envelope import Envelope
from cordon.errors import Misconfigured
from cordon.register.checkpoint import SignedCheckpoint
from cordon.register.leaf import NO_DIGEST, BudgetStatement, Checkpoint
from cordon.register.merkle import leaf_hash
from cordon.register.spending import Limits
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.signed import payload_hash
from node.ledgerfile import DAMAGED, LedgerFile

_WAITING = (
    ("statement", "SELECT number, envelope, at FROM statement WHERE leaf IS NULL ORDER BY number LIMIT ?"),
    ("charge", "SELECT number, receipt, at FROM charge WHERE leaf IS NULL ORDER BY number LIMIT ?"),
)
_OLDEST = (
    "SELECT min(at) FROM (SELECT at FROM charge WHERE leaf IS NULL UNION SELECT at FROM statement WHERE leaf IS NULL)"
)
_PROVE = {
    "statement": "UPDATE statement SET leaf = ? WHERE number = ?",
    "charge": "UPDATE charge SET leaf = ? WHERE number = ?",
}


@dataclass(frozen=True, slots=True)
class Unproven:
    """A signed receipt or budget statement that is not known to be in the register."""

    table: str
    number: int
    envelope: Envelope
    at: int
    """When it was made, seconds since 1970-01-01 UTC."""

    @property
    def leaf_hash(self) -> Digest:
        """Its hash as a leaf of the register."""
        return leaf_hash(codec.encode_envelope(self.envelope))


@dataclass(frozen=True, slots=True)
class Stated:
    """A domain's newest budget statement."""

    number: int
    payload_hash: Digest
    limits: Limits


class Outbox(LedgerFile):
    """The part of a ledger that faces the register."""

    # Checkpoints

    def accepted(self, origin: str) -> Checkpoint:
        """The newest checkpoint that this force has accepted of a register; of size 0 before the first."""
        row = self._one("SELECT size, root FROM checkpoint WHERE origin = ?", origin)
        return Checkpoint() if row is None else Checkpoint(row[0], Digest(row[1]))

    def accepted_time(self, origin: str) -> int:
        """When the coordinator cosigned it, seconds since 1970-01-01 UTC; 0 before the first."""
        row = self._one("SELECT time FROM checkpoint WHERE origin = ?", origin)
        return 0 if row is None else int(row[0])

    def accepted_note(self, origin: str) -> bytes:
        """Its note, as it was signed; empty before the first."""
        row = self._one("SELECT note FROM checkpoint WHERE origin = ?", origin)
        return b"" if row is None else bytes(row[0])

    def accept(self, origin: str, signed: SignedCheckpoint, shown: Iterable[tuple[Unproven, int]] = ()) -> None:
        """Accept a checkpoint that was shown to follow from the one before, and what it was shown to hold.

        Args:
            shown: receipts and statements with the index of each one's leaf.
        """
        with self._transaction() as connection:
            before = self._one("SELECT size, time FROM checkpoint WHERE origin = ?", origin)
            # Another thread may have accepted a newer one meanwhile.
            if before is None or (signed.checkpoint.size, signed.time) >= before:
                values = (origin, signed.checkpoint.size, signed.checkpoint.root, signed.time, signed.note)
                connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)", values)
            for item, leaf in shown:
                connection.execute(_PROVE[item.table], (leaf, item.number))

    def begin_register(self, origin: str, replaces: Checkpoint) -> None:
        """Turn to the register of a new origin, where governance says that the one before was lost.

        Args:
            replaces: the last checkpoint that members hold of the register before, as governance names it.

        Raises:
            Misconfigured: this force holds a later one, or another one of that size.
        """
        row = self._one("SELECT origin, size, root FROM checkpoint ORDER BY time DESC LIMIT 1")
        if row is None or self.accepted(origin).size:
            return
        if row[1] > replaces.size or (row[1] == replaces.size and row[2] != replaces.root):
            raise Misconfigured(
                f"the manifest replaces the register {row[0]} at {replaces.size} leaves, but this force has accepted "
                f"a checkpoint of {row[1]} leaves that is not its beginning",
                hint="give governance this force's checkpoint: what stands behind it must not be lost",
            )
        self.distrust()

    # Receipts and statements on their way

    def unproven(self, most: int = 500) -> list[Unproven]:
        """What lies in the outbox: statements first, each kind by its number."""
        found: list[Unproven] = []
        for table, statement in _WAITING:
            rows = self._all(statement, most)
            found += [Unproven(table, number, codec.decode_envelope(data), at) for number, data, at in rows]
        return found[:most]

    def oldest_unproven(self) -> int | None:
        """When the oldest receipt or statement in the outbox was made; None where the outbox is empty."""
        row = self._one(_OLDEST)
        return None if row is None or row[0] is None else int(row[0])

    def distrust(self) -> None:
        """Put everything back into the outbox: the register that it was shown in is lost."""
        with self._transaction() as connection:
            connection.execute("UPDATE charge SET leaf = NULL")
            connection.execute("UPDATE statement SET leaf = NULL")

    # Budget statements

    def stated(self, domain: str) -> Stated | None:
        """The domain's newest budget statement."""
        row = self._one("SELECT envelope FROM statement WHERE domain = ? ORDER BY number DESC LIMIT 1", domain)
        if row is None:
            return None
        envelope = codec.decode_envelope(row[0])
        statement = codec.decode(BudgetStatement, envelope.payload)
        return Stated(statement.number, payload_hash(envelope), Limits.stated(statement))

    def statement_hash(self, number: int) -> Digest | None:
        """Payload hash of the budget statement with this number, if there is one."""
        row = self._one("SELECT payload_hash FROM statement WHERE number = ?", number)
        return None if row is None else Digest(row[0])

    def next_statement(self) -> tuple[int, Digest]:
        """Number of the force's next budget statement, and the payload hash of the one before."""
        row = self._one("SELECT number, payload_hash FROM statement ORDER BY number DESC LIMIT 1")
        return (1, NO_DIGEST) if row is None else (row[0] + 1, Digest(row[1]))

    def state(self, statement: BudgetStatement, envelope: Envelope, now: int) -> None:
        """Record a signed budget statement; it governs every later charge."""
        encoded = codec.encode_envelope(envelope)
        values = (statement.number, statement.domain, encoded, payload_hash(envelope), now)
        with self._transaction() as connection:
            connection.execute("INSERT INTO statement VALUES (?, ?, ?, ?, ?, NULL)", values)
            self._append("statement", encoded, now)

    # Evidence

    def keep_evidence(self, what: str, parts: Iterable[bytes], now: int) -> None:
        """Keep what shows that somebody lied; the same thing is kept once."""
        with self._transaction() as connection:
            for part in parts:
                if self._one("SELECT 1 FROM evidence WHERE bytes = ?", part) is None:
                    connection.execute("INSERT INTO evidence VALUES (?, ?, ?)", (now, what, part))

    def evidence(self) -> list[tuple[int, str, bytes]]:
        """(time, what it shows, signed bytes) of everything kept as evidence."""
        return [(at, what, data) for at, what, data in self._all("SELECT at, what, bytes FROM evidence ORDER BY at")]

    def _check_statements(self) -> None:
        """The statements that budgets are published by are those of the chain.

        Raises:
            Misconfigured: they are not.
        """
        chained = [row[0] for row in self._all("SELECT payload FROM entry WHERE kind = 'statement' ORDER BY number")]
        if chained != [row[0] for row in self._all("SELECT envelope FROM statement ORDER BY number")]:
            raise Misconfigured("the ledger's budget statements are not those of its chain", hint=DAMAGED)


def statement_of(
    limits: Limits, *, force: str, domain: str, number: int, previous: Digest, after_receipt: int, now: int
) -> BudgetStatement:
    """What a force states about a budget domain."""
    return BudgetStatement(
        force=force,
        number=number,
        previous=previous,
        domain=domain,
        period_limit=limits.period,
        lifetime_limit=limits.lifetime,
        analyst_limit=limits.analyst,
        purpose_limit=limits.purpose,
        query_limit=limits.query,
        failed_limit=limits.failed,
        after_receipt=after_receipt,
        stated_at=now,
    )
