"""BFV under the analyst's key, through SEAL's own classes: the only import of tenseal.

`Sealer` is what a node holds: it can close a vector and cannot open one. `Opener` is what the
analyst holds. Nobody else needs either: ciphertexts are added in `ciphertext`, without a key.

SEAL reads and writes streams of its own only. Bytes from the wire never reach its parser: they are
checked as canonical coefficients first, and a stream with a fixed head is built around them, so
parameters chosen by a stranger cannot choose our memory.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import tenseal.sealapi as seal

from cordon.errors import Malformed, Untrusted
from cordon.query.plan import ParameterSet
from cordon.sealing.ciphertext import POLYNOMIALS, Polynomials, pack, unpack
from cordon.sealing.keystream import Cells

_HEADER = struct.Struct("<HBBBBHQ")
_MAGIC = 0xA15E


@dataclass(frozen=True)
class _Scheme:
    """SEAL's context for one parameter set; costs a few milliseconds, so it is built once."""

    context: seal.SEALContext
    encoder: seal.BatchEncoder
    version: tuple[int, int]


@cache
def _scheme(parameters: ParameterSet) -> _Scheme:
    settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    settings.set_poly_modulus_degree(parameters.slots)
    bits = [q.bit_length() for q in parameters.key_moduli]
    moduli = seal.CoeffModulus.Create(parameters.slots, bits)
    settings.set_coeff_modulus(moduli)
    settings.set_plain_modulus(parameters.modulus)
    context = seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)
    found = tuple(q.value() for q in moduli)
    if not context.parameters_set() or found != parameters.key_moduli:
        raise RuntimeError(f"SEAL gives other parameters for '{parameters.name}' than the protocol: {found}")
    head = _saved(settings)
    return _Scheme(context, seal.BatchEncoder(context), (head[3], head[4]))


class Sealer:
    """Closes vectors under one analyst's public key; cannot open them."""

    def __init__(self, public_key: bytes, parameters: ParameterSet) -> None:
        """Load a public key in canonical form.

        Raises:
            Malformed: not a public key of this parameter set.
        """
        self._parameters = parameters
        self._scheme = _scheme(parameters)
        polynomials = unpack(public_key, parameters, parameters.key_moduli)
        key = seal.PublicKey()
        stream = _stream(polynomials, self._scheme, self._scheme.context.key_parms_id(), transformed=True)
        _load(key, self._scheme.context, stream)
        self._encryptor = seal.Encryptor(self._scheme.context, key)

    def seal(self, vector: Cells) -> list[bytes]:
        """Encrypt a vector of residues modulo t: one canonical ciphertext for each N cells."""
        slots = self._parameters.slots
        return [self._seal(vector[at : at + slots]) for at in range(0, len(vector), slots)]

    def _seal(self, cells: Cells) -> bytes:
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        self._scheme.encoder.encode(cells.tolist(), plaintext)
        self._encryptor.encrypt(plaintext, ciphertext)
        moduli = self._parameters.moduli
        return pack(_coefficients(ciphertext, len(moduli), self._parameters.slots), moduli)


class Opener:
    """Holds the secret key of one query: makes the public key, and opens the one sum."""

    def __init__(self, parameters: ParameterSet, secret: bytes | None = None) -> None:
        """Make a fresh key, or load one that `secret` returned.

        Raises:
            Malformed: `secret` is not a secret key of this parameter set.
        """
        self._parameters = parameters
        self._scheme = _scheme(parameters)
        if secret is None:
            self._key = seal.KeyGenerator(self._scheme.context).secret_key()
        else:
            self._key = seal.SecretKey()
            _load(self._key, self._scheme.context, secret)

    @property
    def secret(self) -> bytes:
        """The secret key, for the analyst's own disk."""
        return _saved(self._key)

    def public_key(self) -> bytes:
        """A public key in canonical form; another one at each call, so call it once."""
        # The generator keeps no secret of its own here: the public key must belong to our secret key.
        key = seal.PublicKey()
        seal.KeyGenerator(self._scheme.context, self._key).create_public_key(key)
        moduli = self._parameters.key_moduli
        return pack(_coefficients(key.data(), len(moduli), self._parameters.slots), moduli)

    def open(self, chunks: list[bytes]) -> Cells:
        """Decrypt every slot of every ciphertext; what is in them is hostile until verified.

        Raises:
            Malformed: not ciphertexts of this parameter set.
            Untrusted: SEAL refuses to decrypt them.
        """
        decryptor = seal.Decryptor(self._scheme.context, self._key)
        opened = [self._open(decryptor, chunk) for chunk in chunks]
        return np.concatenate(opened) if opened else np.empty(0, np.uint64)

    def _open(self, decryptor: seal.Decryptor, chunk: bytes) -> Cells:
        polynomials = unpack(chunk, self._parameters, self._parameters.moduli)
        ciphertext, plaintext = seal.Ciphertext(), seal.Plaintext()
        stream = _stream(polynomials, self._scheme, self._scheme.context.first_parms_id(), transformed=False)
        _load(ciphertext, self._scheme.context, stream)
        try:
            decryptor.decrypt(ciphertext, plaintext)
            slots = self._scheme.encoder.decode_uint64(plaintext)
        except (RuntimeError, ValueError) as error:
            raise Untrusted(f"the sum does not decrypt: {error}") from None
        return np.array(slots, dtype=np.uint64)


class _Saves(Protocol):
    def save(self, path: str) -> None: ...


class _Loads(Protocol):
    def load(self, context: seal.SEALContext, path: str) -> None: ...


def _coefficients(ciphertext: seal.Ciphertext, moduli: int, slots: int) -> Polynomials:
    count = POLYNOMIALS * moduli * slots
    flat = np.fromiter(map(ciphertext.__getitem__, range(count)), dtype=np.uint64, count=count)
    return flat.reshape(POLYNOMIALS, moduli, slots)


def _stream(polynomials: Polynomials, scheme: _Scheme, parms_id: list[int], *, transformed: bool) -> bytes:
    """An uncompressed SEAL stream around checked coefficients (SEAL 4, Ciphertext::save_members)."""
    count, moduli, slots = polynomials.shape
    data = polynomials.astype("<u8").tobytes()
    inner = struct.pack("<Q", polynomials.size) + data
    head = struct.pack("<4Q?QQQdQ", *parms_id, transformed, count, slots, moduli, 1.0, 1)
    return _framed(head + _framed(inner, scheme.version), scheme.version)


def _framed(body: bytes, version: tuple[int, int]) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER.size, *version, 0, 0, _HEADER.size + len(body)) + body


def _load(target: _Loads, context: seal.SEALContext, stream: bytes) -> None:
    try:
        with _scratch(stream) as path:
            target.load(context, path)
    except (RuntimeError, ValueError) as error:
        raise Malformed(f"SEAL does not accept the key or ciphertext: {error}") from None


def _saved(source: _Saves) -> bytes:
    with _scratch(b"") as path:
        source.save(path)
        return Path(path).read_bytes()


@contextmanager
def _scratch(content: bytes) -> Iterator[str]:
    """A file that SEAL can name: in memory where the system has such files, else owner-only on disk."""
    create: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if create is not None:
        handle = create("cordon")
        try:
            os.write(handle, content)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory(prefix="cordon-") as folder:
        path = Path(folder) / "stream"
        path.write_bytes(content)
        yield str(path)
