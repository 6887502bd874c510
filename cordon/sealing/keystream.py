"""Uniform integers modulo t from one key: the stream behind masks and check cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cordon.units import Digest

Cells = npt.NDArray[np.uint64]
"""Integers modulo t, one a slot."""


def derive_key(secret: bytes, transcript: Digest, *info: bytes) -> bytes:
    """A 32-byte key by HKDF-SHA256 (RFC 5869) with salt = transcript hash.

    Each part of `info` stands behind its length as 4 bytes, little-endian.
    """
    joined = b"".join(len(part).to_bytes(4, "little") + part for part in info)
    return HKDF(algorithm=SHA256(), length=32, salt=transcript, info=joined).derive(secret)


def uniform(key: bytes, modulus: int, count: int) -> Cells:
    """`count` integers uniform in [0, modulus), from AES-256-CTR under a key that is used once.

    The stream (initial counter block zero) is cut into little-endian words of 4 bytes (8 where the
    modulus has more than 32 bits), each masked to the modulus's bit length; a word at or above the
    modulus is skipped. docs/protocol.md §8.
    """
    width = 4 if modulus.bit_length() <= 32 else 8
    bits = modulus.bit_length()
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    kept: list[Cells] = []
    missing = count
    while missing > 0:
        # Both moduli lie just below a power of two: a few spare words nearly always suffice.
        stream = encryptor.update(bytes(width * (missing + 8)))
        words = np.frombuffer(stream, dtype=f"<u{width}").astype(np.uint64) & np.uint64(2**bits - 1)
        words = words[words < np.uint64(modulus)][:missing]
        kept.append(words)
        missing -= len(words)
    return np.concatenate(kept) if kept else np.empty(0, np.uint64)


def residues(values: list[int], modulus: int) -> Cells:
    """Signed integers as residues modulo `modulus`."""
    return np.array([value % modulus for value in values], dtype=np.uint64)


def centred(cells: Cells, modulus: int) -> list[int]:
    """Residues as the integers nearest to zero, in (−modulus/2, modulus/2]."""
    return [value - modulus if 2 * value > modulus else value for value in cells.tolist()]


def add_modulo(left: Cells, right: Cells, modulus: int) -> Cells:
    """Sum of residues modulo `modulus` < 2^63."""
    total = left + right
    return np.where(total >= np.uint64(modulus), total - np.uint64(modulus), total)
