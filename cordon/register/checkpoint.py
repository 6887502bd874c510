"""Signed checkpoints: what the coordinator says that the register is, in the formats of C2SP.

A checkpoint is a note (https://c2sp.org/signed-note) with the body of https://c2sp.org/tlog-checkpoint,
signed with Ed25519 under the register's origin, and once more with a time as
https://c2sp.org/tlog-cosignature has it. The time tells nobody what is fresh by itself: a reader holds
it against its own clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cordon.envelope import SIGNATURE_BYTES, Signer
from cordon.errors import Malformed, Untrusted
from cordon.register.leaf import Checkpoint
from cordon.units import Digest

MOST_NOTE = 4096
"""Bytes of a checkpoint's note that are looked at."""

MOST_NUMBER = 2**40
"""Beyond any size of a register, and any time in seconds."""

_ED25519, _COSIGNATURE = 0x01, 0x04
_KEY_ID_BYTES, _TIME_BYTES = 4, 8
_DASH = "—"
_BODY = re.compile(r"(?P<origin>[^\s+]{1,200})\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n")
_SIGNATURE = re.compile(rf"{_DASH} (?P<name>[^\s+]{{1,200}}) (?P<data>[A-Za-z0-9+/=]{{1,400}})")


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose signatures verified."""

    checkpoint: Checkpoint
    time: int
    """When the coordinator cosigned it, seconds since 1970-01-01 UTC by its clock."""
    note: bytes
    """As it was signed: the evidence, if it turns out to be one of two."""


def write_checkpoint(origin: str, checkpoint: Checkpoint, public: Ed25519PublicKey, signer: Signer, time: int) -> bytes:
    """Sign a checkpoint, and cosign it with a time.

    Args:
        origin: the register's name; without blanks and plus signs.
        public: the signer's public key.
        time: seconds since 1970-01-01 UTC.
    """
    body = f"{origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
    plain = _key_id(origin, public, _ED25519) + signer.sign(body.encode())
    stamp = time.to_bytes(_TIME_BYTES, "big")
    timed = _key_id(origin, public, _COSIGNATURE) + stamp + signer.sign(_cosigned(body, time))
    lines = "".join(f"{_DASH} {origin} {base64.b64encode(data).decode()}\n" for data in (plain, timed))
    return f"{body}\n{lines}".encode()


def open_checkpoint(note: bytes, origin: str, public: Ed25519PublicKey) -> SignedCheckpoint:
    """The checkpoint of a note that the coordinator has signed and cosigned. Other signatures are ignored.

    Raises:
        Malformed: not a checkpoint's note.
        Untrusted: of another register, or a signature that is missing or does not verify.
    """
    body, lines = _parts(note)
    found = _BODY.fullmatch(body)
    if found is None:
        raise Malformed("a checkpoint's note is not in the form of C2SP tlog-checkpoint")
    if found["origin"] != origin:
        raise Untrusted(f"a checkpoint of the register {found['origin']!r} where {origin!r} was expected")
    data = [_decoded(line["data"]) for line in lines if line["name"] == origin]
    _verify(body.encode(), _only(data, _key_id(origin, public, _ED25519), SIGNATURE_BYTES), public)
    timed = _only(data, _key_id(origin, public, _COSIGNATURE), _TIME_BYTES + SIGNATURE_BYTES)
    time = int.from_bytes(timed[:_TIME_BYTES], "big")
    _verify(_cosigned(body, time), timed[_TIME_BYTES:], public)
    root = Digest(base64.b64decode(found["root"]))
    size = int(found["size"])
    if max(size, time) >= MOST_NUMBER:
        raise Malformed("a checkpoint's size or time is beyond what can be")
    return SignedCheckpoint(Checkpoint(size, root), time, note)


def _parts(note: bytes) -> tuple[str, list[re.Match[str]]]:
    if len(note) > MOST_NOTE:
        raise Malformed(f"a checkpoint's note has at most {MOST_NOTE} bytes")
    try:
        body, _, signatures = note.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise Malformed("a checkpoint's note is not UTF-8") from None
    lines = [_SIGNATURE.fullmatch(line) for line in signatures.removesuffix("\n").split("\n")]
    if not signatures.endswith("\n") or any(line is None for line in lines):
        raise Malformed("a checkpoint's signatures are not in the form of C2SP signed-note")
    return body + "\n", [line for line in lines if line is not None]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Malformed("a checkpoint's signature is not base64") from None


def _only(data: list[bytes], key: bytes, length: int) -> bytes:
    found = [item[_KEY_ID_BYTES:] for item in data if item[:_KEY_ID_BYTES] == key]
    if len(found) != 1 or len(found[0]) != length:
        raise Untrusted("a checkpoint is not signed and cosigned, each once, by the coordinator's key")
    return found[0]


def _verify(message: bytes, signature: bytes, public: Ed25519PublicKey) -> None:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        raise Untrusted("a checkpoint's signature does not verify") from None


def _cosigned(body: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{body}".encode()


def _key_id(name: str, public: Ed25519PublicKey, kind: int) -> bytes:
    # Source: C2SP signed-note, "Signature types"; 0x04 is the timestamped cosignature.
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public.public_bytes_raw()).digest()[:_KEY_ID_BYTES]
