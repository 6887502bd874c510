"""The force's own SELECT: one statement that reads, and nothing that writes or follows it."""

from __future__ import annotations

import re
from functools import cache

import sqlglot
from sqlglot import expressions as sql

from cordon.errors import Misconfigured
from node.source.model import Kind

_DIALECTS = {
    Kind.DUCKDB: "duckdb",
    Kind.SQLITE: "sqlite",
    Kind.POSTGRESQL: "postgres",
    Kind.SQL_SERVER: "tsql",
    Kind.ORACLE: "oracle",
    Kind.MYSQL: "mysql",
    Kind.SPARK: "spark",
    Kind.TRINO: "trino",
}
_WRITES = (sql.DML, sql.DDL, sql.Command, sql.Into, sql.Lock)
_TWO_READINGS = re.compile(r"/\*!|/\*(?:(?!\*/).)*/\*", re.DOTALL)
"""Comments that MySQL runs, and comments in comments, which end in one place for some databases and in another for the
rest: what a parser takes for a comment, a server could take for a statement."""


@cache
def check_select(text: str, kind: Kind) -> None:
    """Refuse what is not exactly one SELECT, with or without WITH, in the dialect of its kind.

    A read-only session is what keeps a source from being changed; this keeps a session from being left.

    Raises:
        Misconfigured: it cannot be read as SQL, is another statement or several, or changes, locks or writes
            something.
    """
    if _TWO_READINGS.search(text):
        raise _refused("holds a comment in a comment, or one that MySQL runs")
    try:
        parsed = [part for part in sqlglot.parse(text, dialect=_DIALECTS[kind]) if part is not None]
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        raise _refused(f"cannot be read as SQL of {kind}") from None
    if len(parsed) != 1 or not isinstance(parsed[0].unnest(), sql.Select | sql.SetOperation):
        raise _refused("is not exactly one SELECT")
    if any(isinstance(part, _WRITES) for part in parsed[0].walk()):
        raise _refused("changes, locks or writes something")


def _refused(fault: str) -> Misconfigured:
    return Misconfigured(
        f"the `sql` of a source {fault}", hint="write one SELECT or WITH … SELECT, or name a view as `table`"
    )
