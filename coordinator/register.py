"""The register on disk: leaves, the tree over them, what leaves commit to, and signed checkpoints.

Leaves and tree grow in the store's own transactions, so a checkpoint is never signed over anything
that is not durable. docs/protocol.md §11 says what each reader may see.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cordon.envelope import Envelope, Signer
from cordon.errors import Refused, Untrusted
from cordon.register.checkpoint import write_checkpoint
from cordon.register.leaf import Checkpoint, Receipt
from cordon.register.merkle import (
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    packed,
    root_of,
    unpacked,
)
from cordon.register.tiles import MOST_LEAF, WIDTH, node_of
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.proofs import Inclusion, Opening, Proof
from cordon.wire.signed import payload_hash

MOST_INCLUSIONS = 500
"""Of one request."""

MOST_AHEAD = 1000
"""How far a force's receipt number may lie beyond the newest one that the register has."""

MOST_NUMBER = 2**62
"""Beyond any number that a force can have come to."""

_TILES_KEPT = 2048
_NODES_KEPT = 1 << 16
SCHEMA = """
    ALTER TABLE leaf ADD COLUMN hash BLOB;
    CREATE INDEX leaf_by_hash ON leaf (hash);
    CREATE TABLE tile (level INTEGER NOT NULL, number INTEGER NOT NULL, hashes BLOB NOT NULL,
        PRIMARY KEY (level, number));
    CREATE TABLE opening (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL, public_from INTEGER NOT NULL,
        query_hash BLOB NOT NULL);
    CREATE INDEX opening_by_query ON opening (query_hash);
    CREATE TABLE receipt_leaf (force TEXT NOT NULL, number INTEGER NOT NULL, payload_hash BLOB NOT NULL,
        PRIMARY KEY (force, number, payload_hash));
    CREATE TABLE failing (force TEXT PRIMARY KEY, times INTEGER NOT NULL, newest REAL NOT NULL);
    CREATE TABLE statement_leaf (force TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (force, number));
    """

Rows = Callable[..., list[Any]]


@dataclass(frozen=True, slots=True)
class _Edge:
    """The tile of a level that is not whole yet."""

    number: int = 0
    hashes: list[Digest] = field(default_factory=list)


