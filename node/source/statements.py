"""The statements that read a database, compiled by ibis for each kind: quoting, casts, paging.

ibis's compilers need no driver and no connection, so that statements for servers which are not at hand can be
tested by their text.
"""

from __future__ import annotations

import importlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis

from node.source.model import Kind
from node.source.selects import check_select

_COMPILERS = {
    Kind.SQLITE: "sqlite",
    Kind.POSTGRESQL: "postgres",
    Kind.SQL_SERVER: "mssql",
    Kind.ORACLE: "oracle",
    Kind.MYSQL: "mysql",
    Kind.SPARK: "pyspark",
    Kind.TRINO: "trino",
}
_NULLS_ARE_FIRST = frozenset({Kind.SQLITE, Kind.SQL_SERVER, Kind.MYSQL, Kind.SPARK})
"""Where nulls come first by themselves; asking for another order would keep an index from being used."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is read: a table, `schema.name` or `catalog.schema.name` where it needs that, or the force's own SELECT."""

    kind: Kind
    table: str | None = None
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the rows in the order of a key of whole numbers."""

    key: str
    after: int | None
    """The last key that was read before; None at the beginning."""

    rows: int


def select(origin: Origin, columns: Mapping[str, bool], page: Page | None = None) -> str:
    """Read columns, called `c0`, `c1` and so on in their order; of a page, the key comes last, as `k`.

    Args:
        columns: names, and whether the source is to make text of the value.
    """
    # Any type but text makes ibis write a cast to text out; what the type really is does not matter to it.
    kinds = {name: "uuid" if cast else "string" for name, cast in columns.items()}
    if page is not None:
        kinds[page.key] = "!int64"
    table, token = _table(origin, kinds)
    parts = [
        (table[name].cast("string") if cast else table[name]).name(f"c{index}")
        for index, (name, cast) in enumerate(columns.items())
    ]
    if page is None:
        return _written(origin, table.select(*parts), token)
    if page.after is not None:
        table = table.filter(table[page.key] > page.after)
    order = ibis.asc(table[page.key], nulls_first=origin.kind in _NULLS_ARE_FIRST)
    rows = table.order_by(order).select(*parts, table[page.key].name("k")).limit(page.rows)
    return _written(origin, rows, token)


def without_key(origin: Origin, key: str) -> str:
    """A row, if there is one whose key is null."""
    table, token = _table(origin, {key: "int64"})
    return _written(origin, table.filter(table[key].isnull()).select(table[key].name("k")).limit(1), token)


def layout(origin: Origin) -> str:
    """Every column and no row, to learn what a table is made of."""
    table, token = _table(origin, {"x": "int64"})
    # ibis lists the columns that it knows, and here there are none to know yet.
    _, place = _written(origin, table.select(table["x"].name("x")), token).split(" FROM ", 1)
    return f"SELECT * FROM {place} WHERE 1 = 0"


def _table(origin: Origin, kinds: Mapping[str, str]) -> tuple[Any, str]:
    if origin.table is None:
        check_select(origin.sql or "", origin.kind)
        # Nobody can have written this name in a SELECT.
        token = f"records_{secrets.token_hex(8)}"
        return ibis.table(kinds, name=token), token
    *above, name = origin.table.split(".")
    schema = above.pop() if above else None
    return ibis.table(kinds, name=name, database=schema, catalog=".".join(above) or None), ""


def _written(origin: Origin, expression: Any, token: str) -> str:
    compiler = importlib.import_module(f"ibis.backends.sql.compilers.{_COMPILERS[origin.kind]}").compiler
    text = str(compiler.to_sqlglot(expression).sql(dialect=compiler.dialect))
    if origin.sql is None:
        return text
    # The force's SELECT goes in as it was written, not as a parser understood it. The line break ends a comment.
    own = f"({origin.sql.strip().rstrip(';')}\n)"
    return re.sub(rf"[\"`\[]{token}[\"`\]]", lambda _: own, text)
