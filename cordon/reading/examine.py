"""One leaf by itself: is it canonical, of a known kind, and signed once, by a key that is known?

Stateless, so that processes can share the work. The kinds that are nearly all of a register take a
short way to the same answer as the codec's; a test holds them to it. docs/auditing.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

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


class Examined(NamedTuple):
    """A leaf that was looked at by itself; nothing but `finding` counts where that is a problem."""

    finding: Finding
    envelope: Any
    message: Any
    """The payload, as the protobuf message of its kind."""


def parsed(leaf: bytes) -> tuple[envelope_pb2.Envelope, Any]:
    """Envelope and payload of a leaf that was examined before and found whole."""
    envelope = envelope_pb2.Envelope.FromString(leaf)
    return envelope, _MESSAGES[envelope.payload_type].FromString(envelope.payload)


def examine(leaf: bytes, keys: Mapping[bytes, bytes]) -> Examined:
    """Check everything about a leaf that can be checked without the leaves before it.

    Args:
        keys: key id → raw public key, of everybody who may have signed it.
    """
    envelope = envelope_pb2.Envelope()
    if not _is_canonical(envelope, leaf):
        return Examined(_UNKNOWN, envelope, None)
    kind, payload, signatures = envelope.payload_type, envelope.payload, envelope.signatures
    if kind not in _MESSAGES:
        return Examined("it is of a kind that is no leaf's, or that this version does not know", envelope, None)
    if len(signatures) != 1:
        return Examined(f"it carries {len(signatures)} signatures where one is needed", envelope, None)
    message = _MESSAGES[kind]()
    problem = _SHORT.get(kind, _long)(message, payload) if _is_canonical(message, payload) else _UNKNOWN
    key, signature = signatures[0].key_id, signatures[0].signature
    if len(key) != DIGEST_BYTES or len(signature) != SIGNATURE_BYTES:
        problem = "its signature or key id has a wrong length"
    public = keys.get(key)
    if problem or public is None:
        return Examined(problem or None, envelope, message)
    holds = verifies(public, signature, pre_authentication_encoding(kind, payload))
    return Examined(key if holds else "its signature does not verify", envelope, message)


def findings(leaves: Iterable[bytes], keys: Mapping[bytes, bytes]) -> list[Finding]:
    """What `examine` finds about each leaf."""
    return [examine(leaf, keys).finding for leaf in leaves]


def signed_by(envelope: envelope_pb2.Envelope, public: bytes) -> bool:
    """Whether the one signature of a leaf's envelope verifies with a key."""
    message = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    return verifies(public, envelope.signatures[0].signature, message)


_UNKNOWN = "it cannot be parsed, is not in canonical form, or has a field that this version does not know"


def _is_canonical(message: Message, data: bytes) -> bool:
    """Whether `data` is the canonical encoding of `message`, which is filled."""
    try:
        message.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        return False
    message.DiscardUnknownFields()
    return message.SerializeToString(deterministic=True) == data


def _long(message: Message, payload: bytes) -> str:
    """What keeps a payload from being its kind's model; empty if nothing."""
    model = _MODEL_OF[type(message)]
    try:
        found: Any = codec.decode(model, payload)
    except CordonError as error:
        return f"its payload does not hold: {error}"
    values = [getattr(found, name) for name in model.__slots__]  # type: ignore[attr-defined]
    numbers = [value.nano if isinstance(value, Rho) else value for value in values]
    if any(isinstance(number, int) and number >= _BEYOND for number in numbers):
        return _TOO_LARGE
    return ""


_MODEL_OF: dict[type, type] = {_MESSAGES[kind]: model for kind, model in KINDS.items()}


def _receipt(found: Any, _payload: bytes) -> str:
    point = found.checkpoint
    return _checked(
        (
            *(found.query_hash, found.transcript_hash, found.analyst_key_id, found.previous),
            *(found.ciphertext_hash, found.plan, point.root),
        ),
        (found.rho, found.number, found.period_sum, found.lifetime_sum, point.size),
    )


def _decision(found: Any, _payload: bytes) -> str:
    if found.outcome not in _OUTCOMES or found.code not in _CODES:
        return "it has an outcome or code that this version does not know"
    return _checked((found.query_hash, found.text_commitment), (found.decided_at,))


def _roster(found: Any, _payload: bytes) -> str:
    return _checked((found.query_hash, found.transcript_hash, *found.ready_hashes), (0,))


def _completed(found: Any, _payload: bytes) -> str:
    return _checked((found.query_hash, found.transcript_hash, found.sum_hash, *found.receipt_hashes), (0,))


def _submitted(found: Any, _payload: bytes) -> str:
    return _checked((found.query_hash, found.analyst_key_id), (found.rho, found.submitted_at))


def _checked(digests: tuple[bytes, ...], numbers: tuple[int, ...]) -> str:
    if set(map(len, digests)) != {DIGEST_BYTES}:
        return "a digest in it has a wrong length"
    return _TOO_LARGE if max(numbers) >= _BEYOND else ""


_TOO_LARGE = "a number in it is beyond what can be"
_SHORT: dict[str, Callable[[Any, bytes], str]] = {
    kinds.RECEIPT: _receipt,
    kinds.DECISION: _decision,
    kinds.ROSTER_FIXED: _roster,
    kinds.COMPLETED: _completed,
    kinds.QUERY_SUBMITTED: _submitted,
}
