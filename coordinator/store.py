"""The coordinator's durable state: queries, where they stand, ciphertexts, and with them the register.

One SQLite file, one writer. Changes that wait at the same time share one transaction, each behind a
savepoint of its own; nothing is acknowledged before its transaction is durable.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from coordinator import register
from coordinator.register import Register
from coordinator.rounds import Round
from cordon.envelope import Envelope
from cordon.errors import CordonError, Malformed, Misconfigured, Unavailable
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.messages import Event, Ready

APPLICATION_ID = 0x434F5243
MIGRATIONS = (
    """
    CREATE TABLE federation (name TEXT NOT NULL, created_at INTEGER NOT NULL);
    CREATE TABLE leaf (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE query (
        query_hash BLOB PRIMARY KEY, envelope BLOB NOT NULL, certificate BLOB NOT NULL, public_key BLOB NOT NULL,
        analyst TEXT NOT NULL, wait INTEGER NOT NULL, submitted REAL NOT NULL, round TEXT NOT NULL,
        open INTEGER NOT NULL, closed REAL
    );
    CREATE INDEX query_by_analyst ON query (analyst, submitted);
    CREATE TABLE event (
        query_hash BLOB NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (query_hash, number)
    );
    CREATE TABLE ready (
        query_hash BLOB NOT NULL, attempt INTEGER NOT NULL, force TEXT NOT NULL, envelope BLOB NOT NULL,
        ephemeral_key BLOB NOT NULL, PRIMARY KEY (query_hash, attempt, force)
    );
    CREATE TABLE roster (
        query_hash BLOB NOT NULL, attempt INTEGER NOT NULL, transcript_hash BLOB NOT NULL, forces TEXT NOT NULL,
        PRIMARY KEY (query_hash, attempt)
    );
    CREATE TABLE contribution (
        query_hash BLOB NOT NULL, attempt INTEGER NOT NULL, force TEXT NOT NULL, receipt BLOB NOT NULL,
        PRIMARY KEY (query_hash, attempt, force)
    );
    CREATE TABLE ciphertext (
        query_hash BLOB NOT NULL, attempt INTEGER NOT NULL, force TEXT NOT NULL, position INTEGER NOT NULL,
        bytes BLOB NOT NULL, PRIMARY KEY (query_hash, attempt, force, position)
    );
    CREATE TABLE said (name BLOB PRIMARY KEY);
    CREATE TABLE cooldown (force TEXT PRIMARY KEY, until REAL NOT NULL);
    """,
    register.SCHEMA,
)
FORGOTTEN_SECONDS = 30 * 86_400.0
"""After which an attempt that a force made fail counts no more."""

THE_SUM = ""
"""Stands in a ciphertext's `force` for the sum of all."""

Result = TypeVar("Result")
Change = Callable[[], Result]

_ROUND = TypeAdapter(Round)


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """One query as it was submitted, and where it stands."""

    query_hash: Digest
    envelope: Envelope
    certificate: bytes
    public_key: bytes
    analyst: str
    wait: bool
    submitted: float
    round: Round


@dataclass(frozen=True, slots=True)
class StoredRoster:
    """An attempt's fixed roster."""

    transcript: Digest
    forces: tuple[str, ...]


def create_store(path: Path, *, federation: str, now: int) -> None:
    """Create an empty store, and with it an empty register. Done once, never by a serving coordinator.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise Misconfigured(f"{path} exists already; a register is never overwritten") from None
    except OSError as error:
        raise Misconfigured(f"cannot create the store {path}: {error.strerror}") from None
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for version, script in enumerate(MIGRATIONS, start=1):
            connection.executescript(f"BEGIN; {script} PRAGMA user_version = {version}; COMMIT;")
        connection.execute("INSERT INTO federation VALUES (?, ?)", (federation, now))
    finally:
        connection.close()


class Store:
    """The open store of a serving coordinator; used from one event loop."""

    def __init__(self, path: Path, *, federation: str, read_only: bool = False) -> None:
        """Open a store.

        Args:
            read_only: only to look, at how it stands now; another process may be the writer.

        Raises:
            Misconfigured: missing, truncated, foreign, newer, or open elsewhere.
        """
        if not path.is_file():
            raise Misconfigured(f"there is no store at {path}", hint="create it once: cordon coordinator init")
        self._guard = None if read_only else _claim(path)
        self._waiting: list[tuple[Change[Any], asyncio.Future[Any]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._changing = False
        try:
            self._connection = sqlite3.connect(
                f"file:{path}?mode={'ro' if read_only else 'rw'}", uri=True, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip
            self._connection.execute("PRAGMA synchronous = FULL")
            # What others are told is read here: it sees only what is durable.
            self._reader = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            if read_only:
                self._reader.execute("BEGIN")
            self._check(path, federation)
            self.register = Register(self._connection, self._rows)
        except sqlite3.DatabaseError as error:
            raise Misconfigured(f"{path} is not a whole store: {error}", hint="restore it from a backup") from None

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._connection.close()
        if self._guard is not None:
            os.close(self._guard)

    async def write(self, change: Change[Result]) -> Result:
        """Run `change`, and return its result once it is durable.

        Raises:
            CordonError: as `change` raises it; nothing of it remains.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await future

    def check(self) -> None:
        """Raise what has made a transaction fail; memory and disk may differ from then on.

        Raises:
            Misconfigured: the store could not be written: the coordinator must stop, and start from what is durable.
        """
        if self._fault is not None:
            raise Misconfigured(f"the store cannot be written: {self._fault}", hint="check the disk; then start again")

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                self.check()
                self._connection.execute("BEGIN IMMEDIATE")
                self._changing = True
                done = [(future, self._attempt(change)) for change, future in batch]
                self.register.grow()
                self._changing = False
                await asyncio.to_thread(self._connection.execute, "COMMIT")
                self.register.settle()
            except BaseException as error:
                self._changing = False
                self._fault = self._fault or error
                for _, future in batch:
                    if not future.done():
                        future.set_exception(Unavailable("the coordinator cannot store anything just now"))
                raise
            for future, (result, refusal) in done:
                if future.cancelled():
                    continue
                if refusal is not None:
                    future.set_exception(refusal)
                else:
                    future.set_result(result)
            # Those who waited for this batch go first: what they see is durable, nothing newer.
            await asyncio.sleep(0)

    def _attempt(self, change: Change[Any]) -> tuple[Any, CordonError | None]:
        self._connection.execute("SAVEPOINT change")
        try:
            result = change()
        except CordonError as error:
            self._connection.execute("ROLLBACK TO change")
            return None, error
        except OverflowError:
            # A number from the wire that no integer of SQLite's holds: it must not stop the coordinator.
            self._connection.execute("ROLLBACK TO change")
            return None, Malformed("a number is too large to be meant")
        finally:
            self._connection.execute("RELEASE change")
        return result, None

    # Queries

    def add_query(self, query: StoredQuery) -> None:
        """Store a new query."""
        self._connection.execute(
            "INSERT INTO query VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, NULL)",
            (
                query.query_hash,
                codec.encode_envelope(query.envelope),
                query.certificate,
                query.public_key,
                query.analyst,
                query.wait,
                query.submitted,
                _ROUND.dump_json(query.round).decode(),
            ),
        )

    def query(self, query_hash: Digest) -> StoredQuery | None:
        """A query, if it is known."""
        found = self._queries("WHERE query_hash = ?", query_hash)
        return found[0] if found else None

    def open_queries(self) -> list[StoredQuery]:
        """Queries that have neither completed nor ended."""
        return self._queries("WHERE open = 1 ORDER BY submitted")

    def open_of(self, analyst: str) -> int:
        """Open queries of one analyst."""
        return int(self._rows("SELECT count(*) FROM query WHERE open = 1 AND analyst = ?", analyst)[0][0])

    def submitted_since(self, analyst: str, since: float) -> int:
        """Queries that an analyst has submitted at or after a time."""
        return int(self._rows("SELECT count(*) FROM query WHERE analyst = ? AND submitted >= ?", analyst, since)[0][0])

    def update_round(self, query_hash: Digest, state: Round, *, is_open: bool, now: float) -> None:
        """Store where a query stands, and when it closed."""
        self._connection.execute(
            "UPDATE query SET round = ?, open = ?, closed = coalesce(closed, ?) WHERE query_hash = ?",
            (_ROUND.dump_json(state).decode(), is_open, None if is_open else now, query_hash),
        )

    def scrub(self, query_hash: Digest) -> bool:
        """Forget what a closed query asked; False while it is open."""
        cursor = self._connection.execute(
            "UPDATE query SET envelope = x'', certificate = x'', public_key = x'' WHERE query_hash = ? AND open = 0",
            (query_hash,),
        )
        return cursor.rowcount == 1

    # Events

    def add_event(self, query_hash: Digest, event: Event) -> None:
        """Store one more event for the analyst."""
        number = self._rows("SELECT count(*) FROM event WHERE query_hash = ?", query_hash)[0][0]
        self._connection.execute("INSERT INTO event VALUES (?, ?, ?)", (query_hash, number, codec.encode(event, Event)))

    def events(self, query_hash: Digest, start: int) -> list[Event]:
        """A query's events from number `start` on."""
        rows = self._reader.execute(
            "SELECT bytes FROM event WHERE query_hash = ? AND number >= ? ORDER BY number", (query_hash, start)
        )
        return [codec.decode(Event, row[0]) for row in rows]  # type: ignore[arg-type]

    # Attempts

    def note_said(self, name: Digest) -> bool:
        """Remember that something was said; False where it was remembered before."""
        cursor = self._connection.execute("INSERT OR IGNORE INTO said VALUES (?)", (name,))
        return cursor.rowcount == 1

    def put_ready(self, ready: Ready, envelope: Envelope) -> None:
        """Store a force's newest Ready note for an attempt."""
        self._connection.execute(
            "INSERT OR REPLACE INTO ready VALUES (?, ?, ?, ?, ?)",
            (ready.query_hash, ready.attempt, ready.force, codec.encode_envelope(envelope), ready.ephemeral_key),
        )

    def ready(self, query_hash: Digest, attempt: int, forces: tuple[str, ...]) -> tuple[Envelope, ...]:
        """The Ready notes of a roster, in its order."""
        rows = self._rows("SELECT force, envelope FROM ready WHERE query_hash = ? AND attempt = ?", query_hash, attempt)
        notes = {force: codec.decode_envelope(encoded) for force, encoded in rows}
        return tuple(notes[force] for force in forces)

    def ephemeral_keys(self, query_hash: Digest, attempt: int, but: str) -> dict[str, bytes]:
        """Ephemeral keys of the forces that are ready for an attempt, but for one."""
        statement = "SELECT force, ephemeral_key FROM ready WHERE query_hash = ? AND attempt = ? AND force <> ?"
        return dict(self._rows(statement, query_hash, attempt, but))

    def put_roster(self, query_hash: Digest, attempt: int, roster: StoredRoster) -> None:
        """Store a fixed roster."""
        self._connection.execute(
            "INSERT INTO roster VALUES (?, ?, ?, ?)",
            (query_hash, attempt, roster.transcript, " ".join(roster.forces)),
        )

    def roster(self, query_hash: Digest, attempt: int) -> StoredRoster | None:
        """The fixed roster of an attempt, if it was fixed."""
        rows = self._rows(
            "SELECT transcript_hash, forces FROM roster WHERE query_hash = ? AND attempt = ?", query_hash, attempt
        )
        return StoredRoster(Digest(rows[0][0]), tuple(rows[0][1].split())) if rows else None

    def put_contribution(
        self, query_hash: Digest, attempt: int, force: str, receipt: Envelope, chunks: list[bytes]
    ) -> None:
        """Store one force's contribution."""
        self._connection.execute(
            "INSERT INTO contribution VALUES (?, ?, ?, ?)",
            (query_hash, attempt, force, codec.encode_envelope(receipt)),
        )
        self.put_ciphertexts(query_hash, attempt, force, chunks)

    def receipt(self, query_hash: Digest, attempt: int, force: str) -> Envelope | None:
        """The receipt that a force sent with its contribution, if it did."""
        rows = self._rows(
            "SELECT receipt FROM contribution WHERE query_hash = ? AND attempt = ? AND force = ?",
            query_hash,
            attempt,
            force,
        )
        return codec.decode_envelope(rows[0][0]) if rows else None

    def put_ciphertexts(self, query_hash: Digest, attempt: int, force: str, chunks: list[bytes]) -> None:
        """Store ciphertexts of one force, or of the sum."""
        self._connection.executemany(
            "INSERT INTO ciphertext VALUES (?, ?, ?, ?, ?)",
            [(query_hash, attempt, force, at, chunk) for at, chunk in enumerate(chunks)],
        )

    def ciphertexts(self, query_hash: Digest, attempt: int, force: str) -> list[bytes]:
        """Stored ciphertexts of one force, or of the sum, in order."""
        rows = self._rows(
            "SELECT bytes FROM ciphertext WHERE query_hash = ? AND attempt = ? AND force = ? ORDER BY position",
            query_hash,
            attempt,
            force,
        )
        return [row[0] for row in rows]

    def forget_contributions(self, before: float) -> None:
        """Delete single contributions of queries that closed before a time; sums and receipts stay."""
        self._connection.execute(
            "DELETE FROM ciphertext WHERE force <> '' AND query_hash IN "
            "(SELECT query_hash FROM query WHERE open = 0 AND closed < ?)",
            (before,),
        )

    # Cooldown

    def cool_down(self, forces: tuple[str, ...], until: float) -> None:
        """Leave forces that failed a roster out of new ones for a while."""
        self._connection.executemany("INSERT OR REPLACE INTO cooldown VALUES (?, ?)", [(f, until) for f in forces])

    def note_failing(self, forces: tuple[str, ...], now: float) -> dict[str, int]:
        """Count a failed attempt against each of these forces; how often each has failed of late."""
        for force in forces:
            self._connection.execute(
                "INSERT INTO failing VALUES (?, 1, ?) ON CONFLICT (force) DO UPDATE SET "
                "times = CASE WHEN newest < ? THEN 1 ELSE min(times + 1, 40) END, newest = excluded.newest",
                (force, now, now - FORGOTTEN_SECONDS),
            )
        return self.failing(forces, now)

    def failing(self, forces: tuple[str, ...], now: float) -> dict[str, int]:
        """How often each of these forces has failed of late; those that have not are left out."""
        rows = self._rows("SELECT force, times FROM failing WHERE newest >= ?", now - FORGOTTEN_SECONDS)
        return {force: times for force, times in rows if force in forces}

    def cooling(self, now: float) -> frozenset[str]:
        """Forces that are left out at this time."""
        return frozenset(row[0] for row in self._rows("SELECT force FROM cooldown WHERE until > ?", now))

    # Internals

    def _queries(self, condition: str, *values: object) -> list[StoredQuery]:
        rows = self._rows(
            f"SELECT query_hash, envelope, certificate, public_key, analyst, wait, submitted, round "  # noqa: S608
            f"FROM query {condition}",  # a constant of this module
            *values,
        )
        return [
            StoredQuery(Digest(r[0]), codec.decode_envelope(r[1]), r[2], r[3], r[4], bool(r[5]), r[6],
                        _ROUND.validate_json(r[7]))
            for r in rows
        ]  # fmt: skip

    def _rows(self, statement: str, *values: object) -> list[Any]:
        # Outside a change only what is durable is seen, and a commit under way is not waited for.
        connection = self._connection if self._changing else self._reader
        return connection.execute(statement, values).fetchall()

    def _check(self, path: Path, federation: str) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID or version < 1:
            raise Misconfigured(f"{path} is not a coordinator's store")
        if version > len(MIGRATIONS):
            raise Misconfigured(f"{path} was written by a newer version of Cordon", hint="upgrade the coordinator")
        if version < len(MIGRATIONS):
            # A register without a tree never left a test bench, and nobody could check what it held.
            raise Misconfigured(f"{path} was made before registers had checkpoints", hint="start a new federation")
        (owner,) = self._connection.execute("SELECT name FROM federation").fetchone() or ("nobody",)
        if owner != federation:
            raise Misconfigured(f"{path} belongs to the federation {owner!r}, not to {federation!r}")


def _claim(path: Path) -> int:
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise Misconfigured(f"{path} is in use by another coordinator process", hint="stop it first") from None
    return handle
