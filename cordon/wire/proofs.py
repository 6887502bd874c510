"""Messages of the register's service; nothing in them is to be believed without its proof.

Meaning, unit and range of each field stand in protos/cordon/wire/v1/register.proto.
"""

from __future__ import annotations

from dataclasses import dataclass

from cordon.envelope import Envelope
from cordon.units import Digest
from cordon.wire.messages import Text


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """Asks for the newest checkpoint, and for proofs up to it."""

    old_size: int
    leaf_hashes: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Shows that a leaf stands in the register."""

    leaf_hash: Digest
    index: int
    hashes: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """The newest checkpoint's note, and what was asked to be shown."""

    note: bytes
    consistency: tuple[Digest, ...]
    frontier: tuple[Digest, ...]
    inclusions: tuple[Inclusion, ...]


@dataclass(frozen=True, slots=True)
class LeavesRequest:
    """Leaves from `start` on, below `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LeafPage:
    """Consecutive leaves."""

    start: int
    leaves: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OpenedQuery:
    """A signed query, and the certificate of its analyst's key."""

    query: Envelope
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What a leaf commits to: a query, a decision's text, a manifest or a published answer."""

    leaf_index: int
    query: OpenedQuery | None = None
    text: Text | None = None
    document: Envelope | None = None


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """Names an attempt whose kept contributions are asked for."""

    query_hash: Digest
    attempt: int


@dataclass(frozen=True, slots=True)
class Publication:
    """A signed PublishedAnswer, and the answer that it commits to."""

    leaf: Envelope
    answer: Envelope
