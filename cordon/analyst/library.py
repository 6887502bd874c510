"""An analyst's own copy of the register: read when it costs nobody time, and asked without anybody hearing of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cordon.analyst.line import Line, locked
from cordon.analyst.releases import Registered
from cordon.envelope import Envelope
from cordon.errors import Misconfigured, Unavailable
from cordon.manifest import Manifest
from cordon.reading.lives import Life, find_lives
from cordon.reading.members import members_of
from cordon.reading.mirror import FILE, Mirror
from cordon.reading.opened import opened_query
from cordon.reading.read import Options, Progress, Reader
from cordon.reading.remote import CoordinatorSource
from cordon.reading.source import Head
from cordon.reading.static import claimed_size
from cordon.reading.verdict import Result
from cordon.register.leaf import NO_DIGEST, Checkpoint, Receipt
from cordon.register.spending import Limits, Spending
from cordon.units import Digest, Rho
from cordon.wire import codec
from cordon.wire.channel import Channel
from cordon.wire.messages import ContributionPart
from cordon.wire.proofs import Opening

MOST_AFTER = 20_000
"""Leaves that are read after an answer was shown; more are left to `cordon explain --refresh` and `cordon releases`."""

MOST_BEFORE = 2_000
"""Leaves that may be read before an answer is shown, where no budget statement of its forces is here yet."""

_TRIES = 5


class AnalystSource(CoordinatorSource):
    """A coordinator as an analyst sees it: on the one line of checkpoints that the workspace keeps."""

    def __init__(self, channel: Channel, line: Line) -> None:
        """Read through a channel."""
        super().__init__(channel, opens_at_once=False)
        self._own_channel = channel
        self._line = line

    def head(self, old_size: int) -> Head:
        for _ in range(_TRIES):
            seen = self._line.show(self._own_channel, ()).checkpoint
            head = super().head(old_size)
            size = claimed_size(head.note)
            if size == seen.size:
                self._line.check_same(head.note)
                return head
        raise Unavailable("the register grows faster than it can be read", hint="try again in a moment")

    def kept(self, query_hash: Digest, attempt: int) -> Iterator[ContributionPart] | None:
        # Kept contributions are for auditors.
        del query_hash, attempt
        return None


class Library:
    """What the copy holds. It may be old: `time` says how old."""

    def __init__(self, workspace: Path, governance_keys: tuple[str, ...]) -> None:
        """Open the copy, which is empty at first.

        Args:
            workspace: the analyst's folder.
            governance_keys: what the analyst trusts, in hexadecimal.

        Raises:
            Misconfigured: it is damaged.
        """
        self._folder = workspace
        self._keys = governance_keys
        # Two sessions may begin in one workspace at once, and only one can make the file.
        with locked(workspace / f"{FILE}.opening.lock"):
            self._mirror = Mirror(workspace / FILE)

    def close(self) -> None:
        """Close its file."""
        self._mirror.close()

    @property
    def size(self) -> int:
        """Leaves that were read; 0 where none was."""
        return self._mirror.accepted.size

    @property
    def time(self) -> int:
        """When the coordinator signed the newest checkpoint that was read, seconds since 1970-01-01 UTC."""
        return self._mirror.time

    def catch_up(
        self, channel: Channel, line: Line, *, most: int | None = None, progress: Progress = lambda *_: None
    ) -> Result | None:
        """Read and verify what is new; None where that would be more than `most` leaves.

        Raises:
            Untrusted: the register is another than before.
            CordonError: the coordinator cannot be reached, or what it sends is no register.
        """
        source = AnalystSource(channel, line)
        with self._used():
            if most is not None and claimed_size(source.head(self.size).note) - self.size > most:
                return None
            return Reader(self._mirror, source, Options(self._keys, progress=progress)).read()

    def published(self) -> list[Registered]:
        """Every published answer that is open to this analyst; not verified beyond its place in the register."""
        with self._used():
            members = members_of(self._mirror, self._keys)
            found = []
            for leaf, query in self._mirror.sql.execute(_ANSWERS).fetchall():
                document = self._document(leaf)
                if document is None:
                    continue
                (life,) = find_lives(self._mirror, "WHERE leaf = ?", query)
                envelope = codec.decode_envelope(self._mirror.leaf(leaf))
                found.append(_registered(leaf, envelope, document, life, members.at(life.leaf)))
            return found

    def _document(self, leaf: int) -> Envelope | None:
        data = self._mirror.opening(leaf)
        return None if data is None else codec.decode(Opening, data).document

    def statements(self) -> dict[tuple[str, str], list[tuple[int, Limits]]]:
        """Of each force and budget domain: the receipt after which limits hold, and the limits; oldest first."""
        found: dict[tuple[str, str], list[tuple[int, Limits]]] = {}
        with self._used():
            for force, domain, after, text in self._mirror.sql.execute(_STATEMENTS).fetchall():
                limits = Limits(*(Rho(nano) for nano in json.loads(text)))
                found.setdefault((force, domain), []).append((after, limits))
        return found

    def spending(self) -> dict[str, Spending]:
        """What each force's receipts add up to."""
        found: dict[str, Spending] = {}
        with self._used():
            for force, domain, period, analyst, purpose, rho in self._mirror.sql.execute(_SPENT).fetchall():
                found.setdefault(force, Spending()).add(_sum_of(force, domain, period, analyst, purpose, rho))
        return found

    def domains(self, dataset: str, version: int) -> dict[str, str]:
        """The budget domain that each force has charged questions about a data set to, as far as they are open.

        By this version of the contract where there was such a question, or else by another: versions share a domain
        wherever they are mapped from the same records.
        """
        exactly: dict[str, str] = {}
        otherwise: dict[str, str] = {}
        with self._used():
            for life in find_lives(self._mirror, f"WHERE leaf >= (SELECT {_RECENT})"):
                opened = opened_query(self._mirror, life.leaf)
                if opened is None or opened[0].question.dataset != dataset:
                    continue
                found = exactly if opened[0].question.contract_version == version else otherwise
                found |= dict(self._domains_of(life))
        return otherwise | exactly

    def _domains_of(self, life: Life) -> Iterator[tuple[str, str]]:
        for attempt in life.rosters.values():
            for receipt in attempt.numbers.items():
                for (domain,) in self._mirror.sql.execute(_DOMAIN, receipt):
                    yield receipt[0], domain

    @contextmanager
    def _used(self) -> Iterator[None]:
        try:
            with locked(self._folder / f"{FILE}.lock"):
                yield
        except sqlite3.Error as error:
            path = self._folder / FILE
            raise Misconfigured(
                f"the copy of the register {path} is damaged: {error}", hint="remove it; it is read anew"
            ) from None


