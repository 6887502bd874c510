"""A load in a distributed engine: the snapshot is made there, and counted there.

The statements are those that DuckDB runs, compiled for the engine. On the node's own disk lies the label: vintage,
quality report, and the name of the table (node/place.py). docs/data.md, "Larger than one machine".
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import ibis

from cordon.contract import Contract
from cordon.errors import Misconfigured
from node.bounding import bounded
from node.cluster import LOAD_SECONDS, Cluster, ClusterFault, Link, Rows
from node.coding import CODES, EXCLUDED, RECORDS, coded, columns_read, many_codes
from node.identifiers import Keys, secrets_of, table_tag
from node.mapping import Mapping as SourceMapping
from node.snapshot import SNAPSHOT
from node.source.chunks import check_columns
from node.source.columntypes import duckdb_type
from node.source.model import Kind, Source
from node.source.statements import Origin, layout
from node.staging import kind_of

CODED = "coded"
"""What statements of a load call the table of coded rows."""

_TYPES = {"string": "string", "int64": "int64", "float64": "float64", "boolean": "boolean", "date": "date"}
"""Of source columns, those that are made what they are read as; times are left as the engine has them."""


@dataclass(frozen=True, slots=True)
class _Answer:
    rows: Rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self.rows[0] if self.rows else None

    def fetchall(self) -> Rows:
        return self.rows


class Workshop:
    """One load in a cluster; a context manager, which leaves nothing there but what was kept."""

    def __init__(self, cluster: Cluster, mapping: SourceMapping, contract: Contract, keys: Keys) -> None:
        self._cluster = cluster
        self._engine = cluster.engine
        self._mapping = mapping
        self._contract = contract
        self._keys = keys
        self._link = Link(cluster)
        # Loads of this node alone: other nodes may share the schema.
        self._prefix = f"{contract.dataset}_v{contract.version}_{table_tag(keys)}_"
        self.table = self._prefix + secrets.token_hex(8)
        self._coded = f"{self.table}_coding"
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for table in [self._coded] if self._kept else [self._coded, self.table]:
            # What cannot be dropped now, the next load drops.
            with suppress(ClusterFault):
                self._drop(table)
        self._link.close()

    def read(self) -> dict[str, int]:
        """Code every row of the source into a table of the cluster's.

        Returns:
            Rows that each exclusion kept out, by its reason.

        Raises:
            Misconfigured: the engine cannot read such a source, or it lacks a column.
            ClusterFault: the engine failed.
        """
        relation, probe = self._relation(self._mapping.source)
        columns = {name: self._type_of(words) for name, words in self._link.columns(probe).items()}
        wanted = columns_read(self._mapping, self._contract)
        check_columns(columns, wanted, self._mapping.source.words)
        types = {name: kind_of(columns[name]) for name in wanted}
        rows = coded(types, self._mapping, self._contract, self._engine, self._keys)
        if self._mapping.exclude:
            rows = _without_excluded(rows)
        self._make(self._coded, f"WITH {self._named(types, relation)} {self._over(rows)}")
        return self._by_reason()

    def bound(self) -> None:
        """Make the snapshot's table of the coded rows.

        Raises:
            ClusterFault: the engine failed.
        """
        layout = self._link.columns(f"SELECT * FROM {self._at(self._coded)} WHERE 1 = 0")
        schema = {name: _IBIS[duckdb_type(words)] for name, words in layout.items()}
        table = ibis.table(schema, name=self._coded, database=self._cluster.schema_name)
        linked = self._keys.linkage is not None
        self._make(
            self.table, self._engine.sql(bounded(table, self._mapping, self._contract, self._engine, linked=linked))
        )

    def execute(self, query: str, /) -> _Answer:
        """Run a statement in DuckDB's words over `CODED` and the snapshot's table.

        Raises:
            ClusterFault: the engine failed.
        """
        coded_rows = f"SELECT * FROM {self._at(self._coded)} WHERE {EXCLUDED} = 0"
        statement = self._engine.translated(query, {SNAPSHOT: (self._cluster.schema_name, self.table)})
        return _Answer(self._run(f"WITH {CODED} AS ({coded_rows}) {statement}"))

    def keep(self) -> None:
        """Leave the snapshot's table where it is: a label names it now."""
        self._kept = True

    def sweep(self, *kept: str) -> None:
        """Drop what this node's loads before have left, but for these tables.

        Raises:
            ClusterFault: the engine failed.
        """
        schema, like = self._engine.name(self._cluster.schema_name), self._engine.literal(self._pattern)
        for row in self._run(f"SHOW TABLES FROM {schema} LIKE {like}"):
            # Spark tells the schema first, and whether the table is temporary last.
            for name in (str(part) for part in row if str(part).startswith(self._prefix)):
                if name not in {*kept, self.table}:
                    self._drop(name)

    @property
    def _pattern(self) -> str:
        return self._prefix + ("*" if self._cluster.kind == "spark" else "%")

    def _relation(self, source: Source) -> tuple[str, str]:
        """The source as this engine reads it, and a statement that tells its columns."""
        if source.kind is Kind.PARQUET and self._cluster.kind == "spark":
            relation = f"parquet.{self._engine.name(str(source.path))}"
            return relation, f"SELECT * FROM {relation} WHERE 1 = 0"
        if source.kind.value != self._cluster.kind or source.url != self._cluster.url:
            raise Misconfigured(
                f"{self._cluster.words} cannot read {source.words}",
                hint="an engine reads tables of its own, under the same url; Spark reads Parquet files too",
            )
        probe = layout(Origin(source.kind, source.table, source.sql))
        return probe.removeprefix("SELECT * FROM ").rpartition(" WHERE 1 = 0")[0], probe

    def _type_of(self, words: str) -> str:
        # What Spark calls a time stamp is an instant.
        instant = self._cluster.kind == "spark" and words.lower() == "timestamp"
        return "TIMESTAMP WITH TIME ZONE" if instant else duckdb_type(words)

    def _named(self, types: Mapping[str, str], relation: str) -> str:
        """The source's columns and the code lists, under the names by which coding knows them."""
        name = self._engine.name
        columns = ", ".join(
            f"CAST({name(column)} AS {self._words(kind)}) AS {name(column)}" if kind in _TYPES else name(column)
            for column, kind in types.items()
        )
        text = self._engine.literal
        lines = [
            f"({text(column)}, {text(local)}, {at})"
            for column, local, at in many_codes(self._mapping, self._contract) or [("", "", 0)]
        ]
        codes = f"{name(CODES)} (column_, local_, position_) AS (VALUES {', '.join(lines)})"
        return f"{name(RECORDS)} AS (SELECT {columns or '1 AS nothing'} FROM {relation}), {codes}"

    def _words(self, kind: str) -> str:
        return self._engine.type(_TYPES[kind])

    def _over(self, expression: Any) -> str:
        return f"SELECT * FROM (\n{self._engine.sql(expression)}\n) AS made"

    def _make(self, table: str, statement: str) -> None:
        self._run(f"CREATE TABLE {self._at(table)} AS {statement}")

    def _run(self, statement: str) -> Rows:
        given = secrets_of(self._keys, self._mapping, self._contract)
        used = {name: secret for name, secret in given.items() if self._engine.takes(name, statement)}
        return self._link.rows(statement, used, seconds=LOAD_SECONDS)

    def _drop(self, table: str) -> None:
        self._link.rows(f"DROP TABLE IF EXISTS {self._at(table)}")

    def _at(self, table: str) -> str:
        return self._engine.name(self._cluster.schema_name, table)

    def _by_reason(self) -> dict[str, int]:
        if not self._mapping.exclude:
            return {}
        counted = self._run(f"SELECT {EXCLUDED}, count(*) FROM {self._at(self._coded)} GROUP BY {EXCLUDED}")
        found = {int(number): int(n) for number, n in counted}
        rules: dict[str, int] = {}
        for number, rule in enumerate(self._mapping.exclude, 1):
            rules[rule.reason] = rules.get(rule.reason, 0) + found.get(number, 0)
        return rules


def _without_excluded(rows: Any) -> Any:
    """The coded rows with nothing of an excluded record but the number of its rule."""
    stays = rows[EXCLUDED] == 0
    names = [name for name in rows.columns if name != EXCLUDED]
    blank = {name: ibis.cases((stays, rows[name]), else_=ibis.null(rows[name].type())) for name in names}
    return rows.select(EXCLUDED, **blank)


_IBIS = {
    "VARCHAR": "string", "BIGINT": "int64", "DOUBLE": "float64", "BOOLEAN": "boolean",
}  # fmt: skip
