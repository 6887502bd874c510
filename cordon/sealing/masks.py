"""Pairwise masks: a force's vector is uniform to anyone who lacks the other honest forces' masks.

Source: Bonawitz et al. (2017), secure aggregation, without the recovery of drop-outs: a force that
is lost makes the attempt fail, and nothing can be read. docs/protocol.md §8.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from cordon.errors import Untrusted
from cordon.sealing.keystream import Cells, add_modulo, derive_key, uniform
from cordon.units import Digest

KEY_BYTES = 32
_P = 2**255 - 19

PairKeys = dict[str, bytes]
"""For each peer, the key of the mask that is shared with it."""


def check_ephemeral_keys(keys: Mapping[str, bytes]) -> None:
    """Check that a roster's ephemeral keys are canonical and distinct.

    A force that copies another's key cancels that force's masks; a second encoding of the same
    point would hide the copy.

    Args:
        keys: force id → X25519 public key as it travels.

    Raises:
        Untrusted: naming the force whose key is at fault.
    """
    seen: dict[bytes, str] = {}
    for force, key in keys.items():
        if len(key) != KEY_BYTES or int.from_bytes(key, "little") >= _P:
            raise Untrusted(f"{force}: ephemeral key is not a canonical X25519 key")
        if key in seen:
            raise Untrusted(f"{force}: ephemeral key is the same as that of {seen[key]}")
        seen[key] = force


def check_order(key: bytes) -> None:
    """Check that an exchange with a key has a secret.

    Raises:
        Untrusted: the key is of low order.
    """
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key))
    except (ValueError, InvalidKey):
        raise Untrusted("ephemeral key is of low order") from None


def agree(
    own_force: str,
    private: X25519PrivateKey,
    keys: Mapping[str, bytes],
    *,
    transcript: Digest,
    modulus: int,
    length: int,
) -> PairKeys:
    """Derive the mask key of every pair that `own_force` is in.

    Args:
        keys: force id → ephemeral public key, of the whole roster; checked by `check_ephemeral_keys`.
        transcript: binds the masks to one attempt with one roster.
        modulus: plaintext modulus t.
        length: cells of the whole vector, check cells included.

    Raises:
        Untrusted: a peer's key is of low order, so that the exchange has no secret.
    """
    pairs: PairKeys = {}
    for peer, public in keys.items():
        if peer == own_force:
            continue
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(public))
        except (ValueError, InvalidKey):
            raise Untrusted(f"{peer}: ephemeral key is of low order") from None
        low, high = sorted((own_force, peer), key=str.encode)
        pairs[peer] = derive_key(
            shared,
            transcript,
            b"cordon/v1/mask",
            low.encode(),
            keys[low],
            high.encode(),
            keys[high],
            modulus.to_bytes(8, "little"),
            length.to_bytes(8, "little"),
        )
    return pairs


def mask(vector: Cells, own_force: str, pairs: PairKeys, modulus: int) -> Cells:
    """Add the masks of every pair: the force whose id sorts lower as bytes adds, the other subtracts.

    Summed over the whole roster the masks cancel.

    Args:
        vector: residues modulo `modulus`, check cells included.
        pairs: from `agree`.
    """
    masked = vector
    for peer, key in pairs.items():
        stream = uniform(key, modulus, len(vector))
        if own_force.encode() > peer.encode():
            stream = np.where(stream == 0, stream, np.uint64(modulus) - stream)
        masked = add_modulo(masked, stream, modulus)
    return masked
