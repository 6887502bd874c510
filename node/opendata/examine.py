"""Look into every file of a download: its columns, and its rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import IO

from cordon.errors import Misconfigured
from node.opendata.datasets import DATASETS
from node.opendata.download import Download, Piece

MOST_NAMED = 10
"""Files with a fault that one message names."""


def count_rows(download: Download, pieces: Iterable[Piece], *, progress: Callable[[str], None]) -> dict[Piece, int]:
    """Rows of each file, without the header.

    Args:
        progress: told of each file.

    Raises:
        Misconfigured: names every file that has not the columns that its contract needs, or is damaged.
    """
    rows: dict[Piece, int] = {}
    faults: list[str] = []
    for piece in pieces:
        progress(piece.words)
        with download.opened(piece) as file:
            try:
                rows[piece] = _rows(file, piece)
            except _Fault as fault:
                faults.append(f"{piece.words}: {fault}")
    if faults:
        more = f"; and {len(faults) - MOST_NAMED} more files" if len(faults) > MOST_NAMED else ""
        raise Misconfigured(
            "; ".join(faults[:MOST_NAMED]) + more, hint="download these months again; nothing was written"
        )
    return rows


class _Fault(Exception):
    """What is wrong with a file, in words without a value of it."""


def _rows(file: IO[bytes], piece: Piece) -> int:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        return _counted(text, piece)


def _counted(text: IO[str], piece: Piece) -> int:
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise _Fault("is empty")
        _check_header(header, piece)
        count = 0
        for row in reader:
            if len(row) != len(header):
                raise _Fault(f"line {reader.line_num} has {len(row)} values where the header has {len(header)}")
            count += 1
    except UnicodeDecodeError:
        raise _Fault("is not UTF-8 text") from None
    except csv.Error:
        raise _Fault(f"is damaged near line {reader.line_num}") from None
    return count


def _check_header(header: list[str], piece: Piece) -> None:
    if len(set(header)) != len(header):
        raise _Fault("names a column twice")
    missing = [name for name in DATASETS[piece.kind].needs if name not in header]
    if missing:
        raise _Fault(f"lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
