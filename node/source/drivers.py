"""How each driver is called, and the words in which it describes columns."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cordon.errors import Misconfigured
from node.source.model import Source

TIMEOUT = 10
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


def _given(**values: object) -> dict[str, Any]:
    """Without what is not given, so that the driver's own default holds."""
    return {name: value for name, value in values.items() if value not in {None, ""}}


def sqlite(module: Any, place: Address, password: str | None) -> Any:
    """Open a file for reading; one that is not there is not made."""
    del password
    # What would end the path in a URI is escaped.
    path = place.database.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = module.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except module.Error:
        connection.close()
        raise
    return connection


def postgresql(module: Any, place: Address, password: str | None) -> Any:
    """Connect through psycopg."""
    given = _given(host=place.host, port=place.port, user=place.user, password=password, dbname=place.database)
    own = {"connect_timeout": TIMEOUT, "client_encoding": "UTF8", "application_name": "cordon", "autocommit": True}
    return module.connect(**{**given, **own, **place.options})


def sql_server(module: Any, place: Address, password: str | None) -> Any:
    """Connect through ODBC, with the intent to read only."""
    account = {"UID": place.user, "PWD": "{" + (password or "").replace("}", "}}") + "}"} if place.user else {}
    own = {
        "DRIVER": "{ODBC Driver 18 for SQL Server}",
        "SERVER": f"{place.host},{place.port or 1433}",
        "DATABASE": place.database,
        "ApplicationIntent": "ReadOnly",
        **(account or {"Trusted_Connection": "yes"}),
        **place.options,
    }
    text = ";".join(f"{name}={value}" for name, value in own.items() if value)
    return module.connect(text, autocommit=True, timeout=TIMEOUT, readonly=True)


def oracle(module: Any, place: Address, password: str | None) -> Any:
    """Connect through oracledb, without a client of Oracle's."""
    module.defaults.fetch_lobs = False
    module.defaults.fetch_decimals = True
    dsn = f"{place.host}:{place.port or 1521}/{place.database}"
    return module.connect(
        **_given(user=place.user, password=password), dsn=dsn, tcp_connect_timeout=TIMEOUT, **place.options
    )


def mysql(module: Any, place: Address, password: str | None) -> Any:
    """Connect through mysqlclient."""
    return module.connect(
        **_given(host=place.host, port=place.port, user=place.user, password=password, database=place.database),
        charset="utf8mb4",
        connect_timeout=TIMEOUT,
        autocommit=True,
        **place.options,
    )


def mysql_cursor(connection: Any) -> Any:
    """A cursor that leaves the rows at the server until they are fetched."""
    return connection.cursor(importlib.import_module("MySQLdb.cursors").SSCursor)


def trino(module: Any, place: Address, password: str | None) -> Any:
    """Connect through Trino's own client, with a password over HTTPS only."""
    catalog, _, schema = place.database.partition("/")
    signed_in = {}
    if password is not None:
        # Over plain HTTP the driver would refuse a password, and rightly.
        authentication = importlib.import_module("trino.auth").BasicAuthentication(place.user, password)
        signed_in = {"http_scheme": "https", "auth": authentication}
    return module.dbapi.connect(
        **_given(host=place.host, port=place.port, user=place.user, catalog=catalog, schema=schema),
        source="cordon",
        timezone="UTC",
        request_timeout=TIMEOUT * 6,
        **{**place.options, **signed_in},
    )


def spark(module: Any, place: Address, password: str | None) -> Any:
    """Connect through `node/source/spark.py`."""
    return module.connect(place, password)


def _measured(word: str, column: Sequence[Any]) -> str:
    """A decimal's word with its digits, where the driver tells them."""
    precision, scale = column[4], column[5]
    return f"{word}({precision},{scale})" if precision and scale is not None and 0 <= scale <= precision else word


def of_sql_server(column: Sequence[Any]) -> str:
    """A column's type in words; this driver says which Python class the values will have."""
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


def of_oracle(column: Sequence[Any]) -> str:
    """A column's type in words, by the driver's names."""
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


def of_mysql(column: Sequence[Any]) -> str:
    """A column's type in words, by the protocol's numbers."""
    return _measured("decimal", column) if column[1] in {0, 246} else _MYSQL.get(column[1], "other")
