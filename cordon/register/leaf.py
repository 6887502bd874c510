"""What stands in the register: signed events without personal data, free text or guessable digests.

A leaf's bytes are the canonical encoding of a signed envelope around one of these payloads; meaning,
unit and range of each field stand in protos/cordon/wire/v1/audit.proto. Times are whole seconds since
1970-01-01 UTC, and order nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cordon.units import DIGEST_BYTES, Digest, Rho, tagged_digest

NO_DIGEST = Digest(bytes(DIGEST_BYTES))
"""Stands where there is nothing to name."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a register stood: RFC 9162 tree size and root; size 0 where none was accepted yet."""

    size: int = 0
    root: Digest = NO_DIGEST


class Outcome(IntEnum):
    """What a force decides about a query."""

    ADMITTED = 1
    AWAITING_APPROVAL = 2
    DECLINED = 3


class DeclineCode(IntEnum):
    """Why a force declines: a function of query, policy, budget and health, never of a record."""

    NOT_DECLINED = 0
    NOT_HELD = 1
    PAUSED = 2
    STALE = 3
    UNSUPPORTED = 4
    BUDGET = 5
    POLICY = 6
    UNTRUSTED = 7
    EXPIRED = 8
    MANIFEST = 9
    ROSTER = 10
    RESTARTED = 11
    FAULT = 12
    QUESTION = 13
    APPROVAL = 14

    @property
    def words(self) -> str:
        """The code as people read it, e.g. `not held`."""
        return self.name.lower().replace("_", " ")


class EndReason(IntEnum):
    """Why a query ended without an answer."""

    TOO_FEW_FORCES = 1
    ATTEMPTS_USED_UP = 2
    QUERY_EXPIRED = 3
    MANIFEST_CHANGED = 4


class Ground(IntEnum):
    """Why the opened payload of a leaf was erased; the leaf itself stays."""

    COURT_ORDER = 1
    RIGHT_TO_ERASURE = 2
    SUBMITTED_IN_ERROR = 3
    OPERATIONAL_SECURITY = 4


@dataclass(frozen=True, slots=True)
class QuerySubmitted:
    """A query was submitted; signed by the coordinator."""

    query_hash: Digest
    analyst_key_id: Digest
    analyst_signature: bytes
    forces: tuple[str, ...]
    rho: Rho
    attempts: int
    purpose: str
    submitted_at: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What a force decides about a query (attempt 0) or one attempt of it; signed by the force."""

    query_hash: Digest
    force: str
    attempt: int
    outcome: Outcome
    code: DeclineCode
    text_commitment: Digest
    decided_at: int


@dataclass(frozen=True, slots=True)
class RosterFixed:
    """These forces, by these Ready notes, make up an attempt; signed by the coordinator."""

    query_hash: Digest
    attempt: int
    forces: tuple[str, ...]
    ready_hashes: tuple[Digest, ...]
    transcript_hash: Digest


@dataclass(frozen=True, slots=True)
class Receipt:
    """A force's charge, committed before anything left it; signed by the force."""

    force: str
    query_hash: Digest
    attempt: int
    transcript_hash: Digest
    analyst_key_id: Digest
    purpose: str
    domain: str
    period: int
    rho: Rho
    period_sum: Rho
    lifetime_sum: Rho
    number: int
    previous: Digest
    ciphertext_hash: Digest
    plan: Digest
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt cannot be read, and who did not contribute; signed by the coordinator."""

    query_hash: Digest
    attempt: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Completed:
    """Every force contributed, and this is the hash of their sum; signed by the coordinator."""

    query_hash: Digest
    attempt: int
    transcript_hash: Digest
    sum_hash: Digest
    receipt_hashes: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class QueryEnded:
    """A query ended without an answer; signed by the coordinator."""

    query_hash: Digest
    reason: EndReason


@dataclass(frozen=True, slots=True)
class Rejected:
    """An opened sum failed its check; signed by the analyst."""

    query_hash: Digest
    attempt: int
    sum_hash: Digest


@dataclass(frozen=True, slots=True)
class ManifestAdopted:
    """This manifest is in force from here on; signed by the coordinator."""

    version: int
    manifest_hash: Digest


@dataclass(frozen=True, slots=True)
class BudgetStatement:
    """What one budget domain of a force may spend from its next receipt on; signed by the force."""

    force: str
    number: int
    previous: Digest
    domain: str
    period_limit: Rho
    lifetime_limit: Rho
    analyst_limit: Rho
    purpose_limit: Rho
    query_limit: Rho
    failed_limit: Rho
    after_receipt: int
    stated_at: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """The opened payload of a leaf was erased; signed by a governance key."""

    leaf_index: int
    ground: Ground
    erased_at: int


@dataclass(frozen=True, slots=True)
class PublishedAnswer:
    """The analyst has published the answer; signed by the analyst."""

    query_hash: Digest
    attempt: int
    answer_commitment: Digest


def text_commitment(salt: bytes, text: str) -> Digest:
    """Commitment to a decision's public text, which travels beside it."""
    return tagged_digest("cordon/v1/text", salt, text.encode())
