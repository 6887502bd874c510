"""What tables a database has, for a person who has named none: their names, and nothing of what they hold."""

from __future__ import annotations

from pathlib import Path

from cordon.errors import Misconfigured
from node.database import Fault, open_for_load
from node.source.model import Kind, Source
from node.source.reading import open_source

MOST_NAMED = 20
"""Tables that a message names."""

_STANDARD = "SELECT table_schema AS place, table_name AS name FROM information_schema.tables"
_QUERIES = {
    Kind.DUCKDB: _STANDARD,
    Kind.SQLITE: "SELECT '' AS place, name FROM sqlite_master WHERE type IN ('table', 'view')",
    Kind.POSTGRESQL: _STANDARD,
    Kind.SQL_SERVER: _STANDARD,
    Kind.MYSQL: _STANDARD,
    Kind.TRINO: _STANDARD,
}
"""Statements that list tables and views; other kinds are not asked."""

_OWN = frozenset({"information_schema", "mysql", "performance_schema", "pg_catalog", "sys", "system"})
"""Schemas of the databases themselves."""

_DEFAULT = frozenset({"", "main", "public", "dbo"})
"""Schemas that a table is found in without naming them."""


def table_names(database: Source, scratch: Path) -> tuple[str, ...]:
    """Tables and views of a database, `schema.name` where that is needed; none where it cannot be asked.

    Args:
        database: where it is; its table does not count.
        scratch: folder for temporary files.
    """
    query = _QUERIES.get(database.kind)
    if query is None:
        return ()
    listing = database.model_copy(update={"table": None, "sql": query, "rows_depend_on_one_unit": True})
    found: list[tuple[str, str]] = []
    try:
        with (
            open_source(listing, scratch) as opened,
            open_for_load(scratch / "tables.duckdb", scratch) as engine,
        ):
            for chunk in opened.chunks(engine, list(opened.columns)):
                # The relation is our own.
                found += engine.execute(f"SELECT * FROM {chunk.relation}").fetchall()  # noqa: S608
    except (Misconfigured, Fault):
        return ()
    kept = [(str(place), str(name)) for place, name in found if str(place).lower() not in _OWN]
    return tuple(sorted(name if place.lower() in _DEFAULT else f"{place}.{name}" for place, name in kept))


def without_table(database: Source, names: tuple[str, ...]) -> Misconfigured:
    """What to raise where a database's table was not given.

    Args:
        names: as `table_names` gives them.
    """
    place = database.model_copy(update={"table": None}).words
    if not names:
        return Misconfigured(f"{place} is a database, and --table is not given", hint="name its table or view")
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return Misconfigured(
        f"{place} is a database, and --table is not given", hint=f"it has: {', '.join(names[:MOST_NAMED])}{more}"
    )
