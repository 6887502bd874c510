"""A force's ledger: what was decided, charged and sent, durable and hash-chained.

One SQLite file, one writer. A charge, its signed receipt and the exact bytes that are to leave commit
in one transaction; only then may anything leave. Numbers of receipts are consecutive and each names
the one before, so the force can neither hide nor forge a charge. The file is never created by a
serving node: a mistyped path would hand out a fresh budget over the same people.

Entry format: hash = SHA-256 over the tag `cordon/v1/ledger-entry`, number, previous hash, kind, time
and payload (`units.tagged_digest`; integers as 8 bytes, little-endian).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cordon.envelope import Envelope
from cordon.errors import Declined, Malformed, Misconfigured
from cordon.register.leaf import NO_DIGEST, DeclineCode, Receipt
from cordon.register.spending import Limits
from cordon.units import Digest, Rho, tagged_digest
from cordon.wire import codec

APPLICATION_ID = 0x434F5244
_DAMAGED = "keep the node stopped; an older copy must not be put back: see deploy/RUNBOOK.md, section 2.9"
MIGRATIONS = (
    """
    CREATE TABLE identity (force TEXT NOT NULL, created_at INTEGER NOT NULL, ledger_id BLOB NOT NULL);
    CREATE TABLE entry (
        number INTEGER PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL,
        payload BLOB NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL
    );
    CREATE TABLE query (
        query_hash BLOB PRIMARY KEY, envelope BLOB NOT NULL, certificate BLOB NOT NULL,
        analyst TEXT NOT NULL, answer BLOB NOT NULL, outcome TEXT NOT NULL, code TEXT NOT NULL,
        text TEXT NOT NULL, decided_at INTEGER NOT NULL, expires INTEGER NOT NULL
    );
    CREATE TABLE charge (
        number INTEGER PRIMARY KEY, query_hash BLOB NOT NULL, attempt INTEGER NOT NULL,
        transcript_hash BLOB NOT NULL, receipt BLOB NOT NULL, receipt_hash BLOB NOT NULL,
        domain TEXT NOT NULL, period INTEGER NOT NULL, rho INTEGER NOT NULL CHECK (rho >= 0),
        period_sum INTEGER NOT NULL, lifetime_sum INTEGER NOT NULL, at INTEGER NOT NULL,
        UNIQUE (query_hash, attempt)
    );
    CREATE TABLE outgoing (
        query_hash BLOB NOT NULL, attempt INTEGER NOT NULL, position INTEGER NOT NULL,
        ciphertext BLOB NOT NULL, expires INTEGER NOT NULL,
        PRIMARY KEY (query_hash, attempt, position)
    );
    CREATE INDEX query_by_analyst ON query (analyst, decided_at);
    CREATE TABLE manifest (version INTEGER PRIMARY KEY, digest BLOB NOT NULL, accepted_at INTEGER NOT NULL);
    """,
)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one budget domain has spent, after its newest charge."""

    period: int
    """Number of the newest period that anything was charged to."""
    in_period: Rho
    lifetime: Rho


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


