"""Whether a file that is compressed with Zstandard is whole: DuckDB reads one that was cut off as if it ended there.

Format: RFC 8878, section 3.1. Nothing is decompressed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

_FRAME = 0xFD2FB528
_SKIPPED = range(0x184D2A50, 0x184D2A60)
_RUN, _RESERVED = 1, 3


def is_whole(path: Path) -> bool:
    """Whether the file is a row of complete frames; False also where it is of another format."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            while file.tell() < size:
                _pass_frame(file, size)
        except (EOFError, ValueError):
            return False
    return size > 0


def _number(file: BinaryIO, length: int) -> int:
    content = file.read(length)
    if len(content) < length:
        raise EOFError
    return int.from_bytes(content, "little")


def _skip(file: BinaryIO, length: int, size: int) -> None:
    if file.seek(length, io.SEEK_CUR) > size:
        raise EOFError


def _pass_frame(file: BinaryIO, size: int) -> None:
    magic = _number(file, 4)
    if magic in _SKIPPED:
        _skip(file, _number(file, 4), size)
        return
    if magic != _FRAME:
        raise ValueError(magic)
    descriptor = _number(file, 1)
    single, checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    content_size = (single, 2, 4, 8)[descriptor >> 6]
    _skip(file, (1 - single) + dictionary + content_size, size)
    last = 0
    while not last:
        block = _number(file, 3)
        last, kind, length = block & 1, block >> 1 & 3, block >> 3
        if kind == _RESERVED:
            raise ValueError(kind)
        _skip(file, 1 if kind == _RUN else length, size)
    _skip(file, 4 * checksum, size)
