"""The reader's own durable copy of one register, and what was made of it so far.

One SQLite file. A batch of leaves, and everything that follows from it, is one transaction: killed at
any point, reading goes on where it was. It belongs to one set of governance keys and one origin.
ADR 0022.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from cordon.errors import Misconfigured
from cordon.reading.verdict import Check, Discrepancy
from cordon.register.leaf import Checkpoint
from cordon.register.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash, packed, unpacked
from cordon.units import Digest

FILE = "register.sqlite"
FORMAT = 1
BLOCK = 256
"""Leaves that are hashed together."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE leaves (leaf INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE frontiers (size INTEGER PRIMARY KEY, peaks BLOB NOT NULL);
CREATE TABLE openings (leaf INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE manifests (leaf INTEGER PRIMARY KEY, version INTEGER NOT NULL, envelope BLOB NOT NULL);
CREATE TABLE queries (
    leaf INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, analyst BLOB NOT NULL, purpose TEXT NOT NULL,
    rho INTEGER NOT NULL, attempts INTEGER NOT NULL, submitted_at INTEGER NOT NULL, life TEXT NOT NULL);
CREATE TABLE receipts (
    force TEXT NOT NULL, number INTEGER NOT NULL, leaf INTEGER NOT NULL, query INTEGER NOT NULL,
    attempt INTEGER NOT NULL, domain TEXT NOT NULL, period INTEGER NOT NULL, rho INTEGER NOT NULL,
    PRIMARY KEY (force, number)) WITHOUT ROWID;
CREATE TABLE statements (
    force TEXT NOT NULL, number INTEGER NOT NULL, leaf INTEGER NOT NULL, hash BLOB NOT NULL, previous BLOB NOT NULL,
    domain TEXT NOT NULL, after_receipt INTEGER NOT NULL, stated_at INTEGER NOT NULL, limits TEXT NOT NULL,
    PRIMARY KEY (force, number)) WITHOUT ROWID;
CREATE TABLE chains (force TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE failed (
    force TEXT NOT NULL, number INTEGER NOT NULL, leaf INTEGER NOT NULL, query INTEGER NOT NULL,
    domain TEXT NOT NULL, period INTEGER NOT NULL, rho INTEGER NOT NULL,
    PRIMARY KEY (force, number)) WITHOUT ROWID;
CREATE TABLE doubts (force TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (force, number)) WITHOUT ROWID;
CREATE TABLE wanted (leaf INTEGER PRIMARY KEY, kind TEXT NOT NULL, query INTEGER, opened INTEGER NOT NULL DEFAULT 0);
CREATE TABLE erased (target INTEGER PRIMARY KEY, leaf INTEGER NOT NULL, ground INTEGER NOT NULL, at INTEGER NOT NULL);
CREATE TABLE unsigned (leaf INTEGER PRIMARY KEY, query INTEGER NOT NULL);
CREATE TABLE completed (
    leaf INTEGER PRIMARY KEY, query INTEGER NOT NULL, attempt INTEGER NOT NULL, added TEXT NOT NULL DEFAULT '');
CREATE TABLE discrepancies (
    leaf INTEGER NOT NULL, what TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (leaf, what)) WITHOUT ROWID;
CREATE INDEX unopened ON wanted (opened, leaf);
CREATE INDEX unadded ON completed (added, leaf);
"""


class Mirror:
    """Leaves, their state and the checkpoint that they were verified against."""

    def __init__(self, path: Path | None) -> None:
        """Open the mirror in a file, made if it does not exist; None keeps it in memory.

        Raises:
            Misconfigured: the file cannot be opened, or is no mirror.
        """
        self.path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                # Opened queries lie in it: for its owner, also in a folder that others can read.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self.sql = sqlite3.connect(path or ":memory:", isolation_level=None)
            self.sql.execute("PRAGMA journal_mode = WAL")
            self.sql.execute("PRAGMA synchronous = NORMAL")
            self.sql.execute("PRAGMA cache_size = -32768")
            if self._is_empty():
                self._make()
            if self.get("format") != FORMAT:
                raise Misconfigured(f"{path} is a mirror of another version", hint="remove it; it is read anew")
        except (sqlite3.Error, OSError) as error:
            raise Misconfigured(
                f"cannot open the mirror {path}: {error}", hint="remove it if it is damaged; it is read anew"
            ) from None

    def _make(self) -> None:
        with self.transaction():
            # Another process may have been quicker.
            if self._is_empty():
                for statement in _SCHEMA.split(";\n"):
                    self.sql.execute(statement)
                self.set("format", FORMAT)

    def _is_empty(self) -> bool:
        return not self.sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        self.sql.close()

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, or nothing."""
        self.sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.sql.execute("ROLLBACK")
            raise
        self.sql.execute("COMMIT")

    def get(self, key: str, default: Any = None) -> Any:
        """A remembered value."""
        row = self.sql.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    def set(self, key: str, value: Any) -> None:
        """Remember a value that JSON can hold."""
        self.sql.execute("REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def belongs_to(self, governance_keys: tuple[str, ...]) -> None:
        """Bind a new mirror to the reader's governance keys; refuse one that is bound to others.

        Raises:
            Misconfigured: it was made with other keys.
        """
        keys = sorted(governance_keys)
        if self.get("governance", keys) != keys:
            raise Misconfigured(
                f"the mirror {self.path} was made with other governance keys", hint="name another mirror folder"
            )
        if self.get("governance") is None:
            self.set("governance", keys)

    # What was fetched, and what of it was accepted

    @property
    def accepted(self) -> Checkpoint:
        """The newest checkpoint that the leaves were verified against; size 0 before the first."""
        size, root = self.get("accepted", [0, EMPTY_ROOT.hex()])
        return Checkpoint(size, Digest(bytes.fromhex(root)))

    @property
    def time(self) -> int:
        """When that checkpoint was cosigned, by the coordinator's clock."""
        return int(self.get("time", 0))

    @property
    def note(self) -> bytes:
        """That checkpoint as signed; empty before the first."""
        return str(self.get("note", "")).encode()

    @property
    def fetched(self) -> Frontier:
        """Frontier over all leaves that lie here; those beyond the accepted checkpoint are not verified."""
        size, peaks = self.get("fetched", [0, ""])
        return Frontier(size, unpacked(bytes.fromhex(peaks)))

    def append(self, leaves: list[bytes]) -> Frontier:
        """Add leaves, in one transaction; not verified yet."""
        before = after = self.fetched
        passed: list[tuple[int, bytes]] = []
        at = 0
        while at < len(leaves):
            end = at + BLOCK - after.size % BLOCK
            after = extended(after, leaves[at:end])
            at = end
            if after.size % BLOCK == 0:
                passed.append((after.size, packed(after.peaks)))
        with self.transaction():
            self.sql.executemany("INSERT INTO leaves VALUES (?, ?)", enumerate(leaves, start=before.size))
            self.sql.executemany("INSERT INTO frontiers VALUES (?, ?)", passed)
            self._set_fetched(after)
        return after

    def accept(self, checkpoint: Checkpoint, time: int, note: bytes) -> None:
        """Remember the checkpoint that all fetched leaves were verified against."""
        with self.transaction():
            self.set("accepted", [checkpoint.size, checkpoint.root.hex()])
            self.set("accepted_frontier", self.get("fetched", [0, ""]))
            # A clock that went back makes nothing fresh again.
            self.set("time", max(time, self.time))
            self.set("note", note.decode())

    def forget_unverified(self) -> None:
        """Drop the leaves beyond the accepted checkpoint: they were not the register's."""
        size, peaks = self.get("accepted_frontier", [0, ""])
        with self.transaction():
            self.sql.execute("DELETE FROM leaves WHERE leaf >= ?", (size,))
            self.sql.execute("DELETE FROM frontiers WHERE size > ?", (size,))
            self._set_fetched(Frontier(size, unpacked(bytes.fromhex(peaks))))

    def root_at(self, size: int) -> Digest:
        """Root over the first leaves that lie here; `size` of them do."""
        row = self.sql.execute(
            "SELECT size, peaks FROM frontiers WHERE size <= ? ORDER BY size DESC LIMIT 1", (size,)
        ).fetchone()
        frontier = Frontier(row[0], unpacked(row[1])) if row is not None else Frontier()
        return extended(frontier, self.leaves(frontier.size, size)).root

    def _set_fetched(self, frontier: Frontier) -> None:
        self.set("fetched", [frontier.size, packed(frontier.peaks).hex()])

    def leaf(self, index: int) -> bytes:
        """One leaf that lies here."""
        return bytes(self.sql.execute("SELECT data FROM leaves WHERE leaf = ?", (index,)).fetchone()[0])

    def leaves(self, start: int, end: int) -> list[bytes]:
        """Leaves that lie here."""
        rows = self.sql.execute("SELECT data FROM leaves WHERE leaf >= ? AND leaf < ? ORDER BY leaf", (start, end))
        return [row[0] for row in rows]

    def pages(self, start: int, end: int, width: int = 4096) -> Iterator[list[bytes]]:
        """Leaves that lie here, page by page."""
        for first in range(start, end, width):
            yield self.leaves(first, min(first + width, end))

    # Openings

    def opening(self, index: int) -> bytes | None:
        """The opening of a leaf, as it was verified."""
        row = self.sql.execute("SELECT data FROM openings WHERE leaf = ?", (index,)).fetchone()
        return None if row is None else bytes(row[0])

    def put_opening(self, index: int, data: bytes) -> None:
        """Store an opening that was verified."""
        self.sql.execute("REPLACE INTO openings VALUES (?, ?)", (index, data))
        self.sql.execute("UPDATE wanted SET opened = 1 WHERE leaf = ?", (index,))

    # Discrepancies

    def report(self, leaf: int, what: str, check: Check) -> None:
        """Remember what is wrong with a leaf that will not be looked at again."""
        self.sql.execute("INSERT OR IGNORE INTO discrepancies VALUES (?, ?, ?)", (leaf, what, check.name))

    def reported(self) -> Iterator[Discrepancy]:
        """Everything that was reported, by leaf."""
        rows = self.sql.execute("SELECT leaf, what, kind FROM discrepancies ORDER BY leaf, what")
        return (Discrepancy(leaf, what, Check[kind]) for leaf, what, kind in rows)

    def count(self, table: str) -> int:
        """Rows of one of the tables above."""
        return int(self.sql.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names


def extended(frontier: Frontier, leaves: list[bytes]) -> Frontier:
    """The frontier after more leaves: as `Frontier.extended`, with whole blocks hashed level by level."""
    at, count = frontier.size, len(leaves)
    lead = min(-at % BLOCK, count)
    whole = (count - lead) // BLOCK * BLOCK
    found = frontier.extended(map(leaf_hash, leaves[:lead]))
    for start in range(lead, lead + whole, BLOCK):
        row = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves[start : start + BLOCK]]
        while len(row) > 1:
            row = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(row[::2], row[1::2], strict=True)]
        found = _with_block(found, Digest(row[0]))
    return found.extended(map(leaf_hash, leaves[lead + whole :]))


def _with_block(frontier: Frontier, root: Digest) -> Frontier:
    peaks, blocks = list(frontier.peaks), frontier.size // BLOCK
    while blocks & 1:
        root = node_hash(peaks.pop(), root)
        blocks >>= 1
    return Frontier(frontier.size + BLOCK, (*peaks, root))
