"""Prepare and contribute: from an admitted query to bytes that may leave, charged before they do.

Nothing in memory here is ever stored: the ephemeral private key and the exact cells die with the
process, and a restarted node declines the attempt. docs/protocol.md §5 and §6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.envelope import Envelope, Signer
from cordon.errors import Declined, Malformed, Untrusted
from cordon.manifest import Manifest
from cordon.noise import add_noise_share
from cordon.query.plan import CHECK_CELLS, blinded
from cordon.register.leaf import Checkpoint, DeclineCode, Receipt
from cordon.register.merkle import verify_consistency
from cordon.sealing.bfv import Sealer
from cordon.sealing.check import with_check_cells
from cordon.sealing.ciphertext import chunks_digest
from cordon.sealing.keystream import residues
from cordon.sealing.masks import PairKeys, agree, check_ephemeral_keys, mask
from cordon.sealing.transcript import transcript_hash
from cordon.units import Digest
from cordon.wire.messages import ALGORITHM_VERSION, Fixed, Ready
from cordon.wire.signed import open_claimed, open_signed, sign
from node.gate import Admission
from node.ledger import Contribution, Ledger, Position
from node.policy import Policy


@dataclass(frozen=True, slots=True)
class Prepared:
    """One attempt that this force has said it is ready for."""

    admission: Admission
    attempt: int
    private: X25519PrivateKey
    note: Envelope
    holds_until: int
    """Until then the same note answers a Prepare that comes again; later a newer one revokes it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where this force stands towards the register."""

    checkpoint: Checkpoint
    """The newest that it has accepted."""
    agreed: bool
    """Whether its clock and that checkpoint's time agree within an hour: only then a new period begins."""


@dataclass(frozen=True, slots=True)
class Roster:
    """A roster that passed every check."""

    forces: tuple[str, ...]
    """In order."""
    transcript: Digest
    pairs: PairKeys
    sealer: Sealer

    @property
    def size(self) -> int:
        """Forces on it, |R|."""
        return len(self.forces)


class Forked(Declined):
    """The roster's checkpoints are not of one register; its notes are the evidence."""

    def __init__(self, text: str) -> None:
        super().__init__(DeclineCode.ROSTER.words, text[:300])


def period_of(now: int) -> int:
    """Number of the budget period that a time lies in: the calendar year, UTC."""
    return datetime.fromtimestamp(now, UTC).year


def prepare(
    admission: Admission,
    attempt: int,
    *,
    force: str,
    manifest: Manifest,
    ledger: Ledger,
    signer: Signer,
    standing: Standing,
    serial: int,
    now: int,
) -> Prepared:
    """Reserve an attempt's cost and sign a Ready note with a fresh ephemeral key.

    Args:
        standing: what this force has accepted of the register.
        serial: grows with every note of this force.

    Raises:
        Declined: the attempt is more than was signed for, was contributed to before, or the budget
            does not hold it; nothing is reserved.
    """
    terms = admission.query.terms
    if not 1 <= attempt <= terms.attempts:
        raise Declined(DeclineCode.QUESTION.words, f"the query was signed for {terms.attempts} attempts")
    if ledger.contribution(admission.query_hash, attempt) is not None:
        raise Declined(DeclineCode.ROSTER.words, "this force has contributed to this attempt already")
    limits, domain = admission.limits, admission.spender.domain
    period = ledger.period(domain, period_of(now), agreed=standing.agreed)
    if attempt > 1 and ledger.spending.failed(domain, period) >= limits.failed:
        raise Declined(DeclineCode.BUDGET.words, "failed attempts have used up this force's share for them in a year")
    timing = manifest.timing
    expires = min(terms.expires, now + timing.ready_seconds + timing.contribute_seconds)
    ledger.reserve(
        admission.query_hash,
        attempt,
        spender=admission.spender,
        rho=terms.rho,
        limits=limits,
        period=period,
        until=expires + timing.clock_tolerance_seconds,
        now=now,
    )
    private = X25519PrivateKey.generate()
    note = Ready(
        query_hash=admission.query_hash,
        attempt=attempt,
        force=force,
        ephemeral_key=private.public_key().public_bytes_raw(),
        manifest_hash=manifest.digest,
        plan=blinded(terms.nonce, admission.plan.digest),
        algorithm_version=ALGORITHM_VERSION,
        checkpoint=standing.checkpoint,
        expires=expires,
        serial=serial,
    )
    return Prepared(admission, attempt, private, sign(note, signer), expires - timing.contribute_seconds)


