"""A force's ledger: what was decided, charged and sent, durable and hash-chained.

A charge, its signed receipt and the exact bytes that are to leave commit in one transaction; only then
may anything leave. Numbers of receipts are consecutive and each names the one before, so the force can
neither hide nor forge a charge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from cordon.envelope import Envelope
from cordon.errors import Declined, Misconfigured
from cordon.register.leaf import NO_DIGEST, BudgetStatement, DeclineCode, Receipt
from cordon.register.merkle import leaf_hash
from cordon.register.spending import Limits, Room, Spender, Spending
from cordon.units import Digest, Rho
from cordon.wire import codec
from cordon.wire.signed import payload_hash
from node.ledgerfile import DAMAGED
from node.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is held for one attempt, until it is charged or the time has passed."""

    spender: Spender
    rho: Rho
    until: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next receipt stands."""

    number: int
    previous: Digest
    period: int
    period_sum: Rho
    lifetime_sum: Rho


@dataclass(frozen=True, slots=True)
class Contribution:
    """What left, or is about to leave, for one attempt: the same bytes each time."""

    transcript_hash: Digest
    receipt: Envelope
    ciphertexts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as it was first made, to be sent again word for word."""

    envelope: Envelope
    certificate: bytes
    answer: bytes
    """Encoded NodeAnswer, without a Ready note."""
    outcome: str


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One query that this force was asked, for people."""

    query_hash: Digest
    analyst: str
    outcome: str
    code: str
    text: str
    decided_at: int
    envelope: Envelope
    charges: tuple[tuple[int, Rho], ...]
    """(receipt number, rho) of each attempt that was charged."""


class Ledger(Outbox):
    """The open ledger of a force; safe to use from several threads.

    Reservations are held in memory only: they guard what is left of a budget between a Ready note
    and its commit, and without the ephemeral key, which a restart loses, there is no commit.
    """

    def __init__(self, path: Path, *, force: str, read_only: bool = False) -> None:
        """Open a ledger, check that it is whole and this force's, and add up what was spent.

        Args:
            read_only: only to look; another process may be the writer.

        Raises:
            Misconfigured: missing, truncated, foreign, newer, broken in its chain, or open elsewhere.
        """
        self._reserved: dict[tuple[Digest, int], Reservation] = {}
        self.spending = Spending()
        """What was charged, by domain, period, analyst, purpose and query."""
        super().__init__(path, force=force, read_only=read_only)

    # Decisions

    def decision(self, query_hash: Digest) -> StoredDecision | None:
        """The decision that was made on a query, if one was."""
        row = self._one("SELECT envelope, certificate, answer, outcome FROM query WHERE query_hash = ?", query_hash)
        return None if row is None else StoredDecision(codec.decode_envelope(row[0]), row[1], row[2], row[3])

    def record_decision(
        self,
        query_hash: Digest,
        envelope: Envelope,
        *,
        certificate: bytes,
        analyst: str,
        answer: bytes,
        outcome: str,
        code: DeclineCode,
        text: str,
        now: int,
        expires: int,
    ) -> None:
        """Record what was decided; replaces a decision that was waiting."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO query VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    query_hash,
                    codec.encode_envelope(envelope),
                    certificate,
                    analyst,
                    answer,
                    outcome,
                    code.words,
                    text,
                    now,
                    expires,
                ),
            )
            self._append("decision", answer, now)

    def decisions_since(self, analyst: str, since: int) -> int:
        """How many queries of an analyst were decided at or after a time."""
        row = self._one("SELECT count(*) FROM query WHERE analyst = ? AND decided_at >= ?", analyst, since)
        return 0 if row is None else int(row[0])

    def waiting(self, now: int) -> list[Digest]:
        """Queries that wait for a person and have not expired."""
        rows = self._all("SELECT query_hash FROM query WHERE outcome = 'AWAITING_APPROVAL' AND expires > ?", now)
        return [Digest(row[0]) for row in rows]

    def waiting_of(self, analyst: str, now: int) -> int:
        """How many queries of an analyst wait for a person and have not expired."""
        row = self._one(
            "SELECT count(*) FROM query WHERE analyst = ? AND outcome = 'AWAITING_APPROVAL' AND expires > ?",
            analyst,
            now,
        )
        return 0 if row is None else int(row[0])

    def end_waiting(self, query_hash: Digest, now: int) -> None:
        """A query has ended before a person decided about it; nothing changes for one that does not wait."""
        with self._transaction() as connection:
            ended = connection.execute(
                "UPDATE query SET outcome = 'ENDED' WHERE query_hash = ? AND outcome = 'AWAITING_APPROVAL'",
                (query_hash,),
            )
            if ended.rowcount:
                self._append("ended", query_hash, now)

    # Budget

    def period(self, domain: str, calendar: int, *, agreed: bool) -> int:
        """The budget period that a charge falls in.

        Args:
            calendar: the period that this force's clock shows.
            agreed: whether clock and register agree on the time; else no new period begins.

        Raises:
            Declined: nothing was ever charged, and clock and register do not agree.
        """
        newest = self.spending.period(domain)
        if calendar <= newest:
            return newest
        if agreed:
            return calendar
        if newest == 0:
            raise Declined(DeclineCode.FAULT.words, "this force's clock and the register's time do not agree")
        return newest

    def room(self, spender: Spender, limits: Limits, period: int, now: int) -> Room:
        """What a spender could still be charged, other reservations taken off."""
        with self._lock:
            held = [(item.spender, item.rho) for item in self._reserved.values() if item.until > now]
            # A clock that went back must not reopen a period that has passed.
            newest = max(period, self.spending.period(spender.domain))
            return self.spending.room(spender, newest, limits, held)

    def reserve(
        self,
        query_hash: Digest,
        attempt: int,
        *,
        spender: Spender,
        rho: Rho,
        limits: Limits,
        period: int,
        until: int,
        now: int,
    ) -> None:
        """Hold `rho` for one attempt until it is charged or `until` has passed.

        Raises:
            Declined: less than `rho` is left; nothing is held.
        """
        with self._lock:
            self._reserved.pop((query_hash, attempt), None)
            self._check_room(spender, rho, limits, period, now)
            self._reserved[query_hash, attempt] = Reservation(spender, rho, until)

    def release(self, query_hash: Digest) -> None:
        """Let every reservation for a query go."""
        with self._lock:
            for name in [name for name in self._reserved if name[0] == query_hash]:
                del self._reserved[name]

    def _check_room(self, spender: Spender, rho: Rho, limits: Limits, period: int, now: int) -> None:
        room = self.room(spender, limits, period, now)
        if room.left < rho:
            raise Declined(DeclineCode.BUDGET.words, f"the query would cost more than is left of {room.under}")

    # Failures

    def record_failure(self, query_hash: Digest, attempt: int, missing: tuple[str, ...], now: int) -> None:
        """Record that an attempt that this force was charged for has failed; once, and only if it was charged.

        Args:
            missing: forces that did not contribute, as far as the coordinator has named them.
        """
        row = self._one(
            "SELECT domain, period, rho, roster FROM charge WHERE query_hash = ? AND attempt = ?", query_hash, attempt
        )
        known = self._one("SELECT 1 FROM failure WHERE query_hash = ? AND attempt = ?", query_hash, attempt)
        if row is None or known is not None:
            return
        # Only who was on the roster can have been missing, and not the one who was charged.
        names = " ".join(sorted(set(missing) & set((row[3] or "").split())))
        with self._lock:
            with self._transaction() as connection:
                connection.execute("INSERT INTO failure VALUES (?, ?, ?, ?, ?)", (query_hash, attempt, names, *row[:2]))
                self._append("failure", query_hash + attempt.to_bytes(4, "little") + names.encode(), now)
            self.spending.add_failed(row[0], row[1], Rho(row[2]))

    def charged_before(self, query_hash: Digest, attempt: int) -> list[int]:
        """Earlier attempts of a query that this force was charged for."""
        rows = self._all("SELECT attempt FROM charge WHERE query_hash = ? AND attempt < ?", query_hash, attempt)
        return [row[0] for row in rows]

    def failing(self, period: int) -> frozenset[str]:
        """Forces that were named in a failed attempt of this period that this force was charged for."""
        rows = self._all("SELECT missing FROM failure WHERE period = ?", period)
        return frozenset(force for row in rows for force in row[0].split())

    # Charges

    def contribution(self, query_hash: Digest, attempt: int) -> Contribution | None:
        """What was committed for an attempt, if anything was."""
        row = self._one(
            "SELECT transcript_hash, receipt FROM charge WHERE query_hash = ? AND attempt = ?", query_hash, attempt
        )
        if row is None:
            return None
        chunks = self._all(
            "SELECT ciphertext FROM outgoing WHERE query_hash = ? AND attempt = ? ORDER BY position",
            query_hash,
            attempt,
        )
        return Contribution(Digest(row[0]), codec.decode_envelope(row[1]), tuple(chunk[0] for chunk in chunks))

    def commit(
        self,
        query_hash: Digest,
        attempt: int,
        *,
        spender: Spender,
        rho: Rho,
        limits: Limits,
        period: int,
        transcript_hash: Digest,
        ciphertexts: list[bytes],
        expires: int,
        now: int,
        others: tuple[str, ...] = (),
        make_receipt: Callable[[Position], tuple[Envelope, Receipt]],
        check: Callable[[], None],
    ) -> Contribution:
        """Charge, receipt and the bytes to send, in one durable transaction.

        Args:
            others: the other forces of the roster.
            make_receipt: makes and signs the receipt for its position.
            check: raises Declined where the node must not commit any more, e.g. because it was paused.

        Raises:
            Declined: the attempt was committed before, or less than `rho` is left. Nothing changes.
        """
        with self._lock:
            with self._transaction() as connection:
                check()
                if self._one("SELECT 1 FROM charge WHERE query_hash = ? AND attempt = ?", query_hash, attempt):
                    raise Declined(DeclineCode.ROSTER.words, "this attempt was already contributed to")
                self._reserved.pop((query_hash, attempt), None)
                self._check_room(spender, rho, limits, period, now)
                position = self._next(spender.domain, rho, period)
                envelope, receipt = make_receipt(position)
                encoded = codec.encode_envelope(envelope)
                connection.execute(
                    "INSERT INTO charge VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
                    (
                        position.number,
                        query_hash,
                        attempt,
                        transcript_hash,
                        encoded,
                        payload_hash(envelope),
                        spender.domain,
                        position.period,
                        rho.nano,
                        position.period_sum.nano,
                        position.lifetime_sum.nano,
                        now,
                        " ".join(others),
                    ),
                )
                connection.executemany(
                    "INSERT INTO outgoing VALUES (?, ?, ?, ?, ?)",
                    [(query_hash, attempt, at, chunk, expires) for at, chunk in enumerate(ciphertexts)],
                )
                self._append("charge", encoded, now)
            self.spending.add(receipt)
        return Contribution(transcript_hash, envelope, tuple(ciphertexts))

    def forget_expired(self, now: int) -> None:
        """Delete the sent bytes of expired queries whose receipts are proven; charges and receipts stay for ever."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM outgoing WHERE expires <= ? AND (query_hash, attempt) IN "
                "(SELECT query_hash, attempt FROM charge WHERE leaf IS NOT NULL)",
                (now,),
            )

    @property
    def sequence(self) -> int:
        """Number of the newest receipt; 0 before the first."""
        row = self._one("SELECT coalesce(max(number), 0) FROM charge")
        return 0 if row is None else int(row[0])

    def restore(self, statements: list[tuple[int, Envelope]], receipts: list[tuple[int, Envelope]], now: int) -> None:
        """Fill an empty ledger with what the register holds of it: (leaf, envelope) of each, in order of number."""
        with self._transaction() as connection:
            for leaf, envelope in statements:
                statement, encoded = codec.decode(BudgetStatement, envelope.payload), codec.encode_envelope(envelope)
                row = (statement.number, statement.domain, encoded, payload_hash(envelope), now, leaf)
                connection.execute("INSERT INTO statement VALUES (?, ?, ?, ?, ?, ?)", row)
                self._append("statement", encoded, now)
            for leaf, envelope in receipts:
                encoded = codec.encode_envelope(envelope)
                receipt = _receipt(encoded)
                named = (receipt.query_hash, receipt.attempt, receipt.transcript_hash)
                values = (receipt.number, *named, encoded, payload_hash(envelope), *_charged(receipt), now, leaf)
                connection.execute("INSERT INTO charge VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)", values)
                self._append("charge", encoded, now)

    # Manifests

    def accept_manifest(self, version: int, digest: Digest, now: int) -> None:
        """Remember the manifest that this node starts with.

        Raises:
            Misconfigured: a newer one was accepted before, or another one of the same version.
        """
        row = self._one("SELECT version, digest FROM manifest ORDER BY version DESC LIMIT 1")
        if row is not None and row[0] > version:
            raise Misconfigured(
                f"the manifest is version {version}, but this node has accepted version {row[0]}",
                hint="install the newest manifest; an older one is never taken back",
            )
        if row is not None and row[0] == version:
            if row[1] != digest:
                raise Misconfigured(f"another manifest of version {version} was accepted before")
            return
        with self._transaction() as connection:
            connection.execute("INSERT INTO manifest VALUES (?, ?, ?)", (version, digest, now))
            self._append("manifest", version.to_bytes(8, "little") + digest, now)

    # For people

    def note(self, kind: str, payload: bytes, now: int) -> None:
        """Append an entry that changes no budget: an officer's verdict or pause."""
        with self._transaction():
            self._append(kind, payload, now)

    def notes(self, kind: str) -> list[tuple[int, bytes]]:
        """(time, payload) of every entry of a kind, oldest first."""
        return self._all("SELECT at, payload FROM entry WHERE kind = ? ORDER BY number", kind)

    def receipts(self) -> list[tuple[int, Envelope]]:
        """(time, signed receipt) of every charge, oldest first."""
        rows = self._all("SELECT at, receipt FROM charge ORDER BY number")
        return [(at, codec.decode_envelope(receipt)) for at, receipt in rows]

    def history(self) -> list[HistoryRow]:
        """Everything that was ever asked of this force, oldest first."""
        charges: dict[bytes, list[tuple[int, Rho]]] = {}
        for query_hash, number, rho in self._all("SELECT query_hash, number, rho FROM charge ORDER BY number"):
            charges.setdefault(query_hash, []).append((number, Rho(rho)))
        rows = self._all(
            "SELECT query_hash, analyst, outcome, code, text, decided_at, envelope FROM query ORDER BY decided_at"
        )
        return [
            HistoryRow(
                query_hash=Digest(query_hash),
                analyst=analyst,
                outcome=outcome,
                code=code,
                text=text,
                decided_at=decided_at,
                envelope=codec.decode_envelope(envelope),
                charges=tuple(charges.get(query_hash, ())),
            )
            for query_hash, analyst, outcome, code, text, decided_at, envelope in rows
        ]

    def receipt_before_newest(self, back: int) -> Digest | None:
        """Hash as a leaf of the receipt that stands `back` numbers before the newest; None where there are fewer."""
        row = self._one("SELECT receipt FROM charge ORDER BY number DESC LIMIT 1 OFFSET ?", back)
        return None if row is None else leaf_hash(row[0])

    def receipt_hash(self, number: int) -> Digest | None:
        """Payload hash of the receipt with this number, if there is one."""
        row = self._one("SELECT receipt_hash FROM charge WHERE number = ?", number)
        return None if row is None else Digest(row[0])

    # Internals

    def _check_content(self, path: Path) -> None:
        """The charges that budgets are read from are those whose receipts stand in the chain."""
        chained = [row[0] for row in self._all("SELECT payload FROM entry WHERE kind = 'charge' ORDER BY number")]
        rows = self._all("SELECT receipt, domain, period, rho, period_sum, lifetime_sum FROM charge ORDER BY number")
        for number, (payload, row) in enumerate(zip_longest(chained, rows), start=1):
            receipt = None if payload is None else _receipt(payload)
            if receipt is None or row is None or row[0] != payload or row[1:] != _charged(receipt):
                raise Misconfigured(
                    f"{path}: charge {number} is not what its receipt says: the ledger was altered", hint=DAMAGED
                )
            self.spending.add(receipt)
        failures = (
            "SELECT domain, period, sum(rho) FROM failure JOIN charge USING (query_hash, attempt, domain, period) "
            "GROUP BY domain, period"
        )
        for domain, period, rho in self._all(failures):
            self.spending.add_failed(domain, period, Rho(rho))
        self._check_statements()

    def _next(self, domain: str, rho: Rho, period: int) -> Position:
        row = self._one("SELECT number, receipt_hash FROM charge ORDER BY number DESC LIMIT 1")
        number, previous = (0, NO_DIGEST) if row is None else (row[0], Digest(row[1]))
        spending = self.spending
        period = max(period, spending.period(domain))
        return Position(
            number + 1, previous, period, spending.in_period(domain, period) + rho, spending.lifetime(domain) + rho
        )


def _receipt(encoded: bytes) -> Receipt:
    return codec.decode(Receipt, codec.decode_envelope(encoded).payload)


def _charged(receipt: Receipt) -> tuple[str, int, int, int, int]:
    return receipt.domain, receipt.period, receipt.rho.nano, receipt.period_sum.nano, receipt.lifetime_sum.nano