class Register:
    """The register within the coordinator's store."""

    def __init__(self, connection: sqlite3.Connection, rows: Rows) -> None:
        """Read how far the tree goes.

        Args:
            connection: the writer's; used inside the store's transactions only.
            rows: reads what is durable, or inside a transaction what is about to be.
        """
        self._connection = connection
        self._rows = rows
        self._tiles: OrderedDict[tuple[int, int], tuple[Digest, ...]] = OrderedDict()
        self._edges: list[_Edge] = []
        # A complete subtree never changes.
        self._node: Node = lru_cache(_NODES_KEPT)(node_of(self._tile))
        size = self._read_edges()
        self._growing = self._frontier = Frontier.of(size, self._node)
        self._root_at = lru_cache(256)(self._root)

    @property
    def size(self) -> int:
        """Leaves that are durable and in the tree."""
        return self._frontier.size

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the register stands, durably."""
        return Checkpoint(self._frontier.size, self._frontier.root)

    # Growing, inside a transaction

    def append(self, envelope: Envelope) -> int:
        """Append a leaf; returns its index, from 0.

        Raises:
            Refused: it is too long for the register's files.
        """
        data = codec.encode_envelope(envelope)
        if len(data) > MOST_LEAF:
            raise Refused(f"the register holds events of up to {MOST_LEAF} bytes, and this has {len(data)}")
        number = self.leaves()
        self._connection.execute("INSERT INTO leaf VALUES (?, ?, ?)", (number, data, leaf_hash(data)))
        return number

    def leaves(self) -> int:
        """Leaves, with those that are not in the tree yet."""
        return int(self._rows("SELECT coalesce(max(number) + 1, 0) FROM leaf")[0][0])

    def open(self, opening: Opening, *, public_from: int, query_hash: bytes = b"") -> None:
        """Keep what a leaf commits to.

        Args:
            public_from: when it may be served to everybody, seconds since 1970-01-01 UTC.
        """
        values = (opening.leaf_index, codec.encode(opening), public_from, query_hash)
        self._connection.execute("INSERT INTO opening VALUES (?, ?, ?, ?)", values)

    def public_from(self, query_hash: Digest) -> int:
        """When what belongs to a query may be served to everybody."""
        rows = self._rows("SELECT max(public_from) FROM opening WHERE query_hash = ?", query_hash)
        return int(rows[0][0] or 0)

    def erase(self, number: int, query_hash: bytes = b"") -> None:
        """Remove what a leaf commits to, and with a query its texts and published answer; the leaves stay."""
        self._connection.execute("DELETE FROM opening WHERE number = ?", (number,))
        if query_hash:
            self._connection.execute("DELETE FROM opening WHERE query_hash = ?", (query_hash,))

    def append_receipt(self, envelope: Envelope, receipt: Receipt) -> bool:
        """Append a force's receipt; False where it stands in the register already.

        A second receipt of one number is appended too: it is what shows that a ledger was put back.

        Raises:
            Untrusted: a third of one number, or a number far beyond the newest.
        """
        if receipt.number >= MOST_NUMBER:
            raise Untrusted(f"receipt {receipt.number} of {receipt.force} cannot be its next one")
        digest = payload_hash(envelope)
        same = "SELECT payload_hash FROM receipt_leaf WHERE force = ? AND number = ?"
        known = [row[0] for row in self._rows(same, receipt.force, receipt.number)]
        if digest in known:
            return False
        newest = "SELECT coalesce(max(number), 0) FROM receipt_leaf WHERE force = ?"
        if len(known) > 1 or receipt.number > self._rows(newest, receipt.force)[0][0] + MOST_AHEAD:
            raise Untrusted(f"receipt {receipt.number} of {receipt.force} cannot be its next one")
        self.append(envelope)
        values = (receipt.force, receipt.number, digest)
        self._connection.execute("INSERT INTO receipt_leaf VALUES (?, ?, ?)", values)
        return True

    def append_statement(self, envelope: Envelope, force: str, number: int) -> bool:
        """Append a force's budget statement; False where one of its number stands in the register already.

        Raises:
            Untrusted: its number is not the force's next one.
        """
        newest = "SELECT coalesce(max(number), 0) FROM statement_leaf WHERE force = ?"
        # Compared before any statement of SQL sees it: what a force writes may be beyond an integer of SQLite's.
        before = int(self._rows(newest, force)[0][0])
        if number <= before:
            return False
        if number != before + 1:
            raise Untrusted(f"budget statement {number} of {force} cannot follow its statement {before}")
        self.append(envelope)
        self._connection.execute("INSERT INTO statement_leaf VALUES (?, ?)", (force, number))
        return True

    def manifests(self) -> list[Envelope]:
        """Every manifest that was adopted, in order."""
        rows = self._rows("SELECT bytes FROM opening WHERE query_hash = x'' ORDER BY number")
        found = [codec.decode(Opening, row[0]).document for row in rows]
        return [document for document in found if document is not None]

    def grow(self) -> None:
        """Take every new leaf into the tree; once at the end of each transaction."""
        rows = self._rows("SELECT hash FROM leaf WHERE number >= ? ORDER BY number", self._growing.size)
        hashes = [Digest(row[0]) for row in rows]
        self._growing = self._growing.extended(hashes)
        level = 0
        while hashes:
            hashes = self._extend(level, hashes)
            level += 1

    def settle(self) -> None:
        """What has grown is durable now."""
        self._frontier = self._growing

    # Proving, from what is durable

    def note(self, origin: str, public: Ed25519PublicKey, signer: Signer, time: int) -> bytes:
        """A signed checkpoint of where the register stands."""
        return write_checkpoint(origin, self.checkpoint, public, signer, time)

    def proof(self, note: bytes, size: int, old_size: int, leaf_hashes: Sequence[Digest]) -> Proof:
        """Proofs up to the checkpoint of a note.

        Args:
            size: the note's.
            old_size: what the reader has accepted; 0 for nothing.

        Raises:
            Refused: the reader's register is larger than this one, or it asks for too much at once.
        """
        if old_size > size:
            raise Refused(
                f"the register has {size} leaves, fewer than the {old_size} of the caller's checkpoint",
                hint="the register was set back: keep your checkpoint, and tell the auditor",
            )
        if len(leaf_hashes) > MOST_INCLUSIONS:
            raise Refused(f"at most {MOST_INCLUSIONS} inclusion proofs are made at once")
        found = [(digest, self._index(digest, size)) for digest in leaf_hashes]
        return Proof(
            note=note,
            consistency=self.consistency(old_size, size),
            frontier=Frontier.of(old_size, self._node).peaks,
            inclusions=tuple(
                Inclusion(digest, at, inclusion_proof(at, size, self._node)) for digest, at in found if at is not None
            ),
        )

    def consistency(self, old: int, new: int) -> tuple[Digest, ...]:
        """Proof that one size of this register is the beginning of another."""
        return consistency_proof(old, new, self._node)

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether the register once stood exactly there."""
        return 0 < checkpoint.size <= self.size and self._root_at(checkpoint.size) == checkpoint.root

    def read(self, start: int, end: int) -> list[bytes]:
        """Leaves from `start` on, below `end` and below the tree's size."""
        rows = self._rows(
            "SELECT bytes FROM leaf WHERE number >= ? AND number < ? ORDER BY number", start, min(end, self.size)
        )
        return [row[0] for row in rows]

    def openings(self, start: int, end: int, *, public_by: int | None) -> Iterator[Opening]:
        """What leaves from `start` on, below `end`, commit to.

        Args:
            public_by: leave out what is under embargo at this time; None for a reader who may see all.
        """
        latest = 2**62 if public_by is None else public_by
        for at in range(start, min(end, self.size), WIDTH):
            rows = self._rows(
                "SELECT bytes FROM opening WHERE number >= ? AND number < ? AND public_from <= ? ORDER BY number",
                at, min(end, at + WIDTH), latest,
            )  # fmt: skip
            yield from (codec.decode(Opening, row[0]) for row in rows)

    def tile(self, level: int, number: int, width: int) -> tuple[Digest, ...]:
        """The first `width` hashes of a tile."""
        return self._tile(level, number)[:width]

    # Internals

    def _root(self, size: int) -> Digest:
        return root_of(size, self._node)

    def _index(self, digest: Digest, size: int) -> int | None:
        rows = self._rows("SELECT min(number) FROM leaf WHERE hash = ?", digest)
        return rows[0][0] if rows[0][0] is not None and rows[0][0] < size else None

    def _tile(self, level: int, number: int) -> tuple[Digest, ...]:
        known = self._tiles.get((level, number))
        if known is not None:
            return known
        if level < len(self._edges) and number == self._edges[level].number:
            return tuple(self._edges[level].hashes)
        rows = self._rows("SELECT hashes FROM tile WHERE level = ? AND number = ?", level, number)
        hashes = unpacked(rows[0][0]) if rows else ()
        if len(hashes) == WIDTH:
            self._tiles[level, number] = hashes
            if len(self._tiles) > _TILES_KEPT:
                self._tiles.popitem(last=False)
        return hashes

    def _extend(self, level: int, hashes: list[Digest]) -> list[Digest]:
        """Append hashes to a level's tiles; returns the roots of the tiles that they complete."""
        if level == len(self._edges):
            self._edges.append(_Edge())
        edge, roots = self._edges[level], []
        row = edge.hashes + hashes
        while row:
            part, row = row[:WIDTH], row[WIDTH:]
            self._connection.execute("INSERT OR REPLACE INTO tile VALUES (?, ?, ?)", (level, edge.number, packed(part)))
            edge = _Edge(edge.number, part)
            if len(part) == WIDTH:
                roots.append(Frontier().extended(part).root)
                edge = _Edge(edge.number + 1)
        self._edges[level] = edge
        return roots

    def _read_edges(self) -> int:
        """Where each level's newest tile stands; returns how many leaves the tree has."""
        levels = self._rows("SELECT level, max(number) FROM tile GROUP BY level ORDER BY level")
        for level, number in levels:
            hashes = self._tile(level, number)
            self._edges.append(_Edge(number, list(hashes)) if len(hashes) < WIDTH else _Edge(number + 1))
        return self._edges[0].number * WIDTH + len(self._edges[0].hashes) if self._edges else 0
