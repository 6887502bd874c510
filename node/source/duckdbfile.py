"""A DuckDB file: its own types. A plain table is read in place; whatever else it defines runs where it sees nothing."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Self

import duckdb

from cordon.errors import Misconfigured
from node.database import exhausted, literal, open_to_read, quoted, told
from node.source.chunks import FILE_BREAK_SECONDS, Chunk, Connection, check_columns
from node.source.files import check_unchanged, find
from node.source.model import Source
from node.source.selects import check_select

_WIDE = ("HUGEINT", "UHUGEINT")
"""Types that Parquet has none for, and that DuckDB would make floats of."""


class DuckdbFile:
    """A table, view or SELECT of a DuckDB file; one chunk, as the engine reads it in a stream by itself.

    Raises (on construction):
        Misconfigured: the file is missing, damaged or open elsewhere for writing, has no such table, or it is a view
            whose rows nobody declares to be of one unit each.
    """

    def __init__(self, source: Source, scratch: Path) -> None:
        self._source = source
        # DuckDB lets a view read the folder of its temporary files, so it is none of the load's.
        self._folder = scratch / f"duckdb_{secrets.token_hex(8)}"
        (self._file,) = find(source)
        if source.sql is not None:
            check_select(source.sql, source.kind)
        parts = (source.table or "").split(".")
        self._place = ".".join(map(quoted, parts))
        inner = f"SELECT * FROM {self._place}" if source.sql is None else source.sql.strip().rstrip(";")
        self._query = f"SELECT * FROM ({inner}\n)"
        with self._own() as database:
            try:
                rows = database.execute(f"DESCRIBE {self._query}").fetchall()
            except duckdb.Error as error:
                raise Misconfigured(
                    f"cannot read {source.words}: {told(error)}", hint="check the table or sql in the mapping"
                ) from None
            table = None if source.sql is not None else _table(database, parts)
        self._columns = {str(row[0]): str(row[1]) for row in rows}
        if source.sql is None and table is None and not source.rows_depend_on_one_unit:
            raise Misconfigured(
                f"{source.words} is a view",
                hint="name a table, or write rows_depend_on_one_unit = true under [source] if every row of the view is "
                "made from one person's records alone",
            )
        # The value of a generated column is a statement too.
        self._plain = table is not None and "GENERATED" not in table.upper()
        if self._plain and len(parts) == 1:
            self._place = f"main.{self._place}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open between chunks."""

    @property
    def columns(self) -> dict[str, str]:
        return dict(self._columns)

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    @property
    def longest_break_seconds(self) -> int:
        return FILE_BREAK_SECONDS

    def continues(self, done: Collection[str]) -> bool:
        return set(done) <= {self._file.name}

    def chunks(self, database: Connection, columns: Sequence[str], *, done: Collection[str] = ()) -> Iterator[Chunk]:
        check_columns(self._columns, columns, self._source.words)
        return iter(()) if self._file.name in done else self._each(database, columns)

    def _each(self, database: Connection, columns: Sequence[str]) -> Iterator[Chunk]:
        check_unchanged(self._file)
        yield from self._attached(database, columns) if self._plain else self._copied(columns)
        check_unchanged(self._file)

    def _chunk(self, relation: str) -> Chunk:
        return Chunk(self._file.name, relation, self._source.words, self._source.words)

    def _attached(self, database: Connection, columns: Sequence[str]) -> Iterator[Chunk]:
        alias = f"records_{secrets.token_hex(8)}"
        chosen = ", ".join(map(quoted, columns)) or "NULL"
        database.execute(f"ATTACH {literal(str(self._file.path))} AS {alias} (READ_ONLY)")
        try:
            yield self._chunk(f"(SELECT {chosen} FROM {alias}.{self._place})")
        finally:
            database.execute(f"DETACH {alias}")

    def _copied(self, columns: Sequence[str]) -> Iterator[Chunk]:
        copy = self._folder / "rows.parquet"
        wide = {name for name in columns if self._columns[name] in _WIDE}
        written = ", ".join(f"{quoted(name)}{'::VARCHAR' * (name in wide)} AS {quoted(name)}" for name in columns)
        read = ", ".join(f"{quoted(name)}{f'::{self._columns[name]}' * (name in wide)}" for name in columns)
        try:
            self._write(f"COPY (SELECT {written or 'NULL'} FROM ({self._query})) TO {literal(str(copy))}", copy)
            yield self._chunk(f"(SELECT {read or 'NULL'} FROM read_parquet({literal(str(copy))}))")
        finally:
            rmtree(self._folder, ignore_errors=True)

    def _write(self, statement: str, copy: Path) -> None:
        try:
            self._folder.mkdir(mode=0o700)
            copy.touch(mode=0o600)
            with self._own(copy) as own:
                own.execute(f"{statement} (FORMAT parquet)")
        except OSError as error:
            raise Misconfigured(f"cannot write to {self._folder.parent}: {error.strerror}") from None
        except duckdb.Error as error:
            # What a statement says of values may quote one.
            fault = exhausted(error) or type(error).__name__
            raise Misconfigured(f"{self._source.words} failed while it was read: {fault}") from None

    def _own(self, *reachable: Path) -> duckdb.DuckDBPyConnection:
        try:
            return open_to_read(self._file.path, self._folder, reachable=reachable)
        except duckdb.Error as error:
            raise Misconfigured(
                f"cannot open {self._file.path}: {_first(error)}",
                hint="is it a DuckDB file, whole, and not open elsewhere for writing?",
            ) from None


def _table(database: duckdb.DuckDBPyConnection, parts: Sequence[str]) -> str | None:
    """The statement that makes a table; None where the name means a view, or something that is not in the file."""
    if len(parts) > 2:
        return None
    *schema, name = parts
    found = database.execute(
        "SELECT sql FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal AND NOT temporary "
        "AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?)",
        [*(schema or ["main"]), name],
    ).fetchone()
    return None if found is None else str(found[0])


def _first(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
