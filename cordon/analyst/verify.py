"""Verify a completed query before anything of it is opened. Trusts nobody: every step is recomputed.

Pure: takes what the coordinator sent, and raises or returns. docs/protocol.md §10 numbers the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cordon.contract import Contract
from cordon.envelope import Envelope
from cordon.errors import Malformed, Untrusted
from cordon.manifest import Manifest
from cordon.query.model import Query
from cordon.query.plan import Plan, blinded
from cordon.register.leaf import Completed, Receipt, RosterFixed
from cordon.sealing.ciphertext import add, chunks_digest, pack, unpack
from cordon.sealing.masks import check_ephemeral_keys
from cordon.sealing.transcript import transcript_hash
from cordon.units import Digest
from cordon.wire.messages import ALGORITHM_VERSION, Contributed, ContributionHead, Event, Ready, RosterKnown, SumReady
from cordon.wire.signed import open_claimed, open_signed, payload_hash, peek


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, as the analyst knows it."""

    query_hash: Digest
    query: Query
    payload: bytes
    """The signed query, byte for byte."""
    key_id: Digest
    contract: Contract
    manifest: Manifest
    plan: Plan


@dataclass(frozen=True, slots=True)
class VerifiedSum:
    """A completed attempt that verified, and is still closed."""

    attempt: int
    forces: tuple[str, ...]
    transcript: Digest
    sum_hash: Digest
    receipts: tuple[Receipt, ...]
    """Of each force, in the roster's order."""
    leaves: tuple[tuple[str, Envelope], ...]
    """What must stand in the register, with its name in words; the registered sum is the last."""


def verify_completed(asked: Asked, events: Sequence[Event]) -> VerifiedSum:
    """Verify roster, receipts and registered sum of a completed query.

    Raises:
        Untrusted: with the step that failed.
        Malformed: an event that is not what it says.
    """
    keys = asked.manifest.coordinator_keyring
    # Step 1: the coordinator has signed which sum is whole.
    registered = _last(events, SumReady).completed
    completed = open_signed(Completed, registered, keys)
    if completed.query_hash != asked.query_hash or not 1 <= completed.attempt <= asked.query.terms.attempts:
        raise Untrusted("the coordinator completed another query than was asked")
    # Step 2: the roster of that attempt, with every force's own signature.
    known = _roster_of(asked, events, completed.attempt)
    notes = [_verified_note(asked, envelope, completed.attempt) for envelope in known.ready]
    forces = tuple(note.force for note in notes)
    _check_roster(asked, forces)
    check_ephemeral_keys({note.force: note.ephemeral_key for note in notes})
    # Step 3: everyone, and we too, come to the same transcript.
    transcript = transcript_hash(
        query_payload=asked.payload,
        attempt=completed.attempt,
        manifest=asked.manifest.digest,
        contract=asked.contract.digest,
        completed_plan=asked.plan.completed_digest(len(forces)),
        roster={force: envelope.payload for force, envelope in zip(forces, known.ready, strict=True)},
    )
    fixed = open_signed(RosterFixed, known.fixed, keys)
    if fixed.forces != forces or not fixed.transcript_hash == completed.transcript_hash == transcript:
        raise Untrusted("the coordinator registered another roster than it showed")
    # Step 4: one receipt of each force, for this transcript and the signed charge.
    receipts = _receipts_of(asked, events, completed.attempt)
    plan = blinded(asked.query.terms.nonce, asked.plan.completed_digest(len(forces)))
    ordered = [_verified_receipt(asked, receipts, force, completed.attempt, transcript, plan) for force in forces]
    # Step 5: those are the receipts that the registered sum is made of.
    if completed.receipt_hashes != tuple(payload_hash(receipts[force]) for force in forces):
        raise Untrusted("the registered sum is made of other receipts than those that were shown")
    shown = [(f"the receipt of {force}", receipts[force]) for force in forces]
    leaves = (("the roster", known.fixed), *shown, ("the registered sum", registered))
    return VerifiedSum(completed.attempt, forces, transcript, completed.sum_hash, tuple(ordered), leaves)


def verify_sum(verified: VerifiedSum, chunks: Sequence[bytes], plan: Plan) -> None:
    """Check that fetched ciphertexts are the registered sum.

    Raises:
        Untrusted: they are not.
    """
    # Step 7.
    if len(chunks) != plan.ciphertexts or chunks_digest(chunks) != verified.sum_hash:
        raise Untrusted("the sum is not the one in the register")


