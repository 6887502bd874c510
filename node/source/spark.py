"""Spark, spoken to as the other databases are: a connection with cursors.

A URL `sc://host:15002` means Spark Connect, `spark://host:7077` a cluster's master, and `local://` this machine.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

from pyspark.errors import PySparkException as Error
from pyspark.sql import SparkSession

__all__ = ["Connection", "Cursor", "Error", "connect"]


def connect(address: Any, password: str | None) -> Connection:
    """A session with the cluster that an `Address` of node/source/engines.py names."""
    # Its own log of failed statements quotes values of records.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)
    builder: Any = SparkSession.builder
    shared = SparkSession.getActiveSession() is not None
    place = f"{address.host}:{address.port}" if address.port else str(address.host)
    if address.scheme == "sc":
        token = f";token={password}" if password else ""
        builder = builder.remote(f"sc://{place}/;user_id={address.user or ''}{token}")
    else:
        builder = builder.master("local[*]" if address.scheme == "local" else f"spark://{place}")
    for name, value in address.options.items():
        builder = builder.config(name, value)
    session = builder.appName("cordon").getOrCreate()
    if address.scheme != "sc":
        session.sparkContext.setLogLevel("OFF")
    return Connection(session, shared=shared)


class Connection:
    """A Spark session as a DB-API connection, as far as it is needed."""

    def __init__(self, session: Any, *, shared: bool) -> None:
        self._session = session
        self._shared = shared
        session.conf.set("spark.sql.session.timeZone", "UTC")

    def cursor(self) -> Cursor:
        """A cursor."""
        return Cursor(self._session)

    def close(self) -> None:
        """Stop the session, unless somebody had it before."""
        if not self._shared:
            self._session.stop()


class Cursor:
    """One statement and its rows, which arrive a partition at a time."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._rows: Iterator[Any] = iter(())
        self.description: list[tuple[Any, ...]] = []

    def execute(self, statement: str) -> None:
        """Run a statement."""
        frame = self._session.sql(statement)
        self.description = [(name, words, None, None, None, None, None) for name, words in frame.dtypes]
        self._rows = iter(frame.toLocalIterator())

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """The next rows; fewer than `size` at the end, and none behind it."""
        return [tuple(row) for row in itertools.islice(self._rows, size)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return [tuple(row) for row in self._rows]

    def close(self) -> None:
        """Forget the rows."""
        self._rows = iter(())
