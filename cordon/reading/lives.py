"""What the register says of each query so far: enough to judge the next leaf about it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cordon.query.model import LONGEST_LIFE_SECONDS
from cordon.reading.mirror import Mirror

MOST_CACHED = 1024
"""Lives kept in memory; the others lie in the mirror."""


def _year(time: int) -> int:
    return datetime.fromtimestamp(min(time, 2**37), UTC).year


@dataclass(slots=True)
class Attempt:
    """One attempt, from its roster on."""

    leaf: int
    forces: list[str]
    transcript: bytes
    receipts: dict[str, bytes] = field(default_factory=dict)
    """Force → payload hash of its receipt."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Force → number of its receipt."""
    failed: int | None = None
    """Leaf of its AttemptFailed."""
    completed: int | None = None
    sum_hash: bytes = b""


@dataclass(slots=True)
class Life:
    """One query, from its submission on."""

    leaf: int
    hash: bytes
    analyst: bytes
    """Key id."""
    purpose: str
    rho: int
    attempts: int
    submitted_at: int
    forces: list[str]
    rosters: dict[int, Attempt] = field(default_factory=dict)
    ended: int | None = None
    leaves: list[int] = field(default_factory=list)
    """Every leaf about it, in order."""
    periods: tuple[int, int] = (0, 0)
    """Earliest and latest budget period that a charge for it can belong to."""

    def __post_init__(self) -> None:
        self.periods = (_year(self.submitted_at) - 1, _year(self.submitted_at + LONGEST_LIFE_SECONDS))

    def charged(self, force: str) -> int:
        """Attempts that a force has a receipt for."""
        return sum(force in attempt.receipts for attempt in self.rosters.values())


class Lives:
    """Lives by query hash; the mirror keeps them, the last few stay in memory."""

    def __init__(self, mirror: Mirror) -> None:
        """Read from and write to a mirror."""
        self._sql = mirror.sql
        self._cached: OrderedDict[bytes, Life] = OrderedDict()
        self._changed: dict[bytes, Life] = {}

    def get(self, query_hash: bytes) -> Life | None:
        """The life of a query that was submitted."""
        life = self._cached.get(query_hash)
        if life is not None:
            return life
        row = self._sql.execute(f"{_SELECT} WHERE hash = ?", (query_hash,)).fetchone()
        if row is None:
            return None
        life = self._cached[query_hash] = life_of(row)
        return life

    def changed(self, life: Life, leaf: int) -> None:
        """Note that a leaf said something about a query."""
        life.leaves.append(leaf)
        self._cached[life.hash] = life
        self._changed[life.hash] = life

    def lost(self, leaf: int, receipt: Any) -> int:
        """Where receipts belong whose query stood in a register that is lost: below zero, where no leaf is."""
        name = b"lost" + receipt.query_hash + receipt.analyst_key_id + receipt.purpose.encode()
        row = (-1 - leaf, name, receipt.analyst_key_id, receipt.purpose, receipt.rho, 0, 0, _NO_LIFE)
        self._sql.execute("INSERT OR IGNORE INTO queries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return int(self._sql.execute("SELECT leaf FROM queries WHERE hash = ?", (name,)).fetchone()[0])

    def flush(self) -> None:
        """Write what changed."""
        self._sql.executemany(
            "REPLACE INTO queries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    *(life.leaf, life.hash, life.analyst, life.purpose, life.rho, life.attempts, life.submitted_at),
                    _text(life),
                )
                for life in self._changed.values()
            ),
        )
        self._changed.clear()
        while len(self._cached) > MOST_CACHED:
            self._cached.popitem(last=False)


_NO_LIFE = '{"forces":[],"ended":null,"leaves":[],"rosters":{}}'
_SELECT = "SELECT leaf, hash, analyst, purpose, rho, attempts, submitted_at, life FROM queries"


def life_of(row: tuple[Any, ...]) -> Life:
    """The life in a row of the mirror's queries."""
    leaf, query_hash, analyst, purpose, rho, attempts, submitted_at, text = row
    form = json.loads(text)
    return Life(
        leaf=leaf, hash=query_hash, analyst=analyst, purpose=purpose, rho=rho, attempts=attempts,
        submitted_at=submitted_at, forces=form["forces"], ended=form["ended"], leaves=form["leaves"],
        rosters={int(number): _attempt_of(attempt) for number, attempt in form["rosters"].items()},
    )  # fmt: skip


def find_lives(mirror: Mirror, where: str = "", *values: Any) -> list[Life]:
    """Lives that meet an SQL condition, in the register's order."""
    rows = mirror.sql.execute(f"{_SELECT} {where} ORDER BY leaf", values)
    return [life_of(row) for row in rows if row[0] >= 0]


def each_life(mirror: Mirror) -> Iterator[Life]:
    """Every life in the register's order, one at a time."""
    return (life_of(row) for row in mirror.sql.execute(f"{_SELECT} WHERE leaf >= 0 ORDER BY leaf"))


def _text(life: Life) -> str:
    rosters = {number: _form_of(attempt) for number, attempt in life.rosters.items()}
    form = {"forces": life.forces, "ended": life.ended, "leaves": life.leaves, "rosters": rosters}
    return json.dumps(form, separators=(",", ":"))


def _form_of(attempt: Attempt) -> list[Any]:
    receipts = {force: found.hex() for force, found in attempt.receipts.items()}
    return [
        *(attempt.leaf, attempt.forces, attempt.transcript.hex(), receipts, attempt.numbers),
        *(attempt.failed, attempt.completed, attempt.sum_hash.hex()),
    ]


def _attempt_of(form: list[Any]) -> Attempt:
    leaf, forces, transcript, receipts, numbers, failed, completed, sum_hash = form
    hashes = {force: bytes.fromhex(found) for force, found in receipts.items()}
    return Attempt(leaf, forces, bytes.fromhex(transcript), hashes, numbers, failed, completed, bytes.fromhex(sum_hash))
