"""What the coordinator checks of what it is sent: signatures, shapes, and that things belong together.

It cannot open anything, so it checks only what anybody could.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.rounds import Rules
from coordinator.store import StoredQuery, StoredRoster
from cordon.catalogue import Catalogue
from cordon.contract import Contract
from cordon.envelope import QUERY, Envelope, commitment, key_id
from cordon.errors import Malformed, Refused, Untrusted
from cordon.identity import Certified, Identity, Role, verify_certificate
from cordon.manifest import Manifest
from cordon.query.model import LONGEST_LIFE_SECONDS, Query
from cordon.query.plan import Plan, blinded, make_plan
from cordon.register.leaf import Decision, Receipt, text_commitment
from cordon.sealing.ciphertext import chunks_digest
from cordon.sealing.masks import check_ephemeral_keys, check_order
from cordon.sealing.transcript import transcript_hash
from cordon.units import Digest
from cordon.wire.messages import ALGORITHM_VERSION, PROTOCOL_VERSION, Hello, NodeAnswer, Ready, Submission
from cordon.wire.signed import open_signed


@dataclass(frozen=True, slots=True)
class Known:
    """A submitted query, verified, with what follows from it."""

    query_hash: Digest
    envelope: Envelope
    certificate: bytes
    public_key: bytes
    query: Query
    analyst: Certified
    contract: Contract
    plan: Plan
    rules: Rules


def check_hello(envelope: Envelope, caller: Identity, manifest: Manifest, now: int) -> Hello:
    """Check what a node says when it connects.

    Raises:
        Untrusted: not signed by the force that the certificate names, or the clock is off.
        Refused: another protocol version or manifest.
    """
    if caller.role is not Role.FORCE:
        raise Untrusted(f"{caller.uri} is not a force")
    hello = open_signed(Hello, envelope, manifest.keyring(caller.name))
    if hello.force != caller.name:
        raise Untrusted(f"{caller.uri} says that it is {hello.force}")
    if not manifest.oldest_protocol <= hello.protocol_version <= PROTOCOL_VERSION:
        raise Refused(f"protocol version {hello.protocol_version} is not spoken here; upgrade one side")
    if (hello.manifest_version, hello.manifest_hash) != (manifest.version, manifest.digest):
        raise Refused(
            f"the coordinator has manifest version {manifest.version}, the node version {hello.manifest_version}; "
            "install the same on both"
        )
    off = hello.sent_at - now
    if abs(off) > manifest.timing.clock_tolerance_seconds:
        raise Untrusted(f"the node's clock is off by {off} seconds; set it, e.g. with NTP")
    return hello


def check_submission(
    submission: Submission, caller: Identity, manifest: Manifest, catalogue: Catalogue, now: float
) -> Known:
    """Check a submitted query's signature, shape and terms.

    Raises:
        Untrusted: not signed by the calling analyst.
        Malformed: not a query, or a public key that its terms do not name.
        Refused: expired, for another manifest, or a question that cannot be planned.
    """
    analyst = verify_certificate(
        submission.certificate, manifest.authority, roles=frozenset({Role.ANALYST}), now=int(now)
    )
    if analyst.identity != caller:
        raise Untrusted(f"{caller.uri} cannot submit what {analyst.identity.uri} has signed")
    query = open_signed(Query, submission.query, {key_id(analyst.key): analyst.key})
    terms = query.terms
    if hashlib.sha256(submission.public_key).digest() != terms.bfv_key_hash:
        raise Malformed("the public key is not the one that the query's terms name")
    if terms.manifest_version != manifest.version:
        raise Refused(f"the query names manifest version {terms.manifest_version}; {manifest.version} is in force")
    if terms.expires <= now:
        raise Refused("the query has expired")
    if terms.decide_by > terms.expires or terms.expires > now + LONGEST_LIFE_SECONDS:
        raise Refused("the query's decide-by time or expiry lies too far ahead")
    return known_query(
        submission.query, submission.certificate, submission.public_key, query, analyst,
        manifest=manifest, catalogue=catalogue, wait=submission.wait, submitted=now,
    )  # fmt: skip


def known_query(
    envelope: Envelope,
    certificate: bytes,
    public_key: bytes,
    query: Query,
    analyst: Certified,
    *,
    manifest: Manifest,
    catalogue: Catalogue,
    wait: bool,
    submitted: float,
) -> Known:
    """A verified query with its plan and rules.

    Raises:
        Refused: the question cannot be planned, or asks for more than the manifest allows.
    """
    question, terms = query.question, query.terms
    listed = catalogue.get((question.dataset, question.contract_version))
    if listed is None:
        raise Refused(f"the manifest does not list {question.dataset} v{question.contract_version}")
    if any(force not in manifest.by_id for force in question.forces):
        raise Refused("the query names a force that is no member")
    if not 1 <= terms.attempts <= manifest.limits.attempts or terms.rho * terms.attempts > manifest.most_rho:
        raise Refused("the query asks for more rho or attempts than the federation allows")
    plan = make_plan(
        question, terms.block_rho, listed[0], colluders=manifest.colluders, most_cells=manifest.limits.cells
    )
    rules = Rules(
        forces=question.forces,
        attempts=terms.attempts,
        colluders=manifest.colluders,
        wait=wait,
        submitted=submitted,
        decide_by=float(terms.decide_by),
        expires=float(terms.expires),
        ready_seconds=float(manifest.timing.ready_seconds),
        contribute_seconds=float(manifest.timing.contribute_seconds),
    )
    query_hash = commitment(QUERY, envelope.payload)
    return Known(query_hash, envelope, certificate, public_key, query, analyst, listed[0], plan, rules)


def restored(stored: StoredQuery, manifest: Manifest, catalogue: Catalogue) -> Known:
    """A query from the store, verified as when it was submitted.

    Raises:
        Refused: it no longer fits the manifest.
        Untrusted: another authority certifies analysts now.
    """
    analyst = verify_certificate(
        stored.certificate, manifest.authority, roles=frozenset({Role.ANALYST}), now=int(stored.submitted)
    )
    query = open_signed(Query, stored.envelope, {key_id(analyst.key): analyst.key})
    if query.terms.manifest_version != manifest.version:
        raise Refused("the manifest has changed since the query was submitted")
    return known_query(
        stored.envelope, stored.certificate, stored.public_key, query, analyst,
        manifest=manifest, catalogue=catalogue, wait=stored.wait, submitted=stored.submitted,
    )  # fmt: skip


def check_answer(answer: NodeAnswer, caller: Identity, manifest: Manifest) -> tuple[Decision | None, Ready | None]:
    """Check the signatures of what a node answered.

    Raises:
        Untrusted: not signed by the calling force, or a text that its commitment does not name.
        Malformed: neither a decision nor a Ready note.
    """
    if caller.role is not Role.FORCE:
        raise Untrusted(f"{caller.uri} is not a force")
    keys = manifest.keyring(caller.name)
    decision = open_signed(Decision, answer.decision, keys) if answer.decision else None
    ready = open_signed(Ready, answer.ready, keys) if answer.ready else None
    if decision is None and ready is None:
        raise Malformed("the answer holds neither a decision nor a Ready note")
    if any(said.force != caller.name for said in (decision, ready) if said is not None):
        raise Untrusted(f"{caller.uri} answers for another force")
    if decision is not None:
        text = answer.text
        if text is None or text_commitment(text.salt, text.text) != decision.text_commitment:
            raise Untrusted("the decision's text is not the one that it commits to")
    return decision, ready


def check_receipt(
    envelope: Envelope, chunks: list[bytes], caller: Identity, *, known: Known, roster: StoredRoster, manifest: Manifest
) -> Receipt:
    """Check that a receipt is the calling force's, for this roster and these bytes.

    Raises:
        Untrusted: not signed by the force, or about other bytes, another roster or another charge.
    """
    receipt = open_signed(Receipt, envelope, manifest.keyring(caller.name))
    if receipt.force != caller.name or receipt.force not in roster.forces:
        raise Untrusted(f"{caller.name} is not on this roster")
    terms = known.query.terms
    plan = blinded(terms.nonce, known.plan.completed_digest(len(roster.forces)))
    found = (
        receipt.query_hash, receipt.transcript_hash, receipt.rho, receipt.purpose, receipt.analyst_key_id, receipt.plan,
    )  # fmt: skip
    expected = (known.query_hash, roster.transcript, terms.rho, terms.purpose, key_id(known.analyst.key), plan)
    # The analyst checks the same; found here, it costs an attempt and not an answer.
    if found != expected:
        raise Untrusted("the receipt is for another query, roster or charge")
    if receipt.ciphertext_hash != chunks_digest(chunks):
        raise Untrusted("the receipt is for other bytes")
    return receipt


def check_ready(ready: Ready, known: Known, *, others: Mapping[str, bytes], manifest: Manifest, now: float) -> None:
    """Check that a Ready note can stand in a roster: a bad one would make the honest forces decline it.

    Args:
        others: ephemeral keys of the forces that are ready for the same attempt.

    Raises:
        Refused: another manifest, plan or version, or an expiry that cannot be meant.
        Untrusted: an ephemeral key that is not canonical, of low order, or somebody else's.
    """
    terms, timing = known.query.terms, manifest.timing
    if ready.manifest_hash != manifest.digest or ready.plan != blinded(terms.nonce, known.plan.digest):
        raise Refused("the Ready note is for another manifest or plan; upgrade one side")
    longest = now + timing.ready_seconds + timing.contribute_seconds + timing.clock_tolerance_seconds
    if ready.algorithm_version != ALGORITHM_VERSION or not now < ready.expires <= longest:
        raise Refused("the Ready note is of another version, or expires too early or too late")
    check_ephemeral_keys({**others, ready.force: ready.ephemeral_key})
    check_order(ready.ephemeral_key)


def transcript_of(known: Known, attempt: int, forces: tuple[str, ...], notes: tuple[Envelope, ...],
                  manifest: Manifest) -> Digest:  # fmt: skip
    """The transcript hash of an attempt's roster."""
    return transcript_hash(
        query_payload=known.envelope.payload,
        attempt=attempt,
        manifest=manifest.digest,
        contract=known.contract.digest,
        completed_plan=known.plan.completed_digest(len(forces)),
        roster={force: note.payload for force, note in zip(forces, notes, strict=True)},
    )


def must_be_analyst(caller: Identity) -> None:
    """Check the role of a caller of the analysis service.

    Raises:
        Untrusted: another role.
    """
    if caller.role not in (Role.ANALYST, Role.AUDITOR):
        raise Untrusted(f"{caller.uri} is not an analyst")
