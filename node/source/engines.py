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
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from cordon.errors import Misconfigured
from node.source.credentials import hidden
from node.source.model import Kind, Source

_TIMEOUT = 10
"""Seconds in which a server must answer a connection."""


@dataclass(frozen=True, slots=True)
class Address:
    """A URL's parts."""

    scheme: str
    host: str | None
    port: int | None
    user: str | None
    database: str
    options: Mapping[str, str]
    """What stands behind `?`, for the driver."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How a kind of database is read."""

    driver: str
    """The module that speaks to it."""

    extra: str
    """What Cordon is installed with to have the driver."""

    connect: Callable[[Any, Address, str | None], Any]
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


def connect(source: Source, password: SecretStr | None) -> tuple[Engine, Any, type[Exception]]:
    """An open, read-only connection, and the class of the driver's errors.

    Raises:
        Misconfigured: the driver is missing, or the database cannot be reached, or does not let us in.
    """
    engine = ENGINES[source.kind]
    try:
        module = importlib.import_module(engine.driver)
    except ImportError:
        raise Misconfigured(
            f"to read {source.kind} the driver {engine.driver} is needed, and cannot be loaded",
            hint=f"pip install 'cordon[{engine.extra}]'",
        ) from None
    failures: type[Exception] = module.Error
    secret = password.get_secret_value() if password else None
    try:
        connection = engine.connect(module, address(source), secret)
        _execute(connection, engine.prepare)
    except (failures, OSError) as error:
        reason = hidden(" ".join(str(error).split()), password)
        raise Misconfigured(
            f"cannot connect to {source.words}: {reason}", hint="check the url, the account and its password"
        ) from None
    return engine, connection, failures


def address(source: Source) -> Address:
    """The parts of a source's URL; of a file, its path as the database."""
    if source.url is None:
        return Address("file", None, None, None, str(source.path), {})
    scheme, rest = source.url.split("://", 1)
    # In a URL's own grammar `sql_server` is no scheme, so its parts would not be told apart.
    parts = urlsplit(f"database://{rest}")
    try:
        port = parts.port
    except ValueError:
        raise Misconfigured(f"{source.url}: the port is not a number below 65536") from None
    return Address(
        scheme=scheme,
        host=parts.hostname,
        port=port,
        user=unquote(parts.username) if parts.username else None,
        database=unquote(parts.path.removeprefix("/")),
        options=dict(parse_qsl(parts.query)),
    )


def _execute(connection: Any, statements: Sequence[str]) -> None:
    for statement in statements:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)


@contextlib.contextmanager
def transaction(engine: Engine, connection: Any, failures: type[Exception]) -> Iterator[None]:
    """Read within one transaction, so that everything read is of one moment."""
    _execute(connection, engine.begin)
    try:
        yield
    finally:
        # A connection that broke off has no transaction any more.
        with contextlib.suppress(failures):
            _execute(connection, ("ROLLBACK",) if engine.begin else ())


def _given(**values: object) -> dict[str, Any]:
    """Without what is not given, so that the driver's own default holds."""
    return {name: value for name, value in values.items() if value not in {None, ""}}


def _sqlite(module: Any, address: Address, password: str | None) -> Any:
    del password
    # The URI escapes what would end the path; a file that is not there is not made.
    path = address.database.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = module.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except module.Error:
        connection.close()
        raise
    return connection


def _postgresql(module: Any, address: Address, password: str | None) -> Any:
    given = _given(host=address.host, port=address.port, user=address.user, password=password, dbname=address.database)
    own = {"connect_timeout": _TIMEOUT, "client_encoding": "UTF8", "application_name": "cordon", "autocommit": True}
    return module.connect(**{**given, **own, **address.options})


def _sql_server(module: Any, address: Address, password: str | None) -> Any:
    account = {"UID": address.user, "PWD": "{" + (password or "").replace("}", "}}") + "}"} if address.user else {}
    own = {
        "DRIVER": "{ODBC Driver 18 for SQL Server}",
        "SERVER": f"{address.host},{address.port or 1433}",
        "DATABASE": address.database,
        "ApplicationIntent": "ReadOnly",
        **(account or {"Trusted_Connection": "yes"}),
        **address.options,
    }
    text = ";".join(f"{name}={value}" for name, value in own.items() if value)
    return module.connect(text, autocommit=True, timeout=_TIMEOUT, readonly=True)


def _oracle(module: Any, address: Address, password: str | None) -> Any:
    module.defaults.fetch_lobs = False
    module.defaults.fetch_decimals = True
    dsn = f"{address.host}:{address.port or 1521}/{address.database}"
    return module.connect(
        **_given(user=address.user, password=password), dsn=dsn, tcp_connect_timeout=_TIMEOUT, **address.options
    )


def _mysql(module: Any, address: Address, password: str | None) -> Any:
    return module.connect(
        **_given(host=address.host, port=address.port, user=address.user, password=password, database=address.database),
        charset="utf8mb4",
        connect_timeout=_TIMEOUT,
        autocommit=True,
        **address.options,
    )


def _mysql_cursor(connection: Any) -> Any:
    return connection.cursor(importlib.import_module("MySQLdb.cursors").SSCursor)


