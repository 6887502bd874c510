"""The `[engine]` table of a mapping, and statements that a distributed engine runs for the node.

Whatever goes wrong there is said without a value of a record, and nothing is waited for without end.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from cordon.configfile import ConfigModel
from cordon.errors import Misconfigured
from node.engine import SECRET, SPARK, TRINO, Distributed
from node.source import connectors
from node.source.credentials import password_of
from node.source.model import Kind, Source

Rows = list[tuple[Any, ...]]

Result = TypeVar("Result")

LOAD_SECONDS = 24 * 3600
"""Longest that one statement of a load may take."""


class Cluster(ConfigModel):
    """The engine that holds a snapshot too large for one machine. *Trusted with records*, as the source is: they lie
    in its tables coded and under hashes, and whoever administers it could also see the keys of those.
    """

    kind: Literal["spark", "trino"]
    """What runs there."""

    url: Annotated[str, Field(pattern=r"^[a-z_+]+://\S+$")]
    """Where: `sc://host:15002` for Spark Connect, `spark://host:7077` for a Spark master, `local://localhost` for Spark
    on this machine, `trino://account@host:8443/catalog`; without a password."""

    schema_name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    """Schema in which loads make their tables and drop old ones; nobody else's account should read it."""

    password_env: str | None = None
    """Environment variable that holds the password of the account that makes the tables and queries them."""

    password_file: Path | None = None
    """Instead, a file that holds it, readable by its owner only."""

    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """After so long without its rows a query is given up, and the node answers that it could not compute its share."""

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        self.as_source()
        return self

    def as_source(self) -> Source:
        """The same address, as a source of records has it."""
        return Source.model_validate(
            {
                "kind": self.kind, "url": self.url, "table": self.schema_name, "password_env": self.password_env,
                "password_file": self.password_file,
            }
        )  # fmt: skip

    @property
    def engine(self) -> Distributed:
        """What compiles for it."""
        return SPARK if self.kind == "spark" else TRINO

    @property
    def words(self) -> str:
        """The engine as messages name it; holds no secret."""
        return f"{self.url} ({self.schema_name})"


class ClusterFault(Exception):
    """The engine cannot be reached, has failed or took too long; in words that hold no value of a record."""


class Link:
    """A connection to a cluster, made when it is first needed and made again after a fault; safe to use from several
    threads, one at a time.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._connection: Any = None

    def rows(self, statement: str, secrets: Mapping[str, str] | None = None, *, seconds: float | None = None) -> Rows:
        """What a statement gives.

        Args:
            secrets: what stands for the statement's parameters, where the engine has them.
            seconds: longest wait; the cluster's own where not given.

        Raises:
            ClusterFault: there is no answer, or none in time.
        """
        _, rows = self._described(statement, secrets, seconds)
        return rows

    def columns(self, statement: str) -> dict[str, str]:
        """The columns of a statement's rows, with the engine's words for their types.

        Raises:
            ClusterFault: there is no answer, or none in time.
        """
        described, _ = self._described(statement, None, None)
        kind = connectors.CONNECTORS[Kind(self._cluster.kind)]
        return {str(column[0]): kind.described(column) for column in described}

    def close(self) -> None:
        """Take leave of the engine, if it is still there."""
        with self._lock:
            self._drop()

    def _described(
        self, statement: str, secrets: Mapping[str, str] | None, seconds: float | None
    ) -> tuple[list[Any], Rows]:
        limit = self._cluster.timeout_seconds if seconds is None else seconds
        with self._lock:
            try:
                return _within(limit, lambda: self._run(statement, secrets))
            except ClusterFault:
                self._drop()
                raise

    def _run(self, statement: str, secrets: Mapping[str, str] | None) -> tuple[list[Any], Rows]:
        if self._connection is None:
            source = self._cluster.as_source()
            _, self._connection, _ = connectors.connect(source, password_of(source))
        with contextlib.closing(self._connection.cursor()) as cursor:
            if secrets:
                cursor.execute(statement, {SECRET + name: secret for name, secret in secrets.items()})
            else:
                cursor.execute(statement)
            rows = [tuple(row) for row in cursor.fetchall()]
            return list(cursor.description or ()), rows

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # It may be the connection that has failed; leaving it must not wait for it either.
            with contextlib.suppress(ClusterFault):
                _within(5, connection.close)


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """What a piece of work gives; after so many seconds nobody waits for it any more.

    Raises:
        ClusterFault: it failed, or took longer.
    """
    done: SimpleQueue[Result | Exception] = SimpleQueue()

    def run() -> None:
        try:
            done.put(work())
        except Exception as error:  # noqa: BLE001 - whatever a driver raises; `_told` keeps what may be said of it
            done.put(error)

    threading.Thread(target=run, daemon=True, name="engine").start()
    try:
        result = done.get(timeout=seconds)
    except Empty:
        raise ClusterFault(f"it did not answer within {seconds:g} seconds") from None
    if isinstance(result, Exception):
        raise ClusterFault(_told(result)) from None
    return result


def _told(error: Exception) -> str:
    """A fault in words that hold no value: our own, or a driver's class and the name of its condition."""
    if isinstance(error, Misconfigured):
        return str(error)
    condition = getattr(error, "getCondition", lambda: None)() or getattr(error, "error_name", None)
    return f"{type(error).__name__} ({condition})" if condition else type(error).__name__
