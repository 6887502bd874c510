"""What each kind of database needs: its driver, how it is reached, and how its session is made read-only.

Drivers are looked up by their names when they are needed, so that a node carries only its own.
"""

from __future__ import annotations

import contextlib
import importlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from cordon.errors import Misconfigured
from node.source import drivers
from node.source.credentials import hidden
from node.source.model import Kind, Source


@dataclass(frozen=True, slots=True)
class Connector:
    """How a kind of database is read."""

    driver: str
    """The module that speaks to it."""

    extra: str
    """What Cordon is installed with to have the driver."""

    connect: Callable[[Any, drivers.Address, str | None], Any]
    described: Callable[[Any], str]
    """A column's type in words, from a cursor's description."""

    casts: bool = False
    """Whether the source makes text of what is neither a number nor text, because its own form is the exact one."""

    prepare: tuple[str, ...] = ()
    """Statements that make the session read-only and its texts of dates ISO 8601."""

    begin: tuple[str, ...] = ()
    """Statements that begin one consistent, read-only transaction, which ROLLBACK ends."""

    can_write: str | None = None
    """A query that gives a row if the account could change records."""

    cursor: Callable[[Any], Any] = field(default=lambda connection: connection.cursor())
    """A cursor that does not hold the whole result in memory."""


def connect(source: Source, password: SecretStr | None) -> tuple[Connector, Any, type[Exception]]:
    """An open, read-only connection, and the class of the driver's errors.

    Raises:
        Misconfigured: the driver is missing, or the database cannot be reached, or does not let us in.
    """
    connector = CONNECTORS[source.kind]
    try:
        module = importlib.import_module(connector.driver)
    except ImportError:
        raise Misconfigured(
            f"to read {source.kind} the driver {connector.driver} is needed, and cannot be loaded",
            hint=f"pip install 'cordon[{connector.extra}]'",
        ) from None
    failures: type[Exception] = module.Error
    secret = password.get_secret_value() if password else None
    connection = None
    try:
        connection = connector.connect(module, drivers.address(source), secret)
        _execute(connection, connector.prepare)
    # The last two are how drivers refuse an option that they do not know.
    except (failures, OSError, TypeError, ValueError) as error:
        if connection is not None:
            connection.close()
        reason = hidden(" ".join(str(error).split()), password)
        raise Misconfigured(
            f"cannot connect to {source.words}: {reason}", hint="check the url, the account and its password"
        ) from None
    return connector, connection, failures


def _execute(connection: Any, statements: Sequence[str]) -> None:
    for statement in statements:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)


@contextlib.contextmanager
def transaction(connector: Connector, connection: Any, failures: type[Exception]) -> Iterator[None]:
    """Read within one transaction, so that everything read is of one moment."""
    _execute(connection, connector.begin)
    try:
        yield
    finally:
        # A connection that broke off has no transaction any more.
        with contextlib.suppress(failures):
            _execute(connection, ("ROLLBACK",) if connector.begin else ())


CONNECTORS: Mapping[Kind, Connector] = {
    Kind.SQLITE: Connector(
        driver=sqlite3.__name__,
        extra="node",
        connect=drivers.sqlite,
        # A column of SQLite can hold values of any type, whatever its declaration says.
        described=lambda _: "any",
        casts=True,
        prepare=("PRAGMA query_only = ON",),
        begin=("BEGIN",),
    ),
    Kind.POSTGRESQL: Connector(
        driver="psycopg",
        extra="postgresql",
        connect=drivers.postgresql,
        described=lambda column: str(column.type_display),
        casts=True,
        prepare=(
            "SET default_transaction_read_only = on",
            "SET TimeZone = 'UTC'",
            "SET DateStyle = 'ISO, YMD'",
            "SET extra_float_digits = 1",
        ),
        begin=("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",),
        can_write="""
            SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper
            UNION ALL
            SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
              AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                   OR has_any_column_privilege(c.oid, 'INSERT, UPDATE'))
            LIMIT 1
        """,
        cursor=lambda connection: connection.cursor(name="cordon_records"),
    ),
    Kind.SQL_SERVER: Connector(
        driver="pyodbc",
        extra="sql_server",
        connect=drivers.sql_server,
        described=drivers.of_sql_server,
        can_write="""
            SELECT 1 WHERE HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'INSERT') = 1
            OR HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UPDATE') = 1
            OR HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'DELETE') = 1
            OR EXISTS (
                SELECT 1 FROM sys.database_permissions
                WHERE permission_name IN ('INSERT', 'UPDATE', 'DELETE') AND state IN ('G', 'W')
                  AND grantee_principal_id IN (DATABASE_PRINCIPAL_ID(), DATABASE_PRINCIPAL_ID('public'))
            )
        """,
    ),
    Kind.ORACLE: Connector(
        driver="oracledb",
        extra="oracle",
        connect=drivers.oracle,
        described=drivers.of_oracle,
        prepare=("ALTER SESSION SET TIME_ZONE = 'UTC'",),
        begin=("SET TRANSACTION READ ONLY",),
        can_write="""
            SELECT 1 FROM session_privs WHERE privilege IN ('INSERT ANY TABLE', 'UPDATE ANY TABLE', 'DELETE ANY TABLE')
            UNION ALL SELECT 1 FROM user_tab_privs_recd WHERE privilege IN ('INSERT', 'UPDATE', 'DELETE')
            UNION ALL SELECT 1 FROM user_col_privs_recd WHERE privilege IN ('INSERT', 'UPDATE')
            UNION ALL SELECT 1 FROM user_tables
        """,
    ),
    Kind.MYSQL: Connector(
        driver="MySQLdb",
        extra="mysql",
        connect=drivers.mysql,
        described=drivers.of_mysql,
        casts=True,
        prepare=("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'"),
        begin=("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",),
        can_write="""
            SELECT 1 FROM information_schema.user_privileges WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
            UNION ALL
            SELECT 1 FROM information_schema.schema_privileges WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
            UNION ALL
            SELECT 1 FROM information_schema.table_privileges WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
            UNION ALL
            SELECT 1 FROM information_schema.column_privileges WHERE privilege_type IN ('INSERT', 'UPDATE')
        """,
        cursor=drivers.mysql_cursor,
    ),
    Kind.TRINO: Connector(
        driver="trino", extra="trino", connect=drivers.trino, described=lambda column: str(column[1])
    ),
    Kind.SPARK: Connector(
        driver="node.source.spark",
        extra="spark",
        connect=drivers.spark,
        described=lambda column: str(column[1]),
        # Spark's own driver gives times in the machine's zone; its texts are in the session's, UTC.
        casts=True,
    ),
}