def create_ledger(path: Path, *, force: str, now: int) -> None:
    """Create an empty ledger for a force. Done once, by an officer, never by a serving node.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    if path.exists():
        raise Misconfigured(f"{path} exists already; a ledger is never overwritten")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise Misconfigured(f"cannot create the ledger {path}: {error.strerror}") from None
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for version, script in enumerate(MIGRATIONS, start=1):
            connection.executescript(f"BEGIN; {script} PRAGMA user_version = {version}; COMMIT;")
        connection.execute("INSERT INTO identity VALUES (?, ?, ?)", (force, now, os.urandom(32)))
    finally:
        connection.close()


class Ledger:
    """The open ledger of a serving node; safe to use from several threads.

    Reservations are held in memory only: they guard what is left of a budget between a Ready note
    and its commit, and without the ephemeral key, which a restart loses, there is no commit.
    """

    def __init__(self, path: Path, *, force: str, read_only: bool = False) -> None:
        """Open a ledger and check that it is whole and this force's.

        Args:
            read_only: only to look; another process may be the writer.

        Raises:
            Misconfigured: missing, truncated, foreign, newer, broken in its chain, or open elsewhere.
        """
        if not path.is_file():
            raise Misconfigured(
                f"there is no ledger at {path}",
                hint="if this force is new, create it with 'cordon node create-ledger'; else correct the path",
            )
        self._lock = threading.RLock()
        self._reserved: dict[tuple[Digest, int], tuple[str, Rho, int]] = {}
        mode = "ro" if read_only else "rw"
        with ExitStack() as opened:
            self._guard = None if read_only else _claim(path)
            if self._guard is not None:
                opened.callback(os.close, self._guard)
            try:
                self._connection = sqlite3.connect(
                    f"file:{path}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
                )
                opened.callback(self._connection.close)
                self._connection.execute("PRAGMA synchronous = FULL")
                self._check(path, force)
            except (sqlite3.DatabaseError, Malformed) as error:
                raise Misconfigured(f"{path} is not a whole ledger: {error}", hint=_DAMAGED) from None
            # Whole, and this force's: both stay open.
            opened.pop_all()

    def close(self) -> None:
        """Close the file and let another process open it."""
        with self._lock:
            self._connection.close()
            if self._guard is not None:
                os.close(self._guard)
                self._guard = None

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

    def spent(self, domain: str) -> Spent:
        """What a budget domain has spent."""
        row = self._one(
            "SELECT period, period_sum, lifetime_sum FROM charge WHERE domain = ? ORDER BY number DESC LIMIT 1", domain
        )
        return Spent(0, Rho(0), Rho(0)) if row is None else Spent(row[0], Rho(row[1]), Rho(row[2]))

    def left(self, domain: str, limits: Limits, period: int, now: int) -> Rho:
        """What a domain could still spend now, reservations taken off."""
        with self._lock:
            spent = self.spent(domain)
            # A clock that went back must not reopen a period that has passed.
            in_period = spent.in_period.nano if period <= spent.period else 0
            held = sum(rho.nano for of, rho, until in self._reserved.values() if of == domain and until > now)
            left = min(limits.period.nano - in_period, limits.lifetime.nano - spent.lifetime.nano) - held
            return Rho(max(0, left))

    def reserve(
        self,
        query_hash: Digest,
        attempt: int,
        *,
        domain: str,
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
            if self.left(domain, limits, period, now) < rho:
                raise Declined(DeclineCode.BUDGET.words, "the query would cost more than is left of the budget")
            self._reserved[query_hash, attempt] = (domain, rho, until)

    def release(self, query_hash: Digest) -> None:
        """Let every reservation for a query go."""
        with self._lock:
            for name in [name for name in self._reserved if name[0] == query_hash]:
                del self._reserved[name]

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
        domain: str,
        rho: Rho,
        limits: Limits,
        period: int,
        transcript_hash: Digest,
        ciphertexts: list[bytes],
        expires: int,
        now: int,
        make_receipt: Callable[[Position], tuple[Envelope, Digest]],
    ) -> Contribution:
        """Charge, receipt and the bytes to send, in one durable transaction.

        Args:
            make_receipt: signs the receipt for its position; returns it and its payload's SHA-256.

        Raises:
            Declined: the attempt was committed before, or less than `rho` is left. Nothing changes.
        """
        with self._transaction() as connection:
            if self._one("SELECT 1 FROM charge WHERE query_hash = ? AND attempt = ?", query_hash, attempt):
                raise Declined(DeclineCode.ROSTER.words, "this attempt was already contributed to")
            self._reserved.pop((query_hash, attempt), None)
            if self.left(domain, limits, period, now) < rho:
                raise Declined(DeclineCode.BUDGET.words, "the query would cost more than is left of the budget")
            position = self._next(domain, rho, period)
            receipt, receipt_hash = make_receipt(position)
            encoded = codec.encode_envelope(receipt)
            connection.execute(
                "INSERT INTO charge VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    position.number,
                    query_hash,
                    attempt,
                    transcript_hash,
                    encoded,
                    receipt_hash,
                    domain,
                    position.period,
                    rho.nano,
                    position.period_sum.nano,
                    position.lifetime_sum.nano,
                    now,
                ),
            )
            connection.executemany(
                "INSERT INTO outgoing VALUES (?, ?, ?, ?, ?)",
                [(query_hash, attempt, at, chunk, expires) for at, chunk in enumerate(ciphertexts)],
            )
            self._append("charge", encoded, now)
        return Contribution(transcript_hash, receipt, tuple(ciphertexts))

    def forget_expired(self, now: int) -> None:
        """Delete the sent bytes of expired queries; charges and receipts stay for ever."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM outgoing WHERE expires <= ?", (now,))

    @property
    def sequence(self) -> int:
        """Number of the newest receipt; 0 before the first."""
        row = self._one("SELECT coalesce(max(number), 0) FROM charge")
        return 0 if row is None else int(row[0])

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

    # Internals

    def _check(self, path: Path, force: str) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID or version < 1:
            raise Misconfigured(f"{path} is not a Cordon ledger")
        if version > len(MIGRATIONS):
            raise Misconfigured(f"{path} was written by a newer version of Cordon", hint="upgrade this node")
        (owner,) = self._connection.execute("SELECT force FROM identity").fetchone() or ("nobody",)
        if owner != force:
            raise Misconfigured(f"{path} is the ledger of {owner}, not of {force}")
        self._check_chain(path)
        self._check_charges(path)

    def _check_charges(self, path: Path) -> None:
        """The charges that budgets are read from are those whose receipts stand in the chain."""
        chained = [row[0] for row in self._all("SELECT payload FROM entry WHERE kind = 'charge' ORDER BY number")]
        rows = self._all("SELECT receipt, domain, period, rho, period_sum, lifetime_sum FROM charge ORDER BY number")
        for number, (payload, row) in enumerate(zip_longest(chained, rows), start=1):
            if payload is None or row is None or row[0] != payload or row[1:] != _charged(payload):
                raise Misconfigured(
                    f"{path}: charge {number} is not what its receipt says: the ledger was altered",
                    hint=_DAMAGED,
                )

    def _check_chain(self, path: Path) -> None:
        previous = NO_DIGEST
        entries = self._connection.execute(
            "SELECT number, kind, at, payload, previous, hash FROM entry ORDER BY number"
        )
        for expected, (number, kind, at, payload, before, digest) in enumerate(entries, start=1):
            if number != expected or before != previous or entry_hash(number, previous, kind, at, payload) != digest:
                raise Misconfigured(
                    f"{path}: entry {expected} does not follow from the one before: the ledger was altered",
                    hint=_DAMAGED,
                )
            previous = Digest(digest)

    def _next(self, domain: str, rho: Rho, period: int) -> Position:
        row = self._one("SELECT number, receipt_hash FROM charge ORDER BY number DESC LIMIT 1")
        number, previous = (0, NO_DIGEST) if row is None else (row[0], Digest(row[1]))
        spent = self.spent(domain)
        newest = max(period, spent.period)
        before = spent.in_period if newest == spent.period else Rho(0)
        return Position(number + 1, previous, newest, before + rho, spent.lifetime + rho)

    def _append(self, kind: str, payload: bytes, now: int) -> None:
        row = self._one("SELECT number, hash FROM entry ORDER BY number DESC LIMIT 1")
        number, previous = (1, NO_DIGEST) if row is None else (row[0] + 1, Digest(row[1]))
        digest = entry_hash(number, previous, kind, now, payload)
        self._connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", (number, kind, now, payload, previous, digest)
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._all(statement, *values)
        return rows[0] if rows else None

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()


def entry_hash(number: int, previous: Digest, kind: str, at: int, payload: bytes) -> Digest:
    """Hash of one ledger entry, which names everything before it."""
    return tagged_digest(
        "cordon/v1/ledger-entry",
        number.to_bytes(8, "little"),
        previous,
        kind.encode(),
        at.to_bytes(8, "little"),
        payload,
    )


def _charged(encoded: bytes) -> tuple[str, int, int, int, int]:
    receipt = codec.decode(Receipt, codec.decode_envelope(encoded).payload)
    return receipt.domain, receipt.period, receipt.rho.nano, receipt.period_sum.nano, receipt.lifetime_sum.nano


def _claim(path: Path) -> int:
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise Misconfigured(f"{path} is in use by another node process", hint="stop it first") from None
    return handle
