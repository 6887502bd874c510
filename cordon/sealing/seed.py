"""The check seed: sealed by the analyst to each force, and compared with its signed hash.

Without the comparison an analyst who gave one force another seed would learn two linear functions
of that force's own cells. docs/protocol.md §5.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from cordon.errors import Untrusted
from cordon.units import Digest, tagged_digest

SEED_BYTES = 32
SEALED_BYTES = 32 + SEED_BYTES + 16

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


def seed_hash(seed: bytes) -> Digest:
    """What the analyst signs of a check seed."""
    return Digest(hashlib.sha256(seed).digest())


def seal_context(
    *, force: str, analyst_key_id: Digest, question: Digest, nonce: bytes, bfv_key_hash: Digest, seed: Digest
) -> bytes:
    """What a sealed seed is bound to; goes into HPKE's info.

    Args:
        question: digest of the question.
        seed: hash of the seed.
    """
    return tagged_digest("cordon/v1/seed", force.encode(), analyst_key_id, question, nonce, bfv_key_hash, seed)


def seal_seed(seed: bytes, to: X25519PublicKey, context: bytes) -> bytes:
    """Seal the check seed to one force: HPKE base mode (RFC 9180), encapsulated key first."""
    return _SUITE.encrypt(seed, to, info=context)


def open_seed(sealed: bytes, private: X25519PrivateKey, context: bytes, *, signed_hash: Digest) -> bytes:
    """Open a sealed check seed and compare it with the hash that the analyst signed for all forces.

    Raises:
        Untrusted: it does not open, or it is another seed than the signed hash says.
    """
    if len(sealed) != SEALED_BYTES:
        raise Untrusted("the sealed check seed has the wrong length")
    try:
        seed = _SUITE.decrypt(sealed, private, info=context)
    except (InvalidTag, ValueError):
        raise Untrusted("the check seed was not sealed to this force for this query") from None
    if seed_hash(seed) != signed_hash:
        raise Untrusted("the check seed differs from the one that the analyst signed for all forces")
    return seed
