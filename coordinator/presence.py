"""Which forces are connected, and the tasks on their way to them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from cordon.envelope import Envelope
from cordon.units import Digest
from cordon.wire.channel import Encoded

TaskName = tuple[Digest, int, int]
"""Query hash, attempt, phase: a task is sent once on each connection."""


@dataclass(eq=False)
class Connection:
    """One node's open Watch call."""

    force: str
    hello: Envelope
    queue: asyncio.Queue[Encoded | None] = field(default_factory=asyncio.Queue)
    sent: set[TaskName] = field(default_factory=set)


class Presence:
    """The connected forces; the newest connection of a force replaces the one before."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def join(self, force: str, hello: Envelope) -> Connection:
        """A node has connected."""
        before = self._connections.get(force)
        if before is not None:
            before.queue.put_nowait(None)
        connection = Connection(force, hello)
        self._connections[force] = connection
        return connection

    def leave(self, connection: Connection) -> bool:
        """A node's connection is gone; whether the force is gone with it."""
        if self._connections.get(connection.force) is not connection:
            return False
        del self._connections[connection.force]
        return True

    def close(self) -> None:
        """End every connection in good order; nodes dial again."""
        for connection in self._connections.values():
            connection.queue.put_nowait(None)

    def offer(self, force: str, name: TaskName, task: Encoded) -> None:
        """Send a task to a force, if it is connected and has not been sent it on this connection."""
        connection = self._connections.get(force)
        if connection is not None and name not in connection.sent:
            connection.sent.add(name)
            connection.queue.put_nowait(task)

    def send(self, force: str, task: Encoded) -> None:
        """Send a task to a force, if it is connected."""
        connection = self._connections.get(force)
        if connection is not None:
            connection.queue.put_nowait(task)

    @property
    def forces(self) -> frozenset[str]:
        """Forces that are connected."""
        return frozenset(self._connections)

    @property
    def hellos(self) -> tuple[Envelope, ...]:
        """The newest Hello of every connected force, by force id."""
        return tuple(self._connections[force].hello for force in sorted(self._connections))
