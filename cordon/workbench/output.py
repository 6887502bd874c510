"""Where results go: a table for people, CSV and JSON for pipes, Parquet and Arrow for files; whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cordon.analyst.render import Format as Shown
from cordon.analyst.render import csv_text, one_of_each, print_answer
from cordon.errors import Misconfigured, Refused
from cordon.keyfile import replace_file
from cordon.workbench.answer import Answer
from cordon.workbench.extras import needed

if TYPE_CHECKING:
    import pyarrow as pa

Value = str | int | float | bool | None


FOR_ALL = 0o666
"""Mode of a result, as far as the umask allows."""

_ANY_WIDTH = 1_000

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
        names = one_of_each(self.columns)
        return {**self.about, "rows": [dict(zip(names, row, strict=True)) for row in self.rows]}


def standard_output() -> Console:
    """Where tables for people go: as wide as the terminal, or as they are where there is none."""
    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=_ANY_WIDTH)


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
    with printed(output, out) as to:
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
    with printed(output, out) as to:
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
        write_file(output, content)
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


def check_plot(path: Path | None, output: Path | None = None) -> None:
    """Find out before anything is spent that a picture could not be drawn.

    Args:
        path: None where none is wanted.
        output: where the rows go, if to a file.

    Raises:
        Refused: its ending names no form of picture, or the rows would go to the same file.
        Misconfigured: it cannot be written there, or the library that draws is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() not in PICTURES:
        raise Refused(f"{path} names no form of picture", hint=f"end it with {' or '.join(PICTURES)}")
    with needed("plot", "a picture"):
        import matplotlib as mpl  # noqa: F401, PLC0415
    check_place(path)
    if output is not None and output.resolve() == path.resolve():
        raise Refused(f"--output and --plot both name {output}", hint="name two files")


def check_places(form: Format, output: Path | None, plot: Path | None, *, dry_run: bool = False) -> None:
    """Find out before anything is spent that a result could not be written or drawn.

    Args:
        dry_run: nothing is asked, so that there is only an explanation to write.

    Raises:
        Refused: it would go to a terminal that cannot show it, or has no such form; or picture and rows would go to
            one file.
        Misconfigured: it cannot be written there, or a library is not installed.
    """
    if dry_run and form not in (Format.TABLE, Format.JSON):
        raise Refused(f"an explanation has no {form} form", hint="with --dry-run, use --format table or json")
    if dry_run and plot is not None:
        raise Refused("--dry-run asks nobody, so that there is nothing to draw", hint="leave --plot away")
    check_output(form, output)
    check_plot(plot, output)


def check_place(path: Path) -> None:
    """Find out whether a file could be written, without touching it.

    Raises:
        Misconfigured: its folder is not there or closed, or something else than a file is there.
    """
    try:
        place = path.resolve()
        mode = place.stat().st_mode if place.exists() else stat.S_IFREG
    except (OSError, RuntimeError, ValueError) as error:
        raise Misconfigured(f"cannot write {str(path)!r}: {_why(error)}") from None
    folder = place.parent if path.is_symlink() else path.parent
    if stat.S_ISDIR(mode) or not folder.is_dir():
        raise Misconfigured(
            f"cannot write {path}: {'it is a folder' if stat.S_ISDIR(mode) else f'there is no {folder}'}"
        )
    if not stat.S_ISREG(mode):
        raise Misconfigured(
            f"cannot write {path}: it is no file, and would be replaced by one",
            hint="a result goes to standard output where no file is named",
        )
    if not os.access(folder, os.W_OK):
        raise Misconfigured(f"cannot write {path}: {folder} is closed to us")


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is no path"


@contextmanager
def printed(output: Path | None, out: Console) -> Iterator[Console]:
    """A console whose lines go to a file once all of them are there; to standard output where none is named.

    Raises:
        Misconfigured: the file cannot be written.
    """
    if output is None:
        yield out
        return
    buffer = io.StringIO()
    yield Console(file=buffer, width=max(out.width, 200))
    write_file(output, buffer.getvalue().encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a result's file, whole or not at all; a link stays one, and what it leads to is written.

    Raises:
        Misconfigured: it cannot be written, or something else than a file is there.
    """
    check_place(path)
    replace_file(path.resolve(), content, mode=FOR_ALL)


def _binary(form: Format, table: pa.Table) -> bytes:
    from cordon.workbench.frames import arrow_bytes, parquet_bytes  # noqa: PLC0415

    return parquet_bytes(table) if form is Format.PARQUET else arrow_bytes(table)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(csv_text, one_of_each(columns)))
    writer.writerows([_plain(value) for value in row] for row in rows)
    return buffer.getvalue()


def _plain(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_text(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
