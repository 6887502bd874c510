"""Where the rows of a snapshot lie, if not in its own file: said in its label, without a password."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from cordon.errors import Misconfigured
from node.cluster import Cluster
from node.compile import Table
from node.database import Database


class Place(NamedTuple):
    """Where the rows of a snapshot lie, if not in its own file."""

    cluster: Cluster
    table: str
    before: str
    """The table of the load before, which a query that began earlier may still read; empty where there is none."""

    @property
    def compiled(self) -> Table:
        """The same, for statements."""
        return Table(self.table, self.cluster.schema_name, self.cluster.engine)


def write_place(database: Database, place: Place) -> None:
    """Say in a label where the rows lie; without a password."""
    database.execute("CREATE TABLE elsewhere (cluster VARCHAR, table_ VARCHAR, before VARCHAR)")
    database.execute(
        "INSERT INTO elsewhere VALUES (?, ?, ?)", [place.cluster.model_dump_json(), place.table, place.before]
    )


def read_place(database: Database) -> Place | None:
    """Where the rows of an open snapshot lie; None where that is its own file.

    Raises:
        Misconfigured: the label names an engine as no mapping can today.
    """
    there = database.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'elsewhere'").fetchone()
    row = database.execute("SELECT * FROM elsewhere").fetchone() if there else None
    try:
        return None if row is None else Place(Cluster.model_validate_json(row[0]), row[1], row[2])
    except ValidationError:
        raise Misconfigured(
            "the snapshot's label names its engine as an older version did", hint="build it anew: cordon node load"
        ) from None