def _trino(module: Any, address: Address, password: str | None) -> Any:
    catalog, _, schema = address.database.partition("/")
    signed_in = {}
    if password is not None:
        # Over plain HTTP the driver would refuse a password, and rightly.
        authentication = importlib.import_module("trino.auth").BasicAuthentication(address.user, password)
        signed_in = {"http_scheme": "https", "auth": authentication}
    return module.dbapi.connect(
        **_given(host=address.host, port=address.port, user=address.user, catalog=catalog, schema=schema),
        source="cordon",
        timezone="UTC",
        request_timeout=_TIMEOUT * 6,
        **{**address.options, **signed_in},
    )


def _spark(module: Any, address: Address, password: str | None) -> Any:
    return module.connect(address, password)


def _measured(word: str, column: Sequence[Any]) -> str:
    """A decimal's word with its digits, where the driver tells them."""
    precision, scale = column[4], column[5]
    return f"{word}({precision},{scale})" if precision and scale is not None and 0 <= scale <= precision else word


def _of_sql_server(column: Sequence[Any]) -> str:
    # This driver says which Python class the values will have.
    name = getattr(column[1], "__name__", "str")
    return _measured("decimal", column) if name == "Decimal" else str(name)


_ORACLE = {
    "DB_TYPE_DATE": "datetime",
    "DB_TYPE_TIMESTAMP": "timestamp",
    "DB_TYPE_TIMESTAMP_TZ": "timestamptz",
    "DB_TYPE_TIMESTAMP_LTZ": "timestamp",
    "DB_TYPE_BINARY_DOUBLE": "double",
    "DB_TYPE_BINARY_FLOAT": "double",
    "DB_TYPE_BOOLEAN": "bool",
}


def _of_oracle(column: Sequence[Any]) -> str:
    name = column[1].name
    return _measured("decimal", column) if name == "DB_TYPE_NUMBER" else _ORACLE.get(name, "text")


_MYSQL = {
    **dict.fromkeys((1, 2, 3, 9, 13), "integer"),
    **dict.fromkeys((4, 5), "double"),
    **dict.fromkeys((10, 14), "date"),
    **dict.fromkeys((7, 12), "datetime"),
    **dict.fromkeys((15, 249, 250, 251, 252, 253, 254), "text"),
    8: "hugeint",  # unsigned ones do not fit a bigint
}
"""The protocol's numbers of types. https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html"""


def _of_mysql(column: Sequence[Any]) -> str:
    return _measured("decimal", column) if column[1] in {0, 246} else _MYSQL.get(column[1], "other")


ENGINES: Mapping[Kind, Engine] = {
    Kind.SQLITE: Engine(
        driver=sqlite3.__name__,
        extra="node",
        connect=_sqlite,
        # A column of SQLite can hold values of any type, whatever its declaration says.
        described=lambda _: "any",
        casts=True,
        prepare=("PRAGMA query_only = ON",),
        begin=("BEGIN",),
    ),
    Kind.POSTGRESQL: Engine(
        driver="psycopg",
        extra="postgresql",
        connect=_postgresql,
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
              AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
            LIMIT 1
        """,
        cursor=lambda connection: connection.cursor(name="cordon_records"),
    ),
    Kind.SQL_SERVER: Engine(
        driver="pyodbc",
        extra="sql_server",
        connect=_sql_server,
        described=_of_sql_server,
        can_write="""
            SELECT 1 WHERE HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'INSERT') = 1
            OR HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UPDATE') = 1
            OR HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'DELETE') = 1
        """,
    ),
    Kind.ORACLE: Engine(
        driver="oracledb",
        extra="oracle",
        connect=_oracle,
        described=_of_oracle,
        prepare=("ALTER SESSION SET TIME_ZONE = 'UTC'",),
        begin=("SET TRANSACTION READ ONLY",),
        can_write="""
            SELECT 1 FROM session_privs WHERE privilege IN ('INSERT ANY TABLE', 'UPDATE ANY TABLE', 'DELETE ANY TABLE')
            UNION ALL SELECT 1 FROM user_tab_privs_recd WHERE privilege IN ('INSERT', 'UPDATE', 'DELETE')
            UNION ALL SELECT 1 FROM user_tables
        """,
    ),
    Kind.MYSQL: Engine(
        driver="MySQLdb",
        extra="mysql",
        connect=_mysql,
        described=_of_mysql,
        casts=True,
        prepare=("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'"),
        begin=("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",),
        can_write="""
            SELECT 1 FROM information_schema.user_privileges WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
            UNION ALL
            SELECT 1 FROM information_schema.schema_privileges WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
            UNION ALL
            SELECT 1 FROM information_schema.table_privileges WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
        """,
        cursor=_mysql_cursor,
    ),
    Kind.TRINO: Engine(driver="trino", extra="trino", connect=_trino, described=lambda column: str(column[1])),
    Kind.SPARK: Engine(
        driver="node.source.spark",
        extra="spark",
        connect=_spark,
        described=lambda column: str(column[1]),
        # Spark's own driver gives times in the machine's zone; its texts are in the session's, UTC.
        casts=True,
    ),
}