_ANSWERS = "SELECT leaf, query FROM wanted WHERE kind = 'answer' AND opened = 1 ORDER BY leaf"
_STATEMENTS = "SELECT force, domain, after_receipt, limits FROM statements ORDER BY force, domain, number"
_SPENT = (
    "SELECT force, domain, period, analyst, purpose, sum(receipts.rho) FROM receipts "
    "JOIN queries ON queries.leaf = receipts.query GROUP BY 1, 2, 3, 4, 5"
)
_RECENT = "coalesce(min(leaf), 0) FROM (SELECT leaf FROM queries ORDER BY leaf DESC LIMIT 300)"
_DOMAIN = "SELECT domain FROM receipts WHERE force = ? AND number = ?"


def _registered(leaf: int, envelope: Envelope, document: Envelope, life: Life, manifest: Manifest) -> Registered:
    completed = {
        number: tuple(attempt.forces) for number, attempt in life.rosters.items() if attempt.completed is not None
    }
    return Registered(
        leaf, envelope, document, Digest(life.hash), Digest(life.analyst), life.submitted_at, completed, manifest
    )


def _sum_of(force: str, domain: str, period: int, analyst: bytes, purpose: str, rho: int) -> Receipt:
    """One receipt that stands for all of one analyst's in a period, because only their sum is asked for."""
    none = NO_DIGEST
    return Receipt(
        force=force, query_hash=none, attempt=1, transcript_hash=none, analyst_key_id=Digest(analyst),
        purpose=purpose, domain=domain, period=period, rho=Rho(rho), period_sum=Rho(0), lifetime_sum=Rho(0),
        number=0, previous=none, ciphertext_hash=none, plan=none, checkpoint=Checkpoint(),
    )  # fmt: skip
