"""The keys that identifiers are hashed with: one of the node's own, one that the forces share."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cordon.errors import Misconfigured
from cordon.keyfile import OWNER_ONLY, write_new
from node.coding import Keys

KEY_BYTES = 32
UNIT_KEY = "identifiers.key"
"""File in the state folder with the node's own key; made by the first load."""


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
