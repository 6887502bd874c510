"""Check cells: whoever adds the ciphertexts cannot change the answer unnoticed.

Every contribution carries the constant 1 and two linear tags over its noised cells; all three add up
with the cells. A forger without the check seed is accepted with probability about 1/t².
Source: Agrawal and Boneh (2009), homomorphic MACs; docs/protocol.md §9.
"""

from __future__ import annotations

import numpy as np

from cordon.errors import Untrusted
from cordon.query.plan import CHECK_CELLS, ParameterSet
from cordon.sealing.keystream import Cells, centred, derive_key, uniform
from cordon.units import Digest

TAGS = CHECK_CELLS - 1


def with_check_cells(cells: Cells, seed: bytes, transcript: Digest, modulus: int) -> Cells:
    """Append the constant and the two tags to a force's noised cells.

    Args:
        cells: residues modulo `modulus`, one for each cell of the plan.
        seed: the query's 32-byte check seed.
        transcript: binds the tags to one attempt with one roster, so that sums of two attempts
            cannot be combined into a third.
    """
    tagged = np.append(cells, np.uint64(1))
    tags = [_tag(tagged, at, seed, transcript, modulus) for at in range(TAGS)]
    return np.concatenate([tagged, np.array(tags, dtype=np.uint64)])


def verify_opened(
    slots: Cells, *, cells: int, seed: bytes, transcript: Digest, roster: int, parameters: ParameterSet
) -> list[int]:
    """The summed cells, if nobody changed the sum.

    Args:
        slots: every decrypted slot of every ciphertext, in order.
        cells: cells of the plan.
        roster: forces on the roster, |R|.

    Returns:
        Shape (cells,), signed, in scaled units.

    Raises:
        Untrusted: a slot beyond the vector is not zero, the constant is not |R|, or a tag differs.
            The message tells nothing of the cells.
    """
    end = cells + CHECK_CELLS
    if len(slots) < end or slots[end:].any():
        # Unchecked padding can carry the secret key past the tags.
        raise Untrusted("the sum has something in its padding: it was changed on the way")
    tagged, tags = slots[: cells + 1], slots[cells + 1 : end].tolist()
    if int(tagged[-1]) != roster:
        raise Untrusted("the sum does not hold each force of the roster once: it was changed on the way")
    if tags != [_tag(tagged, at, seed, transcript, parameters.modulus) for at in range(TAGS)]:
        raise Untrusted("the sum fails its check tags: it was changed on the way")
    return centred(tagged[:-1], parameters.modulus)


def _tag(tagged: Cells, at: int, seed: bytes, transcript: Digest, modulus: int) -> int:
    key = derive_key(
        seed,
        transcript,
        b"cordon/v1/check",
        at.to_bytes(1, "little"),
        modulus.to_bytes(8, "little"),
        len(tagged).to_bytes(8, "little"),
    )
    weights = uniform(key, modulus, len(tagged))
    if modulus.bit_length() <= 31:
        products: list[int] = (weights * tagged % np.uint64(modulus)).tolist()
    else:
        # Products of two 58-bit residues do not fit a machine word.
        products = [w * y for w, y in zip(weights.tolist(), tagged.tolist(), strict=True)]
    return sum(products) % modulus
