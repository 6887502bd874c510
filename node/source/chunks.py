"""What a source gives: records in chunks that a DuckDB statement can read from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import duckdb

from cordon.errors import Misconfigured

Connection = duckdb.DuckDBPyConnection
"""Where chunks are read."""

FILE_BREAK_SECONDS = 24 * 3600
"""Longest break of a load from files: each is read again if its size or time of change is another."""

BATCH = 200_000
"""Rows that are fetched from a database at once; bounds the memory that a load needs."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of the records, readable until the next one is asked for."""

    name: str
    """Stable while the source is unchanged, where its reading can be resumed: a file's name, size and time of change,
    or the value of `resume_by` that the chunk goes up to. Otherwise new at each reading."""

    relation: str
    """What a DuckDB statement can read FROM."""

    words: str
    """For progress, such as `records/a.csv.gz (3 of 12)` or `2,000,000 rows`."""

    place: str
    """The file or table, as messages name it."""


class Opened(Protocol):
    """A source that answers. A context manager; leaving it closes what was opened."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    @property
    def columns(self) -> dict[str, str]:
        """Every column's name, and its type as DuckDB will give it, such as `VARCHAR` or `DATE`."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the force's own people should know, such as that the account can write."""

    @property
    def longest_break_seconds(self) -> int:
        """After so long, a load that broke off begins anew even where the source continues."""

    def continues(self, done: Collection[str]) -> bool:
        """Whether chunks of these names, read before, are still as they were, so that a load may go on after them.

        Where it may not, a load begins anew, with nothing done.
        """

    def chunks(self, database: Connection, columns: Sequence[str], *, done: Collection[str] = ()) -> Iterator[Chunk]:
        """The records, of these columns only, without the chunks that are done.

        What a chunk put into `database` is gone when the next is asked for, before which a statement's result must
        have been fetched to its end. Ask until there are no more: what was
        read is checked afterwards.

        Raises:
            Misconfigured: a column is missing, or the source broke off, changed, or is damaged. No message holds a
                value of a record. A statement over a chunk raises DuckDB's own errors, which may hold one: give
                them to `unreadable`.
        """


def check_columns(columns: Mapping[str, str], wanted: Sequence[str], place: str) -> None:
    """Refuse if a wanted column is not there, or if DuckDB could not tell two apart.

    Where a file has no header, its first record stands in the place of the names: such a name is not shown.

    Raises:
        Misconfigured: names the column, the source, and the nearest name there is if it looks like one.
    """
    missing = [name for name in wanted if name not in columns]
    if missing:
        there = {column.strip().casefold(): column for column in columns}
        if not any(name.strip().casefold() in there for name in wanted):
            raise Misconfigured(
                f"{place} has none of the columns that the mapping names: {', '.join(map(repr, missing))}",
                hint="correct them in the mapping; if it is a CSV file, its first line does not look like a header "
                "with these names",
            )
        raise Misconfigured(f"{place} has no column {missing[0]!r}", hint=_nearest(there, missing[0]))
    folded: dict[str, str] = {}
    for name in wanted:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise Misconfigured(
                f"{place}: the columns {other!r} and {name!r} differ in capitals only",
                hint="rename one of them at the source, or in a view",
            )


def _nearest(folded: Mapping[str, str], name: str) -> str:
    near = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
    if near and (near[0] == name.strip().casefold() or looks_like_a_name(folded[near[0]])):
        return f"the nearest name there is {folded[near[0]]!r}"
    return f"none of its {len(folded)} columns is called nearly so"


def looks_like_a_name(text: str) -> bool:
    """Whether a text may be shown as a column's name: short, beginning with a letter, no date, no number of anybody."""
    return bool(_NAME.fullmatch(text)) and not _NUMBERED.search(text)


_NAME = re.compile(r"[^\W\d][^@\r\n]{0,38}")
_NUMBERED = re.compile(r"\d{3}|\d[-/.: ]\d")


_FAULTS = (
    ("unterminated quote", "a quote is not closed, or stands inside a value"),
    ("invalid unicode", "bytes that are not of the encoding"),
    ("not latin-1 encoded", "bytes that stand for no letter in Latin-1; from Windows, it may be windows-1252"),
    ("Expected Number of Columns", "{found} values where the header has {expected}"),
    ("Maximum line size", "a row of more than two megabytes; a quote may not be closed"),
    ("invalid state", "line ends or quotes that do not fit together"),
    ("end of GZIP stream", "the compressed file is cut off"),
    ("not a GZIP stream", "not compressed with gzip, though its name says so"),
    ("NUL character", "a NUL character"),
    ("No space left", "no space is left on the disk"),
)
"""Words of DuckDB's messages, and what we say instead of them: theirs quote the row."""


def unreadable(chunk: Chunk, error: duckdb.Error) -> Misconfigured:
    """What to raise where a statement over a chunk failed; keeps the place and kind of the fault, and no value."""
    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return Misconfigured(f"reading {chunk.place}: memory does not suffice", hint="give the load more memory")
    kind = next((words for sign, words in _FAULTS if sign.casefold() in text.casefold()), "it is damaged or cut off")
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if counts:
        kind = kind.format(expected=counts[1], found=counts[2])
    line = re.search(r"CSV Error on Line: (\d+)", text)
    where = f"{chunk.place}, line {line[1]}" if line else chunk.place
    return Misconfigured(f"{where}: {kind}", hint="mend or export it again; what was loaded before stays in place")


def quoted(name: str) -> str:
    """A name as DuckDB reads it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as DuckDB reads it."""
    return "'" + text.replace("'", "''") + "'"