def check_roster(
    fixed: Fixed,
    prepared: Prepared,
    *,
    force: str,
    manifest: Manifest,
    policy: Policy,
    shunned: frozenset[str],
    now: int,
) -> Roster:
    """Check everything about a fixed roster that can be wrong, before any record is touched for it.

    Whatever is declined here is declined after a time that no record has a part in.

    Args:
        shunned: forces that made attempts fail, where failures have spent what this force allows them.

    Raises:
        Declined: with what is wrong; nothing was charged.
    """
    admission = prepared.admission
    question, terms = admission.query.question, admission.query.terms
    # Step 1: our own newest note is in it, byte for byte.
    if prepared.note not in fixed.roster:
        raise _refused("the roster does not hold this force's newest note")
    # Step 2: each note is signed by its force; notes are in order and of the question's forces.
    notes = [_verified(envelope, manifest) for envelope in fixed.roster]
    forces = [note.force for note in notes]
    if forces != sorted(set(forces), key=str.encode) or not set(forces) <= set(question.forces):
        raise _refused("the roster is not made of distinct forces of the question, in order")
    # Step 3: all notes are about the same thing.
    own = open_signed(Ready, prepared.note, manifest.keyring(force))
    for note in notes:
        _check_note(note, own, now - manifest.timing.clock_tolerance_seconds)
    _check_one_line(fixed, notes)
    if shunned & set(forces):
        raise _refused(f"{min(shunned & set(forces))} has made too many attempts fail in this year")
    # Step 4: ephemeral keys are canonical and distinct.
    keys = {note.force: note.ephemeral_key for note in notes}
    try:
        check_ephemeral_keys(keys)
    except Untrusted as error:
        raise _refused(str(error)) from None
    # Step 5: this force's own rules at this size, and the analyst's own key.
    policy.check_roster(len(notes), question, terms.rho, manifest)
    if hashlib.sha256(fixed.public_key).digest() != terms.bfv_key_hash:
        raise _refused("the public key is not the one that the analyst signed for")
    transcript = transcript_hash(
        query_payload=admission.asked.envelope.payload,
        attempt=prepared.attempt,
        manifest=manifest.digest,
        contract=admission.contract.digest,
        completed_plan=admission.plan.completed_digest(len(notes)),
        roster={note.force: envelope.payload for note, envelope in zip(notes, fixed.roster, strict=True)},
    )
    # Step 6: the exchange with every peer, and the analyst's key as SEAL reads it.
    try:
        pairs = agree(
            force,
            prepared.private,
            keys,
            transcript=transcript,
            modulus=admission.plan.parameters.modulus,
            length=admission.plan.cells + CHECK_CELLS,
        )
        sealer = Sealer(fixed.public_key, admission.plan.parameters)
    except (Untrusted, Malformed) as error:
        raise _refused(str(error)) from None
    return Roster(tuple(forces), transcript, pairs, sealer)


