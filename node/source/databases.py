"""SQLite and database servers, by one path: a read-only session, a statement from ibis, rows in batches.

Values travel as text, or as the numbers that they are, into arrays that DuckDB reads in place and casts back to the
column's type; a date that DuckDB has none for (before Christ, in PostgreSQL) is missing then, and so is NaN as a
decimal.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any, Self

import numpy as np

from cordon.errors import Misconfigured
from node.source import connectors, statements
from node.source.chunks import BATCH, Chunk, Connection, check_columns, quoted
from node.source.columntypes import can_be_key, duckdb_type, texts, travels_as_it_is
from node.source.credentials import hidden, password_of
from node.source.model import EMBEDDED, Source

Rows = Sequence[Sequence[object]]

LONGEST_BREAK_SECONDS = 30 * 60
"""Nothing tells whether a row that was read before the break is still as it was, as a file's size and time do."""


class Database:
    """A table, view or SELECT of a database that can be reached.

    Raises (on construction and from `chunks`):
        Misconfigured: no driver, no password, no such server, table or column, or the server broke off.
    """

    def __init__(self, source: Source, *, batch: int = BATCH) -> None:
        if source.kind in EMBEDDED and not (source.path and source.path.is_file()):
            raise Misconfigured(f"there is no source at {source.words}", hint="correct `source` in the mapping")
        self._source = source
        self._batch = batch
        self._password = password_of(source)
        self._origin = statements.Origin(source.kind, source.table, source.sql)
        self._connector, self._connection, self._failures = connectors.connect(source, self._password)
        try:
            self._warnings = self._write_warnings()
            self._words = self._layout()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A server that is gone cannot be taken leave of.
        with contextlib.suppress(self._failures):
            self._connection.close()

    @property
    def columns(self) -> dict[str, str]:
        return {name: duckdb_type(words) for name, words in self._words.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._warnings

    @property
    def longest_break_seconds(self) -> int:
        return LONGEST_BREAK_SECONDS

    def continues(self, done: Collection[str]) -> bool:
        return not done or (self._source.resume_by is not None and all(re.fullmatch(r"-?\d+", name) for name in done))

    def chunks(self, database: Connection, columns: Sequence[str], *, done: Collection[str] = ()) -> Iterator[Chunk]:
        check_columns(self.columns, columns, self._source.words)
        key = self._source.resume_by
        if key is not None:
            check_columns(self.columns, [key], self._source.words)
            if not can_be_key(self._words[key]):
                raise self._wrong_key("does not hold whole numbers")
        casts = {name: self._connector.casts and not travels_as_it_is(self._words[name]) for name in columns}
        after = max((int(name) for name in done), default=None) if key is not None else None
        return self._each(database, casts, key, after)

    def _each(
        self, database: Connection, columns: Mapping[str, bool], key: str | None, after: int | None
    ) -> Iterator[Chunk]:
        read, reading = 0, secrets.token_hex(8)
        batches = self._whole(columns) if key is None else self._pages(columns, key, after)
        for name, rows in batches:
            read += len(rows)
            with self._shown(database, columns, rows) as relation:
                yield Chunk(name or f"{reading} {read}", relation, f"{read:,} rows", self._source.words)

    def _whole(self, columns: Mapping[str, bool]) -> Iterator[tuple[str, Rows]]:
        read = 0
        with (
            self._explained(lambda: read),
            connectors.transaction(self._connector, self._connection, self._failures),
            closing(self._connector.cursor(self._connection)) as cursor,
        ):
            cursor.execute(statements.select(self._origin, columns))
            while rows := cursor.fetchmany(self._batch):
                read += len(rows)
                yield "", rows

    def _pages(self, columns: Mapping[str, bool], key: str, after: int | None) -> Iterator[tuple[str, Rows]]:
        read = 0
        with (
            self._explained(lambda: read),
            connectors.transaction(self._connector, self._connection, self._failures),
        ):
            if self._fetched(statements.without_key(self._origin, key)):
                raise self._wrong_key("is null in some rows")
            while True:
                # One row more than a page has tells whether its last key comes again behind it.
                page = statements.Page(key, after, self._batch + 1)
                rows = self._fetched(statements.select(self._origin, columns, page))
                keys = [self._whole_number(row[-1]) for row in rows]
                if any(first >= second for first, second in pairwise(keys)):
                    raise self._wrong_key("is not unique")
                rows = rows[: self._batch]
                if not rows:
                    return
                after = keys[len(rows) - 1]
                read += len(rows)
                yield str(after), rows
                if len(keys) <= self._batch:
                    return

    def _whole_number(self, value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or isinstance(value, str) or number != value or abs(number) >= 1 << 63:
            raise self._wrong_key("does not hold whole numbers only")
        return number

    def _wrong_key(self, fault: str) -> Misconfigured:
        return Misconfigured(
            f"{self._source.words}: the column {self._source.resume_by!r}, which `resume_by` names, {fault}",
            hint="name a column of unique whole numbers, such as a record number, or leave resume_by out",
        )

    def _fetched(self, statement: str) -> list[Sequence[Any]]:
        with closing(self._connector.cursor(self._connection)) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _asked(self, statement: str) -> list[Sequence[Any]]:
        """What a statement of our own gives, outside a transaction."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    @contextlib.contextmanager
    def _shown(self, database: Connection, columns: Mapping[str, bool], rows: Rows) -> Iterator[str]:
        name = f"batch_{secrets.token_hex(8)}"
        by_column = list(zip(*rows, strict=True))[: len(columns)]
        arrays = {f"c{index}": _array(values) for index, values in enumerate(by_column)} or {
            "c": _array([None] * len(rows))
        }
        kinds = self.columns
        parts = [f"{_cast(f'c{index}', kinds[column])} AS {quoted(column)}" for index, column in enumerate(columns)]
        database.register(name, arrays)
        try:
            yield f"(SELECT {', '.join(parts) or 'c'} FROM {name})"
        finally:
            database.unregister(name)

    def _layout(self) -> dict[str, str]:
        # A cursor on the server takes one statement, and only within the read-only transaction: what stands in the
        # force's SELECT can neither leave the one nor add to the other.
        with (
            self._explained(),
            connectors.transaction(self._connector, self._connection, self._failures),
            closing(self._connector.cursor(self._connection)) as cursor,
        ):
            cursor.execute(statements.layout(self._origin))
            described = list(cursor.description or ())
        names = [str(column[0]) for column in described]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise Misconfigured(f"{self._source.words} has two columns {twice!r}", hint="rename one of them with AS")
        return {str(column[0]): self._connector.described(column) for column in described}

    def _write_warnings(self) -> tuple[str, ...]:
        if self._source.kind in EMBEDDED:
            return ()
        try:
            can = self._connector.can_write is None or bool(self._asked(self._connector.can_write))
        except self._failures:
            can = True
        else:
            if self._connector.can_write is not None:
                ask = "ask for one that can only read"
                return (f"{self._source.words}: the account can write; {ask}",) if can else ()
        return (f"{self._source.words}: whether the account can write could not be found out",)

    @contextlib.contextmanager
    def _explained(self, read: Any = None) -> Iterator[None]:
        """Turn a driver's error into one of ours, without its text once records were read: that may quote one."""
        try:
            yield
        except self._failures as error:
            rows = read() if read else 0
            if read is None:
                raise Misconfigured(
                    f"cannot read {self._source.words}: {hidden(' '.join(str(error).split()), self._password)}",
                    hint="check the table or sql, and what the account may read",
                ) from None
            raise Misconfigured(
                f"{self._source.words} broke off after {rows:,} rows: {fault(error)}",
                hint="load again; what was loaded before stays in place",
            ) from None


def fault(error: Exception) -> str:
    """A driver's error in words that hold no value: its class and its code."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    first = error.args[0] if error.args else None
    code = (
        getattr(error, "sqlstate", None)
        or getattr(first, "full_code", None)
        or getattr(error, "sqlite_errorname", None)
    )
    if code is None and (isinstance(first, int) or (isinstance(first, str) and re.fullmatch(r"[0-9A-Z]{5}", first))):
        code = first
    return f"{words} ({code})" if code else words


def _array(values: Sequence[object]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = texts(values)
    return array


def _cast(name: str, kind: str) -> str:
    if kind in {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"} or kind.startswith("DECIMAL"):
        return f"TRY_CAST({name} AS {kind})"
    return f"CAST({name} AS {kind})"
