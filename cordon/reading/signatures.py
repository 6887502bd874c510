"""Ed25519 verification in bulk: libsodium where it is installed, OpenSSL where not.

Whatever libsodium does not accept is asked of OpenSSL, so that what counts as a signature is the same
with and without it. ADR 0022.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError
except ImportError:  # the extra `auditor` is not installed
    HAS_SODIUM = False
else:
    HAS_SODIUM = True


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature (RFC 8032) verifies.

    Args:
        public: the raw public key, 32 bytes.
    """
    if HAS_SODIUM:
        try:
            crypto_sign_open(signature + message, public)
        except BadSignatureError:
            pass
        else:
            return True
    return _openssl(public, signature, message)


def _openssl(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        _loaded(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=1024)
def _loaded(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)
