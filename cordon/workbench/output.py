"""Where results go: a table for people, CSV and JSON for pipes, Parquet and Arrow for files; whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cordon.analyst.render import Format as Shown
from cordon.analyst.render import print_answer
from cordon.errors import Misconfigured, Refused
from cordon.keyfile import replace_file
from cordon.workbench.answer import Answer
from cordon.workbench.extras import needed

if TYPE_CHECKING:
    import pyarrow as pa

Value = str | int | float | bool | None


FOR_ALL = 0o666
"""Mode of a result, as far as the umask allows."""

PICTURES = (".png", ".svg")
"""Endings of files that pictures are drawn to."""


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"

    @property
    def is_binary(self) -> bool:
        """Whether it is for a file and no terminal."""
        return self in (Format.PARQUET, Format.ARROW)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A result of an analysis as a table for programs."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    """Values in the order of `columns`; None where there is none. All of a column are of one type."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Everything else: plain values for JSON, and for the metadata of Parquet and Arrow."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: everything else, and each row by its columns' names."""
        return {**self.about, "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows]}


def write_answer(answer: Answer, form: Format, output: Path | None, out: Console, notes: Console) -> None:
    """Write an answer.

    Args:
        output: a file; None for standard output.
        out: standard output.
        notes: where what belongs beside the rows goes, when the rows are for a program.

    Raises:
        Refused: a form for files would go to a terminal.
        Misconfigured: the file cannot be written, or a library is not installed.
    """
    if form.is_binary:
        write_bytes(_binary(form, answer.to_arrow()), form, output)
        return
    with _console(output, out) as to:
        print_answer(dict(answer.document), Shown(form.value), to, notes if output is None else out)


def write_sheet(
    sheet: Sheet, form: Format, output: Path | None, out: Console, human: Callable[[Console], None]
) -> None:
    """Write the result of an analysis.

    Args:
        human: prints it for people.

    Raises:
        Refused: a form for files would go to a terminal.
        Misconfigured: the file cannot be written, or a library is not installed.
    """
    if form.is_binary:
        with needed("frames", str(form)):
            from cordon.workbench.frames import sheet_of  # noqa: PLC0415
        write_bytes(_binary(form, sheet_of(sheet.columns, sheet.rows, sheet.about)), form, output)
        return
    with _console(output, out) as to:
        if form is Format.TABLE:
            human(to)
        elif form is Format.CSV:
            to.file.write(_csv(sheet.columns, sheet.rows))
        else:
            to.file.write(json.dumps(sheet.as_dict(), indent=2) + "\n")


def write_bytes(content: bytes, form: Format, output: Path | None) -> None:
    """Write a file's bytes.

    Raises:
        Refused: they would go to a terminal.
        Misconfigured: the file cannot be written.
    """
    if output is not None:
        replace_file(output, content, mode=FOR_ALL)
    elif sys.stdout.isatty():
        raise Refused(f"{form} is not for a terminal", hint="name a file with --output, or pipe it")
    else:
        sys.stdout.buffer.write(content)


def check_output(form: Format, output: Path | None) -> None:
    """Find out before anything is spent that a result could not be written.

    Raises:
        Refused: it would go to a terminal that cannot show it.
        Misconfigured: the folder is not there, or a library is not installed.
    """
    if form.is_binary:
        with needed("frames", str(form)):
            import pyarrow as pa  # noqa: F401, PLC0415
        if output is None and sys.stdout.isatty():
            raise Refused(f"{form} is not for a terminal", hint="name a file with --output, or pipe it")
    if output is not None:
        check_place(output)


def check_plot(path: Path | None) -> None:
    """Find out before anything is spent that a picture could not be drawn.

    Args:
        path: None where none is wanted.

    Raises:
        Refused: its ending names no form of picture.
        Misconfigured: it cannot be written there, or the library that draws is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() not in PICTURES:
        raise Refused(f"{path} names no form of picture", hint=f"end it with {' or '.join(PICTURES)}")
    with needed("plot", "a picture"):
        import matplotlib as mpl  # noqa: F401, PLC0415
    check_place(path)


def check_place(path: Path) -> None:
    """Find out whether a file could be written, without touching it.

    Raises:
        Misconfigured: its folder is not there or closed, or it is a folder itself.
    """
    folder = path.parent
    if path.is_dir() or not folder.is_dir():
        raise Misconfigured(f"cannot write {path}: {'it is a folder' if path.is_dir() else f'there is no {folder}'}")
    if not os.access(folder, os.W_OK):
        raise Misconfigured(f"cannot write {path}: {folder} is closed to us")


@contextmanager
def _console(output: Path | None, out: Console) -> Iterator[Console]:
    if output is None:
        yield out
        return
    buffer = io.StringIO()
    yield Console(file=buffer, width=max(out.width, 200))
    replace_file(output, buffer.getvalue().encode(), mode=FOR_ALL)


def _binary(form: Format, table: pa.Table) -> bytes:
    from cordon.workbench.frames import arrow_bytes, parquet_bytes  # noqa: PLC0415

    return parquet_bytes(table) if form is Format.PARQUET else arrow_bytes(table)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return buffer.getvalue()


def _plain(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
