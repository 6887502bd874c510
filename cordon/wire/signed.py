"""Models in signed envelopes: which payload type each model travels as, and what its bytes hash to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cordon import envelope as kinds
from cordon.envelope import Envelope, Signer, open_envelope, seal
from cordon.errors import Untrusted
from cordon.query.model import Query, Question
from cordon.register.leaf import (
    AttemptFailed,
    BudgetStatement,
    Completed,
    Decision,
    Erasure,
    ManifestAdopted,
    PublishedAnswer,
    QueryEnded,
    QuerySubmitted,
    Receipt,
    Rejected,
    RosterFixed,
)
from cordon.units import Digest, tagged_digest
from cordon.wire import codec
from cordon.wire.messages import Approval, Hello, Pause, Ready, Vouch

Model = TypeVar("Model")

PAYLOAD_TYPES: dict[type, str] = {
    Query: kinds.QUERY,
    Hello: kinds.HELLO,
    Ready: kinds.READY,
    Decision: kinds.DECISION,
    Receipt: kinds.RECEIPT,
    QuerySubmitted: kinds.QUERY_SUBMITTED,
    RosterFixed: kinds.ROSTER_FIXED,
    AttemptFailed: kinds.ATTEMPT_FAILED,
    Completed: kinds.COMPLETED,
    QueryEnded: kinds.QUERY_ENDED,
    Rejected: kinds.REJECTED,
    ManifestAdopted: kinds.MANIFEST_ADOPTED,
    BudgetStatement: kinds.BUDGET_STATEMENT,
    Erasure: kinds.ERASURE,
    PublishedAnswer: kinds.PUBLISHED_ANSWER,
    Vouch: kinds.VOUCH,
    Approval: kinds.APPROVAL,
    Pause: kinds.PAUSE,
}


def sign(model: Any, *signers: Signer) -> Envelope:
    """A model's canonical encoding, signed as its payload type."""
    return seal(PAYLOAD_TYPES[type(model)], codec.encode(model), *signers)


def open_signed(kind: type[Model], envelope: Envelope, keys: Mapping[Digest, Ed25519PublicKey]) -> Model:
    """The model in an envelope that one of `keys` has signed, and nobody else.

    A further signature is refused: it would travel and be stored with the payload, and say anything.

    Raises:
        Untrusted: another payload type, or not signed by one of the keys alone.
        Malformed: signed, but not such a model.
    """
    _check_single(envelope)
    return codec.decode(kind, open_envelope(envelope, PAYLOAD_TYPES[kind], keys))


def open_claimed(
    kind: type[Model], envelope: Envelope, keys: Callable[[Model], Mapping[Digest, Ed25519PublicKey]]
) -> Model:
    """The model in an envelope that whoever it claims to be from has signed, and nobody else.

    Args:
        keys: the keys that count for what the model claims; decoded once, verified before it is returned.

    Raises:
        Untrusted: another payload type, or not signed by one of the keys alone.
        Malformed: not such a model.
    """
    claimed = peek(kind, envelope)
    _check_single(envelope)
    open_envelope(envelope, PAYLOAD_TYPES[kind], keys(claimed))
    return claimed


def peek(kind: type[Model], envelope: Envelope) -> Model:
    """What an envelope claims, before anything of it is verified; only to learn whose key to try.

    Raises:
        Malformed: another payload type, or not such a model.
    """
    if envelope.payload_type != PAYLOAD_TYPES[kind]:
        raise codec.unexpected(envelope.payload_type)
    return codec.decode(kind, envelope.payload)


def _check_single(envelope: Envelope) -> None:
    if len(envelope.signatures) > 1:
        raise Untrusted(f"carries {len(envelope.signatures)} signatures where one is needed")


def payload_hash(envelope: Envelope) -> Digest:
    """SHA-256 of the payload, as receipts and rosters name each other."""
    return Digest(hashlib.sha256(envelope.payload).digest())


def question_digest(question: Question) -> Digest:
    """Names a question; never leaves unblinded, because questions can be guessed."""
    return tagged_digest("cordon/v1/question", codec.encode(question))
