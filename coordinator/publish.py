"""Static files of the register, which any web server can hand out. docs/protocol.md §11.5.

Files are written beside the serving coordinator, from what is durable. Whole tiles and bundles never
change and are written once; the checkpoint comes last, so that whoever reads it finds everything under it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from coordinator.register import Register
from cordon.errors import Refused
from cordon.register.merkle import packed
from cordon.register.tiles import WIDTH, index_path, pack_entries, tile_path, tiles_of
from cordon.wire import codec

Progress = Callable[[str], None]


def publish(register: Register, note: bytes, folder: Path, *, now: int, progress: Progress) -> int:
    """Write the register as static files; returns how many files were written.

    Args:
        note: signed checkpoint of the register as it stands.
        now: openings whose embargo has passed by then are written, others removed; seconds since 1970-01-01 UTC.

    Raises:
        Refused: the folder holds another register's files.
    """
    _check_folder(folder, note)
    size, written = register.size, 0
    for level, number, width in tiles_of(size):
        hashes = partial(_hashes, register, level, number, width)
        written += _keep(folder / tile_path(level, number, width), hashes)
        if level == 0:
            entries = partial(_entries, register, number, width)
            written += _keep(folder / tile_path(None, number, width), entries)
            progress(f"{number * WIDTH + width:,} of {size:,} leaves")
    written += _write_openings(register, folder, size, now)
    _replace(folder / "checkpoint", note)
    return written + 1


def _check_folder(folder: Path, note: bytes) -> None:
    before = folder / "checkpoint"
    if before.is_file() and before.read_bytes().partition(b"\n")[0] != note.partition(b"\n")[0]:
        raise Refused(f"{folder} holds another register's files", hint="name another folder; those stay as they are")


def _write_openings(register: Register, folder: Path, size: int, now: int) -> int:
    public, written = set(), 0
    for opening in register.openings(0, size, public_by=now):
        path = folder / "opened" / index_path(opening.leaf_index)
        public.add(path)
        written += _keep(path, partial(codec.encode, opening))
    for path in (folder / "opened").rglob("*"):
        if path.is_file() and path not in public:
            # Erased, or written for another register.
            path.unlink()
    return written


def _hashes(register: Register, level: int, number: int, width: int) -> bytes:
    return packed(register.tile(level, number, width))


def _entries(register: Register, number: int, width: int) -> bytes:
    start = number * WIDTH
    return pack_entries(register.read(start, start + width))


def _keep(path: Path, content: Callable[[], bytes]) -> int:
    if path.exists():
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, content())
    return 1


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}")
    building.write_bytes(content)
    building.replace(path)
