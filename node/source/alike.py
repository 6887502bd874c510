"""Whether the files of a source have the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cordon.errors import Misconfigured


def compare_headers(first: Path, expected: Sequence[str], path: Path, names: Sequence[str]) -> None:
    """As `compare`, by positions: where there is no header, names are values of a record.

    Raises:
        Misconfigured: names the files and the positions.
    """
    lacking = [expected.index(name) + 1 for name in expected if name not in names]
    further = [names.index(name) + 1 for name in names if name not in expected]
    if lacking or further:
        parts = [f"it lacks what is {_columns(lacking)} there"] if lacking else []
        parts += [f"its own {_columns(further)} is not there"] if further else []
        raise Misconfigured(
            f"{path} has other columns than {first}: {', and '.join(parts)}",
            hint="all files of a source have the same columns in their first lines, in any order",
        )


def _columns(positions: Sequence[int]) -> str:
    shown = ", ".join(map(str, positions[:10])) + (", …" if len(positions) > 10 else "")
    return f"column {shown}"


def compare(first: Path, expected: Sequence[str], path: Path, names: Sequence[str]) -> None:
    """Refuse a file that has not the columns of a source's first one, in whatever order.

    Raises:
        Misconfigured: names the files and the columns.
    """
    lacking = [name for name in expected if name not in names]
    further = [name for name in names if name not in expected]
    if lacking or further:
        parts = [f"it lacks {', '.join(map(repr, lacking))}"] if lacking else []
        parts += [f"it also has {', '.join(map(repr, further))}"] if further else []
        raise Misconfigured(
            f"{path} has other columns than {first}: {'; '.join(parts)}",
            hint="all files of a source have the same columns, in any order",
        )