def add_again(verified: VerifiedSum, parts: Iterable[ContributionHead | bytes], plan: Plan) -> None:
    """Add the kept contributions again, and compare with the registered sum; opens none.

    Raises:
        Untrusted: the coordinator's sum is not the sum of the contributions that have receipts.
        Malformed: a contribution is not what its head says.
    """
    # Step 8.
    parameters = plan.parameters
    totals = [unpack(_zero(plan), parameters, parameters.moduli) for _ in range(plan.ciphertexts)]
    seen = 0
    for _, chunks in _contributions(parts, plan.ciphertexts):
        if seen >= len(verified.forces) or chunks_digest(chunks) != verified.receipts[seen].ciphertext_hash:
            raise Untrusted("a kept contribution is not the one that its receipt names: the coordinator changed it")
        read = [unpack(chunk, parameters, parameters.moduli) for chunk in chunks]
        totals = [add(total, more, parameters) for total, more in zip(totals, read, strict=True)]
        seen += 1
    if seen != len(verified.forces):
        raise Untrusted(f"{len(verified.forces)} forces contributed, {seen} contributions are kept")
    if chunks_digest(pack(total, parameters.moduli) for total in totals) != verified.sum_hash:
        raise Untrusted("the registered sum is not the sum of the contributions: the coordinator changed it")


def _contributions(
    parts: Iterable[ContributionHead | bytes], ciphertexts: int
) -> Iterable[tuple[ContributionHead, list[bytes]]]:
    head: ContributionHead | None = None
    chunks: list[bytes] = []
    for part in parts:
        if isinstance(part, ContributionHead):
            head, chunks = part, []
            continue
        if head is None:
            raise Malformed("a contribution begins with its head")
        chunks.append(part)
        if len(chunks) == ciphertexts:
            yield head, chunks
            head = None


def _zero(plan: Plan) -> bytes:
    widths = [(q.bit_length() + 7) // 8 for q in plan.parameters.moduli]
    return bytes(2 * plan.parameters.slots * sum(widths))


def _last(events: Sequence[Event], kind: type[SumReady]) -> SumReady:
    found = [event for event in events if isinstance(event, kind)]
    if not found:
        raise Untrusted("the query has not completed")
    return found[-1]


def _roster_of(asked: Asked, events: Sequence[Event], attempt: int) -> RosterKnown:
    for event in events:
        if isinstance(event, RosterKnown):
            fixed = peek(RosterFixed, event.fixed)
            if fixed.attempt == attempt and fixed.query_hash == asked.query_hash:
                return event
    raise Untrusted("the roster of the completed attempt was not shown")


def _verified_note(asked: Asked, envelope: Envelope, attempt: int) -> Ready:
    note = open_claimed(Ready, envelope, lambda claimed: asked.manifest.keyring(claimed.force))
    expected = (
        asked.query_hash,
        attempt,
        asked.manifest.digest,
        blinded(asked.query.terms.nonce, asked.plan.digest),
        ALGORITHM_VERSION,
    )
    if (note.query_hash, note.attempt, note.manifest_hash, note.plan, note.algorithm_version) != expected:
        raise Untrusted(f"{note.force} was ready for another query, attempt, manifest or plan")
    return note


def _check_roster(asked: Asked, forces: tuple[str, ...]) -> None:
    named = asked.query.question.forces
    if list(forces) != sorted(set(forces), key=str.encode) or not set(forces) <= set(named):
        raise Untrusted("the roster is not made of distinct forces of the question")
    smallest = asked.manifest.smallest_roster
    small_allowed = (len(forces) >= 3 and len(named) < smallest) or len(forces) == len(named) == 1
    if len(forces) < smallest and not small_allowed:
        raise Untrusted(f"the roster has {len(forces)} forces, fewer than the federation's {smallest}")


def _receipts_of(asked: Asked, events: Sequence[Event], attempt: int) -> dict[str, Envelope]:
    receipts: dict[str, Envelope] = {}
    for event in events:
        if isinstance(event, Contributed):
            claimed = peek(Receipt, event.receipt)
            if claimed.attempt == attempt and claimed.query_hash == asked.query_hash:
                receipts[claimed.force] = event.receipt
    return receipts


def _verified_receipt(
    asked: Asked, receipts: dict[str, Envelope], force: str, attempt: int, transcript: Digest, plan: Digest
) -> Receipt:
    if force not in receipts:
        raise Untrusted(f"there is no receipt of {force}")
    receipt = open_signed(Receipt, receipts[force], asked.manifest.keyring(force))
    terms = asked.query.terms
    expected = (force, asked.query_hash, attempt, transcript, asked.key_id, terms.purpose, terms.rho, plan)
    found = (
        receipt.force, receipt.query_hash, receipt.attempt, receipt.transcript_hash,
        receipt.analyst_key_id, receipt.purpose, receipt.rho, receipt.plan,
    )  # fmt: skip
    if found != expected:
        raise Untrusted(f"the receipt of {force} is for something else than was asked")
    return receipt
