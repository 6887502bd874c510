"""Pairwise masks: what is refused before an exchange, and that they cancel over a whole roster only."""

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.errors import CordonError
from cordon.query.plan import SMALL
from cordon.sealing import keystream, masks
from cordon.units import Digest

PRIVATE = {force: X25519PrivateKey.generate() for force in ("essex", "kent", "surrey")}
PUBLIC = {force: key.public_key().public_bytes_raw() for force, key in PRIVATE.items()}


def masked_zero(force):
    """What a force sends whose vector is zero."""
    t, transcript = SMALL.modulus, Digest(bytes(32))
    pairs = masks.agree(force, PRIVATE[force], PUBLIC, transcript=transcript, modulus=t, length=50)
    return np.array(masks.mask(keystream.residues([0] * 50, t), force, pairs, t), dtype=object)


def test_masks_cancel_over_the_whole_roster_only():
    """The sum over all forces is zero, over all but one it is not."""
    sent = [masked_zero(force) for force in PRIVATE]
    assert not (sum(sent) % SMALL.modulus).any()
    assert (sum(sent[:2]) % SMALL.modulus).any()


@pytest.mark.parametrize(
    "keys",
    [
        {"essex": PUBLIC["essex"], "kent": PUBLIC["essex"]},
        {"essex": PUBLIC["essex"], "kent": b"\xff" * 32},
        {"essex": PUBLIC["essex"], "kent": os.urandom(31)},
    ],
    ids=["copied", "non-canonical", "short"],
)
def test_bad_ephemeral_keys_are_refused(keys):
    """A copied, non-canonical or short key never reaches the exchange."""
    masks.check_ephemeral_keys(PUBLIC)
    with pytest.raises(CordonError):
        masks.check_ephemeral_keys(keys)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_low_order_keys_are_refused(key):
    """A key whose exchange gives the same secret to everybody is refused."""
    masks.check_order(PUBLIC["essex"])
    with pytest.raises(CordonError):
        masks.check_order(key)
