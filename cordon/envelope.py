"""Sign and open: the one place that touches signatures.

Every payload that is trusted later stands in a DSSE v1 envelope
(https://github.com/secure-systems-lab/dsse) with Ed25519 signatures (RFC 8032). The payload type
is part of what is signed, so a payload never verifies as another kind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cordon.errors import Malformed, Untrusted
from cordon.units import Digest, tagged_digest

_PREFIX = "application/vnd.cordon."

QUERY = f"{_PREFIX}query.v1+protobuf"
HELLO = f"{_PREFIX}hello.v1+protobuf"
READY = f"{_PREFIX}ready.v1+protobuf"
DECISION = f"{_PREFIX}decision.v1+protobuf"
RECEIPT = f"{_PREFIX}receipt.v1+protobuf"
QUERY_SUBMITTED = f"{_PREFIX}query-submitted.v1+protobuf"
ROSTER_FIXED = f"{_PREFIX}roster-fixed.v1+protobuf"
ATTEMPT_FAILED = f"{_PREFIX}attempt-failed.v1+protobuf"
COMPLETED = f"{_PREFIX}completed.v1+protobuf"
QUERY_ENDED = f"{_PREFIX}query-ended.v1+protobuf"
REJECTED = f"{_PREFIX}rejected.v1+protobuf"
MANIFEST_ADOPTED = f"{_PREFIX}manifest-adopted.v1+protobuf"
BUDGET_STATEMENT = f"{_PREFIX}budget-statement.v1+protobuf"
ERASURE = f"{_PREFIX}erasure.v1+protobuf"
PUBLISHED_ANSWER = f"{_PREFIX}published-answer.v1+protobuf"
VOUCH = f"{_PREFIX}vouch.v1+protobuf"
APPROVAL = f"{_PREFIX}approval.v1+protobuf"
PAUSE = f"{_PREFIX}pause.v1+protobuf"
ANSWER = f"{_PREFIX}answer.v1+json"
MANIFEST = f"{_PREFIX}manifest.v1+toml"

MOST_SIGNATURES = 32
"""Of one envelope; a manifest has as many as its governance keys, everything else has one."""

SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature, and SHA-256 of the raw public key that made it."""

    key_id: Digest
    signature: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload exactly as signed, its type and its signatures. Nothing in it is trusted yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        # Every signature costs a verification, and is stored and sent on: no more than can mean something.
        keys = {signature.key_id for signature in self.signatures}
        if len(self.signatures) > MOST_SIGNATURES or len(keys) != len(self.signatures):
            raise Malformed(f"an envelope has at most {MOST_SIGNATURES} signatures, by different keys")
        if any(len(signature.signature) != SIGNATURE_BYTES for signature in self.signatures):
            raise Malformed(f"an Ed25519 signature has {SIGNATURE_BYTES} bytes")


class Signer(Protocol):
    """Whatever holds a private key: a key file here, a PKCS#11 token or TPM elsewhere."""

    @property
    def key_id(self) -> Digest:
        """SHA-256 of the raw public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature of `message`, 64 bytes."""
        ...


class KeySigner:
    """A signer whose private key is in this process."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._key_id = key_id(private.public_key())

    @property
    def key_id(self) -> Digest:
        """SHA-256 of the raw public key."""
        return self._key_id

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature of `message`, 64 bytes."""
        return self._private.sign(message)


def key_id(public: Ed25519PublicKey) -> Digest:
    """SHA-256 of the raw public key."""
    return Digest(hashlib.sha256(public.public_bytes_raw()).digest())


def seal(payload_type: str, payload: bytes, *signers: Signer) -> Envelope:
    """Sign a payload with each of the signers."""
    message = pre_authentication_encoding(payload_type, payload)
    signatures = tuple(Signature(signer.key_id, signer.sign(message)) for signer in signers)
    return Envelope(payload_type, payload, signatures)


def open_envelope(
    envelope: Envelope, payload_type: str, keys: Mapping[Digest, Ed25519PublicKey], *, threshold: int = 1
) -> bytes:
    """The payload, if at least `threshold` different keys of `keys` have signed it as this type.

    Signatures by other keys are ignored, one by a known key that does not verify is an error.

    Raises:
        Untrusted: another payload type, too few signatures, or a wrong one.
    """
    if envelope.payload_type != payload_type:
        raise Untrusted(f"expected a payload of type {payload_type}, got {envelope.payload_type!r}")
    message = pre_authentication_encoding(payload_type, envelope.payload)
    good: set[Digest] = set()
    for signature in envelope.signatures:
        public = keys.get(signature.key_id)
        if public is None:
            continue
        try:
            public.verify(signature.signature, message)
        except InvalidSignature:
            raise Untrusted(f"signature of key {signature.key_id.hex()[:12]} does not verify") from None
        good.add(signature.key_id)
    if len(good) < threshold:
        raise Untrusted(f"signed by {len(good)} of the keys that count, {threshold} needed")
    return envelope.payload


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What is signed. Source: DSSE v1.0.2, protocol.md, PAE."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def commitment(payload_type: str, payload: bytes) -> Digest:
    """Names a payload without telling anything of it, because its signer put a 32-byte salt inside.

    A signed query's commitment, salted by its nonce, is its query hash.
    """
    return tagged_digest("cordon/v1/commitment", payload_type.encode(), payload)


def to_json(envelope: Envelope) -> str:
    """DSSE's JSON form, as it lies on disk."""
    signatures = [{"keyid": s.key_id.hex(), "sig": base64.b64encode(s.signature).decode()} for s in envelope.signatures]
    payload = base64.b64encode(envelope.payload).decode()
    form = {"payload": payload, "payloadType": envelope.payload_type, "signatures": signatures}
    return json.dumps(form, indent=2) + "\n"


def from_json(text: str) -> Envelope:
    """Read DSSE's JSON form; nothing in it is verified.

    Raises:
        Malformed: not JSON, or not an envelope.
    """
    try:
        form = json.loads(text)
        signatures = tuple(
            Signature(Digest(bytes.fromhex(s["keyid"])), base64.b64decode(s["sig"], validate=True))
            for s in form["signatures"]
        )
        payload = base64.b64decode(form["payload"], validate=True)
        return Envelope(str(form["payloadType"]), payload, signatures)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise Malformed(f"not a signed envelope in JSON form: {error}") from None
