"""One leaf by itself: is it canonical, of a known kind, and signed once, by a key that is known?

Stateless, so that processes can share the work. The kinds that are nearly all of a register take a
short way to the same answer as the codec's; a test holds them to it. docs/auditing.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf.message import DecodeError, Message

from cordon import envelope as kinds
from cordon.envelope import SIGNATURE_BYTES, pre_authentication_encoding
from cordon.errors import CordonError
from cordon.reading.signatures import verifies
from cordon.register import leaf as models
from cordon.units import DIGEST_BYTES, Rho
from cordon.wire import codec
from cordon.wire.signed import PAYLOAD_TYPES
from cordon.wire.v1 import audit_pb2, envelope_pb2

Finding = bytes | str | None
"""The key id that signed the leaf; or what is wrong with it; or None where the key is not known (yet)."""

_MODELS: tuple[type, ...] = (
    *(models.QuerySubmitted, models.Decision, models.RosterFixed, models.Receipt, models.AttemptFailed),
    *(models.Completed, models.QueryEnded, models.Rejected, models.ManifestAdopted, models.BudgetStatement),
    *(models.Erasure, models.PublishedAnswer),
)
KINDS: dict[str, type] = {PAYLOAD_TYPES[model]: model for model in _MODELS}
"""Payload type → model of everything that may stand in a register."""

_MESSAGES: dict[str, type[Message]] = {kind: getattr(audit_pb2, model.__name__) for kind, model in KINDS.items()}
_BEYOND = 2**62
"""No number in a leaf comes near it; what does cannot be stored and added up."""

_OUTCOMES = frozenset(int(outcome) for outcome in models.Outcome)
_CODES = frozenset(int(code) for code in models.DeclineCode)


def parsed(leaf: bytes) -> tuple[envelope_pb2.Envelope, Any]:
    """Envelope and payload of a leaf that was examined before and found whole."""
    envelope = envelope_pb2.Envelope.FromString(leaf)
    return envelope, _MESSAGES[envelope.payload_type].FromString(envelope.payload)


def examine(leaf: bytes, keys: Mapping[bytes, bytes]) -> Finding:
    """Check everything about a leaf that can be checked without the leaves before it.

    Args:
        keys: key id → raw public key, of everybody who may have signed it.
    """
    envelope = envelope_pb2.Envelope()
    problem = _canonical(envelope, leaf) or _shape(envelope)
    if problem:
        return problem
    (signed,) = envelope.signatures
    public = keys.get(signed.key_id)
    if public is None:
        return None
    message = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    return signed.key_id if verifies(public, signed.signature, message) else "its signature does not verify"


def examine_all(leaves: Iterable[bytes], keys: Mapping[bytes, bytes]) -> list[Finding]:
    """`examine` of each leaf."""
    return [examine(leaf, keys) for leaf in leaves]


def signed_by(envelope: envelope_pb2.Envelope, public: bytes) -> bool:
    """Whether the one signature of a leaf's envelope verifies with a key."""
    message = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    return verifies(public, envelope.signatures[0].signature, message)


def _canonical(message: Message, data: bytes) -> str:
    """What keeps `data` from being the canonical encoding of `message`, which is filled; empty if nothing."""
    try:
        message.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        return "it cannot be parsed"
    message.DiscardUnknownFields()
    if message.SerializeToString(deterministic=True) != data:
        return "it is not in canonical form, or has a field that this version does not know"
    return ""


def _shape(envelope: envelope_pb2.Envelope) -> str:
    kind = envelope.payload_type
    if kind not in KINDS:
        return "it is of a kind that does not belong into a register, or that this version does not know"
    if len(envelope.signatures) != 1:
        return f"it carries {len(envelope.signatures)} signatures where one is needed"
    (signed,) = envelope.signatures
    if len(signed.key_id) != DIGEST_BYTES or len(signed.signature) != SIGNATURE_BYTES:
        return "its signature or key id has a wrong length"
    return _SHORT.get(kind, _long)(kind, envelope.payload)


def _long(kind: str, payload: bytes) -> str:
    try:
        found: Any = codec.decode(KINDS[kind], payload)
    except CordonError as error:
        return f"its payload does not hold: {error}"
    values = [getattr(found, name) for name in KINDS[kind].__slots__]  # type: ignore[attr-defined]
    numbers = [value.nano if isinstance(value, Rho) else value for value in values]
    if any(isinstance(number, int) and number >= _BEYOND for number in numbers):
        return "a number in it is beyond what can be"
    return ""


def _receipt(_kind: str, payload: bytes) -> str:
    found = audit_pb2.Receipt()
    return _canonical(found, payload) or _checked(
        (
            *(found.query_hash, found.transcript_hash, found.analyst_key_id, found.previous),
            *(found.ciphertext_hash, found.plan, found.checkpoint.root),
        ),
        (found.rho, found.number, found.period_sum, found.lifetime_sum, found.checkpoint.size),
    )


def _decision(_kind: str, payload: bytes) -> str:
    found = audit_pb2.Decision()
    problem = _canonical(found, payload)
    if not problem and (found.outcome not in _OUTCOMES or found.code not in _CODES):
        problem = "it has an outcome or code that this version does not know"
    return problem or _checked((found.query_hash, found.text_commitment), (found.decided_at,))


def _roster(_kind: str, payload: bytes) -> str:
    found = audit_pb2.RosterFixed()
    return _canonical(found, payload) or _checked((found.query_hash, found.transcript_hash, *found.ready_hashes), (0,))


def _completed(_kind: str, payload: bytes) -> str:
    found = audit_pb2.Completed()
    return _canonical(found, payload) or _checked(
        (found.query_hash, found.transcript_hash, found.sum_hash, *found.receipt_hashes), (0,)
    )


def _submitted(_kind: str, payload: bytes) -> str:
    found = audit_pb2.QuerySubmitted()
    return _canonical(found, payload) or _checked(
        (found.query_hash, found.analyst_key_id), (found.rho, found.submitted_at)
    )


def _checked(digests: tuple[bytes, ...], numbers: tuple[int, ...]) -> str:
    if set(map(len, digests)) != {DIGEST_BYTES}:
        return "a digest in it has a wrong length"
    return "a number in it is beyond what can be" if max(numbers) >= _BEYOND else ""


_SHORT: dict[str, Callable[[str, bytes], str]] = {
    kinds.RECEIPT: _receipt,
    kinds.DECISION: _decision,
    kinds.ROSTER_FIXED: _roster,
    kinds.COMPLETED: _completed,
    kinds.QUERY_SUBMITTED: _submitted,
}
