"""BFV ciphertexts in their canonical form, and their addition without any BFV library.

The canonical form of a polynomial vector is its coefficients modulo each q_i, polynomial by
polynomial and modulus by modulus, each little-endian in as many bytes as q_i needs. It is what
travels, what is stored and what is hashed, so adding is addition modulo q_i and an auditor can
re-add with arithmetic alone. docs/protocol.md §10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from cordon.errors import Malformed
from cordon.query.plan import ParameterSet
from cordon.units import Digest

POLYNOMIALS = 2

Polynomials = npt.NDArray[np.uint64]
"""Shape (2, moduli, N): coefficients, each below its modulus."""


def packed_size(parameters: ParameterSet, moduli: tuple[int, ...]) -> int:
    """Bytes of two polynomials in canonical form."""
    return POLYNOMIALS * parameters.slots * sum(_width(q) for q in moduli)


def pack(polynomials: Polynomials, moduli: tuple[int, ...]) -> bytes:
    """Two polynomials in canonical form."""
    parts = [
        row.astype("<u8").view(np.uint8).reshape(-1, 8)[:, : _width(q)].tobytes()
        for polynomial in polynomials
        for row, q in zip(polynomial, moduli, strict=True)
    ]
    return b"".join(parts)


def unpack(data: bytes, parameters: ParameterSet, moduli: tuple[int, ...]) -> Polynomials:
    """Two polynomials from their canonical form.

    Raises:
        Malformed: another length than the parameter set's, or a coefficient not below its modulus.
    """
    if len(data) != packed_size(parameters, moduli):
        raise Malformed(f"expected {packed_size(parameters, moduli)} bytes of coefficients, got {len(data)}")
    polynomials = np.zeros((POLYNOMIALS, len(moduli), parameters.slots), dtype=np.uint64)
    at = 0
    for polynomial in polynomials:
        for row, q in zip(polynomial, moduli, strict=True):
            width = _width(q)
            raw = np.zeros((parameters.slots, 8), dtype=np.uint8)
            end = at + width * parameters.slots
            raw[:, :width] = np.frombuffer(data[at:end], dtype=np.uint8).reshape(-1, width)
            row[:] = raw.view("<u8").reshape(-1)
            at = end
            if (row >= np.uint64(q)).any():
                raise Malformed("a coefficient is not below its modulus")
    return polynomials


def add(left: Polynomials, right: Polynomials, parameters: ParameterSet) -> Polynomials:
    """The ciphertext of the sum; every modulus is below 2^63, so nothing wraps."""
    total = left + right
    moduli = np.array(parameters.moduli, dtype=np.uint64).reshape(1, -1, 1)
    return np.where(total >= moduli, total - moduli, total)


def chunks_digest(chunks: Iterable[bytes]) -> Digest:
    """SHA-256 over a contribution's or a sum's ciphertexts in canonical form, in order."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
    return Digest(hasher.digest())


def _width(modulus: int) -> int:
    return (modulus.bit_length() + 7) // 8
