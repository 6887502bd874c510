"""A DuckDB file: its own types, read by DuckDB in place."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

import duckdb

from cordon.errors import Misconfigured
from node.source.chunks import Chunk, Connection, check_columns, literal, quoted
from node.source.files import Found, check_unchanged, find
from node.source.model import Source


class DuckdbFile:
    """A table, view or SELECT of a DuckDB file; one chunk, as the engine reads it in a stream by itself.

    Raises (on construction):
        Misconfigured: the file is missing, damaged or open elsewhere for writing, or has no such table.
    """

    def __init__(self, source: Source, scratch: Path) -> None:
        self._source = source
        self._scratch = scratch
        (self._file,) = find(source)
        if source.table is not None:
            self._place = ".".join(quoted(part) for part in source.table.split("."))
            self._query = f"SELECT * FROM {self._place}"
        else:
            self._query = f"SELECT * FROM ({(source.sql or '').strip().rstrip(';')}\n)"
        with self._own() as database:
            try:
                rows = database.execute(f"DESCRIBE {self._query}").fetchall()
            except duckdb.Error as error:
                raise Misconfigured(
                    f"cannot read {source.words}: {_first(error)}", hint="check the table or sql in the mapping"
                ) from None
        self._columns = {str(row[0]): str(row[1]) for row in rows}

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

    def continues(self, done: Collection[str]) -> bool:
        return set(done) <= {self._file.name}

    def chunks(self, database: Connection, columns: Sequence[str], *, done: Collection[str] = ()) -> Iterator[Chunk]:
        check_columns(self._columns, columns, self._source.words)
        return iter(()) if self._file.name in done else self._each(database, columns)

    def _each(self, database: Connection, columns: Sequence[str]) -> Iterator[Chunk]:
        check_unchanged(self._file)
        chosen = ", ".join(quoted(name) for name in columns) or "NULL"
        show = self._attached if self._source.table is not None else self._copied
        yield from show(database, chosen)
        check_unchanged(self._file)

    def _chunk(self, file: Found, relation: str) -> Chunk:
        return Chunk(file.name, relation, self._source.words, self._source.words)

    def _attached(self, database: Connection, chosen: str) -> Iterator[Chunk]:
        alias = f"records_{secrets.token_hex(8)}"
        database.execute(f"ATTACH {literal(str(self._file.path))} AS {alias} (READ_ONLY)")
        try:
            yield self._chunk(self._file, f"(SELECT {chosen} FROM {alias}.{self._place})")
        finally:
            database.execute(f"DETACH {alias}")

    def _copied(self, database: Connection, chosen: str) -> Iterator[Chunk]:
        del database
        # Names in the force's SELECT mean tables of its own file, so it runs there; another engine reads the result.
        copy = self._scratch / f"{secrets.token_hex(8)}.parquet"
        try:
            with self._own() as own:
                own.execute(f"COPY (SELECT {chosen} FROM ({self._query})) TO {literal(str(copy))} (FORMAT parquet)")
            copy.chmod(0o600)
            yield self._chunk(self._file, f"read_parquet({literal(str(copy))})")
        except duckdb.Error as error:
            raise Misconfigured(
                f"{self._source.words}: its sql failed while it was read: {type(error).__name__}"
            ) from None
        finally:
            copy.unlink(missing_ok=True)

    def _own(self) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(str(self._file.path), read_only=True, config={"memory_limit": "1GB"})
        except duckdb.Error as error:
            raise Misconfigured(
                f"cannot open {self._file.path}: {_first(error)}",
                hint="is it a DuckDB file, whole, and not open elsewhere for writing?",
            ) from None


def _first(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
