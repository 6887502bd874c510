"""The keys that identifiers are hashed with: one of the node's own, one that the forces share."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cordon.contract import Contract, Identifier
from cordon.errors import Misconfigured
from cordon.keyfile import OWNER_ONLY, write_new
from node.mapping import Mapping

UNIT = "unit_"
"""A unit's surrogate: 60 bits of its hash, or a number below zero for a record that is a unit by itself."""

SECRET_BYTES = 16
UNIT_TAG = "cordon/unit/v1/"
LINKAGE_TAG = "cordon/linkage/v1/"
TABLE_TAG = "cordon/tables/v1"
LOCAL_TAG = "cordon/local/v1/"
KEY_BYTES = 32
UNIT_KEY = "identifiers.key"
"""File in the state folder with the node's own key; made by the first load."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What identifiers are hashed with."""

    unit: bytes
    """32 bytes of this node's own."""
    linkage: bytes | None
    """32 bytes that the forces share, and the coordinator never has; None where identifiers are not linked."""

    def hashed(self, text: str) -> str:
        """What stands for a local value where its text must not lie: 64 bits of HMAC-SHA-256 (RFC 2104)."""
        return hmac.new(self.unit, f"{LOCAL_TAG}{text}".encode(), "sha256").hexdigest()[:16]


def secrets_of(keys: Keys, mapping: Mapping, contract: Contract) -> dict[str, str]:
    """What each kind of identifier is hashed under: 128 bits in hexadecimal, by the name of its column.

    HKDF (RFC 5869) makes them of the keys, apart for each purpose. They are short so that a secret and an identifier
    mostly fit into one block of SHA-256.
    """
    derived = {UNIT: _derived(keys.unit, UNIT_TAG + mapping.domain)}
    for column in contract.columns:
        if isinstance(column, Identifier) and column.scheme is not None and keys.linkage is not None:
            derived[column.name] = _derived(keys.linkage, LINKAGE_TAG + column.scheme)
    return derived


def table_tag(keys: Keys) -> str:
    """What tells this node's tables from another's in one schema: 8 hexadecimal digits that follow from its key."""
    return _derived(keys.unit, TABLE_TAG)[:8]


def _derived(key: bytes, purpose: str) -> str:
    return HKDF(SHA256(), SECRET_BYTES, salt=None, info=purpose.encode()).derive(key).hex()


def read_keys(state: Path, linkage_key: Path | None) -> Keys:
    """Both keys; the node's own is made where there is none yet.

    Raises:
        Misconfigured: a key is readable by others, or is none.
    """
    own = state / UNIT_KEY
    if not own.exists():
        # Another load may make it at the same moment: whichever comes first, that one is read.
        with suppress(Misconfigured):
            write_new(own, (secrets.token_hex(KEY_BYTES) + "\n").encode(), mode=OWNER_ONLY)
    return Keys(read_key(own), None if linkage_key is None else read_key(linkage_key))


def read_key(path: Path) -> bytes:
    """The 32 bytes that a file holds as 64 hexadecimal digits.

    Raises:
        Misconfigured: missing, readable by others, or something else.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"cannot read the key {path}: {getattr(error, 'strerror', 'not text')}") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Misconfigured(f"the key {path} can be read by others than its owner", hint=f"chmod 600 {path}")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Misconfigured(f"{path} must hold {2 * KEY_BYTES} hexadecimal digits and nothing else")
    return key
