"""Messages between parties that are not register leaves.

Meaning, unit and range of each field stand in protos/cordon/wire/v1/federation.proto and
analysis.proto. Times are whole seconds since 1970-01-01 UTC, and order nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cordon.envelope import Envelope
from cordon.errors import Malformed
from cordon.register.leaf import Checkpoint
from cordon.units import Digest

PROTOCOL_VERSION = 1
ALGORITHM_VERSION = 1
"""Version of noise, masks and check cells."""

PAUSED = "paused"
"""Among the features of a Hello: an officer has paused the node."""

MOST_TEXT = 300
"""Characters of a decision's public text."""


@dataclass(frozen=True, slots=True)
class HeldContract:
    """A contract that a force has a snapshot for, and the declared vintage of that snapshot."""

    dataset: str
    version: int
    digest: Digest
    as_at: str
    first_month: str
    last_month: str
    load_id: bytes
    note: str

    def __post_init__(self) -> None:
        _has_length("load id", self.load_id, 16)


@dataclass(frozen=True, slots=True)
class Hello:
    """What a node says first, signed by its force."""

    force: str
    protocol_version: int
    features: tuple[str, ...]
    contracts: tuple[HeldContract, ...]
    manifest_version: int
    manifest_hash: Digest
    checkpoint: Checkpoint
    ledger_sequence: int
    challenge: bytes
    sent_at: int

    def __post_init__(self) -> None:
        _has_length("challenge", self.challenge, 32)


@dataclass(frozen=True, slots=True)
class Ready:
    """A force has reserved the cost of an attempt and will contribute; signed by the force."""

    query_hash: Digest
    attempt: int
    force: str
    ephemeral_key: bytes
    manifest_hash: Digest
    plan: Digest
    algorithm_version: int
    checkpoint: Checkpoint
    expires: int
    serial: int


@dataclass(frozen=True, slots=True)
class Text:
    """The public text of a decision, and the salt of its commitment."""

    salt: bytes
    text: str

    def __post_init__(self) -> None:
        _has_length("salt", self.salt, 32)
        _is_text(self.text)


@dataclass(frozen=True, slots=True)
class Decide:
    """Decide about a query; with `attempt`, send a Ready note at once if it is admitted."""

    query: Envelope
    certificate: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class Prepare:
    """Reserve, and send a Ready note for this attempt."""

    query_hash: Digest
    attempt: int
    failures: tuple[Envelope, ...] = ()


@dataclass(frozen=True, slots=True)
class Consistency:
    """Shows that one size of the register is the beginning of another."""

    old_size: int
    new_size: int
    hashes: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Fixed:
    """The roster is fixed: contribute."""

    query_hash: Digest
    attempt: int
    roster: tuple[Envelope, ...]
    public_key: bytes
    consistency: tuple[Consistency, ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """The query has ended; reservations for it may go."""

    query_hash: Digest
    failures: tuple[Envelope, ...] = ()


@dataclass(frozen=True, slots=True)
class VouchFor:
    """Vouch for forces that have just started, by their challenges."""

    challenges: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Vouched:
    """Signed Vouches that hold the force's challenge."""

    vouches: tuple[Envelope, ...]


Task = Decide | Prepare | Fixed | Closed | VouchFor | Vouched


@dataclass(frozen=True, slots=True)
class Vouch:
    """After these challenges were made, this was the newest checkpoint accepted; signed by the force."""

    force: str
    challenges: tuple[bytes, ...]
    checkpoint: Checkpoint

    def __post_init__(self) -> None:
        for challenge in self.challenges:
            _has_length("challenge", challenge, 32)


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What a node answers to Decide and Prepare."""

    decision: Envelope | None
    text: Text | None
    ready: Envelope | None


@dataclass(frozen=True, slots=True)
class ContributionHead:
    """A contribution's signed receipt, and how many ciphertexts follow."""

    receipt: Envelope
    ciphertexts: int


ContributionPart = ContributionHead | bytes
"""A contribution travels as its head, then its ciphertexts in canonical form."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was sent has been stored."""


@dataclass(frozen=True, slots=True)
class CatalogueRequest:
    """Asks for the catalogue."""


@dataclass(frozen=True, slots=True)
class QueryName:
    """Names a query by its hash."""

    query_hash: Digest


@dataclass(frozen=True, slots=True)
class SumPart:
    """One ciphertext of a sum, in canonical form."""

    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed query, the analyst's certificate, the BFV public key, and whether to wait for people."""

    query: Envelope
    certificate: bytes
    public_key: bytes
    wait: bool


@dataclass(frozen=True, slots=True)
class CatalogueReply:
    """The signed manifest, its contracts' TOML bytes, and the Hello of every connected force."""

    manifest: Envelope
    contracts: tuple[bytes, ...]
    hellos: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class Submitted:
    """The query stands in the register."""

    query_hash: Digest
    leaf_index: int


@dataclass(frozen=True, slots=True)
class Decided:
    """A force has decided."""

    decision: Envelope
    text: Text | None


@dataclass(frozen=True, slots=True)
class Absent:
    """A force was not connected, or did not answer in time."""

    force: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RosterKnown:
    """The signed RosterFixed, and every Ready note in the roster's order."""

    fixed: Envelope
    ready: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class Contributed:
    """A force has contributed: its signed receipt."""

    receipt: Envelope


@dataclass(frozen=True, slots=True)
class AttemptLost:
    """The signed AttemptFailed."""

    attempt_failed: Envelope


@dataclass(frozen=True, slots=True)
class SumReady:
    """The signed Completed; the sum can be fetched."""

    completed: Envelope


@dataclass(frozen=True, slots=True)
class Ended:
    """The signed QueryEnded."""

    ended: Envelope


class Verdict(IntEnum):
    """What an officer decides about a query that waits."""

    APPROVE = 1
    DECLINE = 2


@dataclass(frozen=True, slots=True)
class Approval:
    """An officer's verdict on one query at one force; signed by the officer, and kept at the force."""

    query_hash: Digest
    force: str
    verdict: Verdict
    text: str
    decided_at: int

    def __post_init__(self) -> None:
        _is_text(self.text)


@dataclass(frozen=True, slots=True)
class Pause:
    """A force's node is paused, or goes on; signed by an officer or the force, and kept at the force."""

    force: str
    paused: bool
    at: int


def _is_text(text: str) -> None:
    if len(text) > MOST_TEXT or not text.isprintable():
        raise Malformed(f"a decision's text has at most {MOST_TEXT} printable characters")


def _has_length(what: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise Malformed(f"{what} has {length} bytes, got {len(value)}")


Event = Submitted | Decided | Absent | RosterKnown | Contributed | AttemptLost | SumReady | Ended
