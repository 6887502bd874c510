"""The file of a ledger: one writer, a hash chain of entries, and migrations.

The file is never created by a serving node: a mistyped path would hand out a fresh budget over the same
people. It is checked as a whole whenever it is opened.

Entry format: hash = SHA-256 over the tag `cordon/v1/ledger-entry`, number, previous hash, kind, time
and payload (`units.tagged_digest`; integers as 8 bytes, little-endian).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cordon.errors import Malformed, Misconfigured
from cordon.register.leaf import NO_DIGEST
from cordon.units import Digest, tagged_digest

APPLICATION_ID = 0x434F5244
DAMAGED = "keep the node stopped; an older copy must not be put back: see deploy/RUNBOOK.md, section 2.9"
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
    """
    CREATE TABLE failure (query_hash BLOB NOT NULL, attempt INTEGER NOT NULL, missing TEXT NOT NULL,
        domain TEXT NOT NULL, period INTEGER NOT NULL, PRIMARY KEY (query_hash, attempt));
    CREATE TABLE statement (number INTEGER PRIMARY KEY, domain TEXT NOT NULL, envelope BLOB NOT NULL,
        payload_hash BLOB NOT NULL, at INTEGER NOT NULL, leaf INTEGER);
    CREATE TABLE checkpoint (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL,
        time INTEGER NOT NULL, note BLOB NOT NULL);
    ALTER TABLE charge ADD COLUMN leaf INTEGER;
    ALTER TABLE charge ADD COLUMN roster TEXT;
    CREATE INDEX charge_unproven ON charge (at) WHERE leaf IS NULL;
    CREATE TABLE evidence (at INTEGER NOT NULL, what TEXT NOT NULL, bytes BLOB NOT NULL);
    """,
)


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


class LedgerFile:
    """An open ledger file; safe to use from several threads."""

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
                self._check(path, force, read_only=read_only)
            except (sqlite3.DatabaseError, Malformed) as error:
                raise Misconfigured(f"{path} is not a whole ledger: {error}", hint=DAMAGED) from None
            # Whole, and this force's: both stay open.
            opened.pop_all()

    def close(self) -> None:
        """Close the file and let another process open it."""
        with self._lock:
            self._connection.close()
            if self._guard is not None:
                os.close(self._guard)
                self._guard = None

    # Internals

    def _check(self, path: Path, force: str, *, read_only: bool) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID or version < 1:
            raise Misconfigured(f"{path} is not a Cordon ledger")
        if version > len(MIGRATIONS):
            raise Misconfigured(f"{path} was written by a newer version of Cordon", hint="upgrade this node")
        (owner,) = self._connection.execute("SELECT force FROM identity").fetchone() or ("nobody",)
        if owner != force:
            raise Misconfigured(f"{path} is the ledger of {owner}, not of {force}")
        if version < len(MIGRATIONS):
            self._migrate(path, version, read_only=read_only)
        self._check_chain(path)
        self._check_content(path)

    def _migrate(self, path: Path, version: int, *, read_only: bool) -> None:
        if read_only:
            raise Misconfigured(
                f"{path} is from an older version of Cordon", hint="start the node once; it upgrades it"
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            self._connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")

    def _check_content(self, path: Path) -> None:
        """What else must hold of a whole file; for whoever gives its rows a meaning."""

    def _check_chain(self, path: Path) -> None:
        previous = NO_DIGEST
        entries = self._connection.execute(
            "SELECT number, kind, at, payload, previous, hash FROM entry ORDER BY number"
        )
        for expected, (number, kind, at, payload, before, digest) in enumerate(entries, start=1):
            if number != expected or before != previous or entry_hash(number, previous, kind, at, payload) != digest:
                raise Misconfigured(
                    f"{path}: entry {expected} does not follow from the one before: the ledger was altered",
                    hint=DAMAGED,
                )
            previous = Digest(digest)

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


def _claim(path: Path) -> int:
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise Misconfigured(f"{path} is in use by another node process", hint="stop it first") from None
    return handle
