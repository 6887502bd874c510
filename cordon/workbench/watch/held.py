"""A watch's folder, held by one process at a time; nothing of what lies in it is read or trusted here."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cordon.errors import Misconfigured, Refused
from cordon.keyfile import OWNER_ONLY

if sys.platform != "win32":
    import fcntl


class Busy(Refused):
    """Another process runs the watch."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a watch's folder.

    Raises:
        Busy: another process does.
        Misconfigured: it cannot be held.
    """
    try:
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    except OSError as error:
        raise Misconfigured(f"cannot hold {path}: {error.strerror}") from None
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Busy(f"watch {path.name!r} is being run by another process", hint="nothing was asked here") from None
    try:
        yield
    finally:
        os.close(handle)


def mark_of(path: Path) -> str:
    """Of a watch's file, verified or not: two that were put aside have two names."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return secrets.token_hex(8)
