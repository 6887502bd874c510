"""Who vouches for whom: a force that has just started is told what the others see of the register.

Its challenge, from its Hello, goes to every connected force; their signed Vouches go back to it. The
coordinator only carries them: it can withhold them, and cannot make one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coordinator.presence import Presence
from cordon.envelope import Envelope
from cordon.errors import Untrusted
from cordon.manifest import Manifest
from cordon.wire import codec, messages
from cordon.wire.channel import Encoded
from cordon.wire.messages import Task, Vouch, VouchFor
from cordon.wire.signed import open_signed

BATCH_SECONDS = 0.5
"""Challenges that arrive within it are vouched for together: forces often start together."""


AGAIN_SECONDS = 5.0
"""After which a force that has not vouched is asked again."""


@dataclass(eq=False)
class _Waiting:
    """A connected force's challenge. It stays as long as the connection: Vouches may be lost, or worth nothing."""

    challenge: bytes
    asked_at: float
    asked: set[str] = field(default_factory=set)
    vouched: set[str] = field(default_factory=set)


class Vouching:
    """Challenges of connected forces, and the Vouches on their way."""

    def __init__(self, presence: Presence, manifest: Manifest, clock: Callable[[], float]) -> None:
        """Nobody has connected yet.

        Args:
            clock: seconds, of any epoch.
        """
        self._clock = clock
        self._presence = presence
        self._manifest = manifest
        self._waiting: dict[str, _Waiting] = {}

    def joined(self, force: str, challenge: bytes) -> None:
        """A force has connected; its newest challenge counts."""
        self._waiting[force] = _Waiting(challenge, self._clock())

    def left(self, force: str) -> None:
        """A force's connection is gone: what it was asked will not be answered."""
        self._waiting.pop(force, None)
        for waiting in self._waiting.values():
            waiting.asked.discard(force)

    def ask(self) -> None:
        """Ask every connected force for what it has not been asked yet, as soon as enough are connected."""
        for waiting in self._waiting.values():
            if abs(self._clock() - waiting.asked_at) >= AGAIN_SECONDS:
                # Whoever was asked and could not vouch then is asked again.
                waiting.asked, waiting.asked_at = set(waiting.vouched), self._clock()
        connected = self._presence.forces
        if len(connected) <= self._manifest.vouches_needed:
            return
        for force in connected:
            wanted = [w for other, w in self._waiting.items() if other != force and force not in w.asked]
            if not wanted:
                continue
            for waiting in wanted:
                waiting.asked.add(force)
            task = VouchFor(tuple(sorted(waiting.challenge for waiting in wanted)))
            self._presence.send(force, Encoded(codec.encode(task, Task)))

    def vouch(self, envelope: Envelope, force: str) -> None:
        """Carry a force's Vouch to everyone whose challenge is in it, and who still waits.

        Raises:
            Untrusted: not signed by the force.
        """
        vouch = open_signed(Vouch, envelope, self._manifest.keyring(force))
        served = [
            (other, waiting)
            for other, waiting in self._waiting.items()
            if other != force and waiting.challenge in vouch.challenges
        ]
        if vouch.force != force:
            raise Untrusted(f"{force} vouches in the name of {vouch.force}")
        task = Encoded(codec.encode(messages.Vouched((envelope,)), Task))
        for other, waiting in served:
            self._presence.send(other, task)
            waiting.vouched.add(force)
