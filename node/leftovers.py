"""What loads that were killed leave in the folder of snapshots: it holds values of records, and must not stay."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

LONGEST_BREAK_SECONDS = 24 * 3600
"""Of a load that is taken up again: beyond, what it has read is too old to go with what it would read now."""


def sweep(folder: Path) -> None:
    """Remove what no load will go on from, unless one is running; never fails."""
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            clear(folder)
        finally:
            os.close(lock)


def clear(folder: Path) -> None:
    """Remove scratch folders, half-built snapshots, and coded rows that are too old to go on from.

    For whoever has locked the folder: another load may be working in it otherwise.
    """
    for path in folder.iterdir():
        name = path.name.removesuffix(".wal")
        if name.endswith(".scratch"):
            rmtree(path, ignore_errors=True)
        elif name.endswith(".building") or (name.endswith(".coding") and _is_old(path)):
            path.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > LONGEST_BREAK_SECONDS
