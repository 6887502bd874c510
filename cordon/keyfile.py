"""Private keys on disk: PEM (PKCS #8), one key a file, readable by its owner only."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cordon.errors import Misconfigured

PrivateKey = Ed25519PrivateKey | X25519PrivateKey | ec.EllipticCurvePrivateKey

OWNER_ONLY = 0o600


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key that lies at `path`.

    Raises:
        Misconfigured: missing, readable by others, truncated, or of another kind.
    """
    key = read_private_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"{path} holds another kind of key than Ed25519")
    return key


def read_seal_key(path: Path) -> X25519PrivateKey:
    """The X25519 key that lies at `path`.

    Raises:
        Misconfigured: missing, readable by others, truncated, or of another kind.
    """
    key = read_private_key(path)
    if not isinstance(key, X25519PrivateKey):
        raise Misconfigured(f"{path} holds another kind of key than X25519")
    return key


def read_authority_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key that lies at `path`.

    Raises:
        Misconfigured: missing, readable by others, truncated, or of another kind.
    """
    key = read_private_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Misconfigured(f"{path} holds another kind of key than P-256")
    return key


def read_private_key(path: Path) -> PrivateKey:
    """The private key that lies at `path`, of any kind that Cordon uses.

    Raises:
        Misconfigured: missing, readable by others, truncated, or of another kind.
    """
    try:
        mode = path.stat().st_mode
        pem = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read the private key {path}: {error.strerror}") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Misconfigured(f"the private key {path} can be read by others than its owner", hint=f"chmod 600 {path}")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise Misconfigured(f"{path} is not an unencrypted private key in PEM form, or is truncated") from None
    if not isinstance(key, Ed25519PrivateKey | X25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise Misconfigured(f"{path} holds a kind of key that Cordon does not use")
    return key


def write_private_key(path: Path, key: PrivateKey) -> None:
    """Write a private key to a new file that only its owner can read.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=OWNER_ONLY)


def new_signing_key(path: Path) -> str:
    """Make an Ed25519 key in a new file; returns its public half in hexadecimal.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    write_private_key(path, key)
    return key.public_key().public_bytes_raw().hex()


def new_seal_key(path: Path) -> str:
    """Make an X25519 key in a new file; returns its public half in hexadecimal.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    key = X25519PrivateKey.generate()
    write_private_key(path, key)
    return key.public_key().public_bytes_raw().hex()


def new_tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key in a new file; returns it, for a certificate to be asked for.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    write_private_key(path, key)
    return key


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write a certificate in PEM form to a new file.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    write_new(path, certificate.public_bytes(Encoding.PEM), mode=0o644)


def read_certificate(path: Path) -> x509.Certificate:
    """The certificate that lies at `path` in PEM form.

    Raises:
        Misconfigured: missing or not a certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"cannot read the certificate {path}: {error.strerror}") from None
    except ValueError:
        raise Misconfigured(f"{path} is not a certificate in PEM form, or is truncated") from None


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that must not exist yet: whole or not at all, durable, with its mode from the first byte on.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    building = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: it fails where the name is taken, and a crash never leaves half a file under it.
        _link(building, path)
    except FileExistsError:
        raise Misconfigured(f"{path} exists already and is not overwritten") from None
    except OSError as error:
        raise Misconfigured(f"cannot write {path}: {error.strerror}") from None
    finally:
        building.unlink(missing_ok=True)
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file whole and durably, in the place of the one that may be there: readers see either.

    Raises:
        Misconfigured: it cannot be written.
    """
    building = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
    except OSError as error:
        raise Misconfigured(f"cannot write {path}: {error.strerror}") from None
    finally:
        building.unlink(missing_ok=True)
    sync_folder(path.parent)


def _link(building: Path, path: Path) -> None:
    try:
        os.link(building, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no links; there a crash in between may leave an empty file, never half a one.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
        building.replace(path)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
