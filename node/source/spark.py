"""Spark, spoken to as the other databases are: a connection with cursors.

A URL `sc://host:15002` means Spark Connect, `spark://host:7077` a cluster's master, `local://localhost` this machine.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from pyspark.errors import PySparkException as Error
from pyspark.sql import SparkSession

__all__ = ["Connection", "Cursor", "Error", "connect"]

_OWN = {
    # The driver's own pages would show every statement, to whoever reaches the machine.
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    # Plans that Spark logs and explains hold parameters; what looks like a secret of ours is left out of them.
    "spark.sql.redaction.string.regex": "[0-9a-f]{32}",
}
_HERE = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
"""Where Spark runs on this machine, nobody else reaches it."""

_open: list[object] = []
"""Connections that share the process's one Spark: the last that closes stops it."""

_lock = threading.Lock()


def connect(address: Any, password: str | None) -> Connection:
    """A session with the cluster that an `Address` of node/source/connectors.py names."""
    # Its own log of failed statements quotes values of records.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)
    builder: Any = SparkSession.builder
    place = f"{address.host}:{address.port}" if address.port else str(address.host)
    own = {**_OWN, **(_HERE if address.scheme == "local" else {}), **address.options}
    if address.scheme == "sc":
        token = f";token={password}" if password else ""
        builder = builder.remote(f"sc://{place}/;user_id={address.user or ''}{token}")
        own = {name: value for name, value in own.items() if name.startswith("spark.sql.")}
    else:
        builder = builder.master("local[*]" if address.scheme == "local" else f"spark://{place}")
    for name, value in own.items():
        builder = builder.config(name, value)
    with _lock:
        if not _open and SparkSession.getActiveSession() is not None:
            _open.append("whoever had Spark before")
        session = builder.appName("cordon").getOrCreate()
        if address.scheme != "sc":
            session.sparkContext.setLogLevel("OFF")
            # What is set in one connection, or given up, must not reach another.
            session = session.newSession()
        connection = Connection(session, own)
        _open.append(connection)
    return connection


class Connection:
    """A Spark session as a DB-API connection, as far as it is needed."""

    def __init__(self, session: Any, options: Mapping[str, str]) -> None:
        self._session = session
        for name, value in options.items():
            if session.conf.isModifiable(name):
                session.conf.set(name, value)

    def cursor(self) -> Cursor:
        """A cursor."""
        return Cursor(self._session)

    def close(self) -> None:
        """Give up what still runs, and stop Spark unless another connection of this process needs it."""
        with _lock:
            if self in _open:
                _open.remove(self)
                self._session.interruptAll()
                if not _open:
                    self._session.stop()


class Cursor:
    """One statement and its rows, which arrive a partition at a time."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._rows: Iterator[Any] = iter(())
        self.description: list[tuple[Any, ...]] = []

    def execute(self, statement: str, parameters: Mapping[str, str] | None = None) -> None:
        """Run a statement, with the values of its named parameters."""
        frame = self._session.sql(statement, args=dict(parameters)) if parameters else self._session.sql(statement)
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
