"""Make a lost ledger again from what the register holds of it.

Nothing leaves a force before its receipt is committed, and the coordinator takes in nothing without one. So
the register's receipts are all that was ever released, and a ledger made from them owes nothing; decisions
and approvals, which cost nothing, are lost. It is closed like any other, and opens by Vouches, which show
that the register it was made from was not set back. docs/protocol.md §11.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cordon.envelope import Envelope
from cordon.errors import Misconfigured, Untrusted
from cordon.manifest import Manifest
from cordon.register.checkpoint import open_checkpoint
from cordon.register.leaf import NO_DIGEST, BudgetStatement, Receipt
from cordon.register.merkle import Frontier, leaf_hash
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.proofs import LeavesRequest, Proof, ProofRequest
from cordon.wire.services import LEAVES, PROVE
from cordon.wire.signed import PAYLOAD_TYPES, open_signed, payload_hash
from node.ledger import Ledger
from node.ledgerfile import create_ledger
from node.standing import CALL_SECONDS, Caller


@dataclass(frozen=True, slots=True)
class Found:
    """A receipt or budget statement of this force that stands in the register."""

    leaf: int
    number: int
    previous: Digest
    envelope: Envelope
    model: Receipt | BudgetStatement


def recover(path: Path, channel: Caller, *, force: str, manifest: Manifest, now: int) -> int:
    """Create the ledger at `path` from the register; returns how many receipts it holds.

    Raises:
        Misconfigured: there is a ledger already, or the register misses one of this force's numbers.
        Untrusted: the leaves are not those of the coordinator's checkpoint.
        CordonError: the coordinator cannot be reached.
    """
    proof: Proof = channel.call(PROVE, ProofRequest(0), timeout=CALL_SECONDS)
    signed = open_checkpoint(proof.note, manifest.origin, manifest.coordinator_public)
    found = list(_own(_leaves(channel, signed.checkpoint.size, signed.checkpoint.root), force, manifest))
    receipts = _in_order([item for item in found if isinstance(item.model, Receipt)], "receipt")
    statements = _in_order([item for item in found if isinstance(item.model, BudgetStatement)], "budget statement")
    create_ledger(path, force=force, now=now)
    ledger = Ledger(path, force=force)
    try:
        ledger.restore(
            [(item.leaf, item.envelope) for item in statements], [(item.leaf, item.envelope) for item in receipts], now
        )
    finally:
        ledger.close()
    # Opened once more: what was written is checked as at any start.
    Ledger(path, force=force).close()
    return len(receipts)


def _leaves(channel: Caller, size: int, root: Digest) -> list[bytes]:
    leaves: list[bytes] = []
    for page in channel.stream(LEAVES, LeavesRequest(0, size), timeout=CALL_SECONDS * 30):
        leaves += page.leaves
    if Frontier().extended(map(leaf_hash, leaves)).root != root or len(leaves) != size:
        raise Untrusted("the coordinator's leaves are not those of its checkpoint")
    return leaves


def _own(leaves: Iterable[bytes], force: str, manifest: Manifest) -> Iterable[Found]:
    kinds: dict[str, type[Receipt | BudgetStatement]] = {
        PAYLOAD_TYPES[Receipt]: Receipt,
        PAYLOAD_TYPES[BudgetStatement]: BudgetStatement,
    }
    for index, leaf in enumerate(leaves):
        envelope = codec.decode_envelope(leaf)
        kind = kinds.get(envelope.payload_type)
        if kind is None:
            continue
        try:
            model: Receipt | BudgetStatement = open_signed(kind, envelope, manifest.keyring(force))
        except Untrusted:
            # Another force's, or of a key that this force has given up.
            continue
        yield Found(index, model.number, model.previous, envelope, model)


def _in_order(found: list[Found], what: str) -> list[Found]:
    """By number, each once, and each naming the one before."""
    ordered = sorted(found, key=lambda item: item.number)
    previous = NO_DIGEST
    for expected, item in enumerate(ordered, start=1):
        if item.number != expected or item.previous != previous:
            raise Misconfigured(
                f"the register's {what}s of this force do not follow one another at number {expected}",
                hint="an auditor's 'cordon audit verify' says what is missing; until it is found, the ledger "
                "cannot be made again",
            )
        previous = payload_hash(item.envelope)
    return ordered