def contribute(
    prepared: Prepared,
    roster: Roster,
    cells: list[int],
    *,
    force: str,
    ledger: Ledger,
    signer: Signer,
    standing: Standing,
    check: Callable[[], None],
    now: int,
) -> Contribution:
    """Build the whole contribution in memory, then commit charge, receipt and bytes together.

    Args:
        cells: the force's exact cells; they are neither stored nor kept.
        check: raises Declined where the node must not commit any more.

    Raises:
        Declined: the attempt was contributed to before, or the budget does not hold it; nothing was charged.
    """
    admission = prepared.admission
    chunks = _sealed_vector(prepared, roster, cells, force)
    ciphertext_hash = chunks_digest(chunks)
    terms = admission.query.terms

    def make_receipt(position: Position) -> tuple[Envelope, Receipt]:
        receipt = Receipt(
            force=force,
            query_hash=admission.query_hash,
            attempt=prepared.attempt,
            transcript_hash=roster.transcript,
            analyst_key_id=admission.asked.analyst_key_id,
            purpose=terms.purpose,
            domain=admission.spender.domain,
            period=position.period,
            rho=terms.rho,
            period_sum=position.period_sum,
            lifetime_sum=position.lifetime_sum,
            number=position.number,
            previous=position.previous,
            ciphertext_hash=ciphertext_hash,
            plan=blinded(terms.nonce, admission.plan.completed_digest(roster.size)),
            checkpoint=standing.checkpoint,
        )
        return sign(receipt, signer), receipt

    return ledger.commit(
        admission.query_hash,
        prepared.attempt,
        spender=admission.spender,
        rho=terms.rho,
        limits=admission.limits,
        period=ledger.period(admission.spender.domain, period_of(now), agreed=standing.agreed),
        transcript_hash=roster.transcript,
        ciphertexts=chunks,
        expires=terms.expires,
        now=now,
        others=tuple(other for other in roster.forces if other != force),
        make_receipt=make_receipt,
        check=check,
    )


def _sealed_vector(prepared: Prepared, roster: Roster, cells: list[int], force: str) -> list[bytes]:
    plan = prepared.admission.plan
    modulus = plan.parameters.modulus
    noised = add_noise_share(cells, plan, roster.size)
    vector = with_check_cells(residues(noised, modulus), prepared.admission.seed, roster.transcript, modulus)
    return roster.sealer.seal(mask(vector, force, roster.pairs, modulus))


def _verified(envelope: Envelope, manifest: Manifest) -> Ready:
    try:
        return open_claimed(Ready, envelope, lambda note: manifest.keyring(note.force))
    except (Untrusted, Malformed) as error:
        raise _refused(f"a note of the roster: {error}") from None


def _check_note(note: Ready, own: Ready, earliest: int) -> None:
    # Whatever is not named here must be equal in all notes of one roster.
    same = replace(
        note,
        force=own.force,
        ephemeral_key=own.ephemeral_key,
        checkpoint=own.checkpoint,
        expires=own.expires,
        serial=own.serial,
    )
    if same != own:
        raise _refused(f"{note.force} is ready for another query, attempt, manifest or plan than this force")
    if note.expires <= earliest:
        raise _refused(f"the note of {note.force} has expired")


def _check_one_line(fixed: Fixed, notes: list[Ready]) -> None:
    """Every force of the roster has accepted checkpoints of one register: its fork would show here."""
    known: dict[int, tuple[Digest, str]] = {}
    for note in notes:
        size, root = note.checkpoint.size, note.checkpoint.root
        before = known.setdefault(size, (root, note.force))
        if size == 0 or before[0] != root:
            raise Forked(f"{before[1]} and {note.force} have accepted different registers of {size} leaves")
    shown = {(proof.old_size, proof.new_size): proof.hashes for proof in fixed.consistency}
    for old, new in pairwise(sorted(known)):
        try:
            verify_consistency(old, known[old][0], new, known[new][0], shown.get((old, new), ()))
        except Untrusted as error:
            names = f"{known[old][1]} and {known[new][1]}"
            raise Forked(f"the registers of {names} are not shown to be one: {error}") from None


def _refused(text: str) -> Declined:
    return Declined(DeclineCode.ROSTER.words, text[:300])
