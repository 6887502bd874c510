"""DuckDB connections of a node: offline, within a memory limit, with temporary files in a folder of the node's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import duckdb

from cordon.errors import Misconfigured

Database = duckdb.DuckDBPyConnection
"""An open connection."""


class Rows(Protocol):
    """What a statement gives."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None behind the last."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""


class Asked(Protocol):
    """What statements about coded rows are asked of: a DuckDB connection, or what translates for another engine."""

    def execute(self, query: str, /) -> Rows:
        """Run a statement in DuckDB's words."""


Fault = duckdb.Error
"""Whatever DuckDB raises."""

LOAD_MEMORY = "1GB"
"""What a load may hold in memory; beyond, DuckDB writes temporary files."""

SERVE_MEMORY = "256MB"

_SPEAKING = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
)
"""Faults of a statement: what they say names columns and functions, never a value of a record."""


_FULL = ("No space left", "File too large", "Could not write", "failed to write", "Failed to write")


def open_for_load(path: Path, scratch: Path) -> Database:
    """Open a file to build in, with room for temporary files in `scratch`."""
    database = duckdb.connect(
        str(path),
        config={
            "memory_limit": LOAD_MEMORY,
            "temp_directory": str(scratch),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "preserve_insertion_order": "false",
        },
    )
    # What a text without an offset means must not depend on the machine.
    database.execute("SET TimeZone = 'UTC'")
    return database


def open_to_read(path: Path | None, scratch: Path, *, reachable: Sequence[Path] = ()) -> Database:
    """Open a file that somebody else made, or nothing, to read from it: none of what it defines can reach further.

    A view or a generated column is a statement of whoever made the file. Here it finds no variable, table or setting of
    a load's, and no file.

    Args:
        path: a DuckDB file, which is opened for reading only; None for a database in memory.
        scratch: folder for temporary files. DuckDB lets statements reach it, so it holds nothing else.
        reachable: further files that statements may read and write, by their exact names.
    """
    database = duckdb.connect(
        ":memory:" if path is None else str(path),
        read_only=path is not None,
        config={
            "memory_limit": LOAD_MEMORY,
            "temp_directory": str(scratch),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    # Only in this order: each closes the way back to the one before.
    database.execute("SET TimeZone = 'UTC'")
    database.execute(f"SET allowed_paths = [{', '.join(literal(str(file)) for file in reachable)}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def open_to_serve(path: Path) -> Database:
    """Open a snapshot that queries read: no other file can be reached through it."""
    return duckdb.connect(
        str(path),
        read_only=True,
        config={
            "threads": "1",
            "memory_limit": SERVE_MEMORY,
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "lock_configuration": "true",
        },
    )


def exhausted(error: Exception) -> str:
    """Which room is used up, in words; empty where the fault is another."""
    text = str(error)
    if any(words in text for words in _FULL):
        return "the disk is full, or a file may not grow further"
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or "failed to pin block" in text:
        return f"it needs more memory than {LOAD_MEMORY} and more temporary files than the disk has room for"
    return ""


def told(error: Exception) -> str:
    """What went wrong, in words that hold no value of a record."""
    if isinstance(error, _SPEAKING):
        return str(error).splitlines()[0]
    return exhausted(error) or f"it cannot be read or written ({type(error).__name__})"


def counts(database: Asked, statement: str) -> tuple[int, ...]:
    """The one row of a statement that counts."""
    row = database.execute(statement).fetchone()
    if row is None:
        raise AssertionError("a count has one row")
    return tuple(int(value or 0) for value in row)


def quoted(name: str) -> str:
    """A name as DuckDB takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as DuckDB takes it."""
    return "'" + text.replace("'", "''") + "'"


def not_whole(path: Path, error: Exception) -> Misconfigured:
    """The error of a snapshot that cannot be opened."""
    return Misconfigured(f"{path} is not a whole snapshot: {told(error)}", hint="build it anew: cordon node load")
