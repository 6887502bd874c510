"""Signs checkpoints of the register, and proves things up to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coordinator.register import Register
from cordon.envelope import Signer
from cordon.errors import Malformed
from cordon.manifest import Manifest
from cordon.units import Digest
from cordon.wire.proofs import Proof


class Notary:
    """The coordinator's hand that signs checkpoints."""

    def __init__(self, register: Register, manifest: Manifest, signer: Signer, clock: Callable[[], float]) -> None:
        """Nothing is signed before somebody asks."""
        self._register = register
        self._manifest = manifest
        self._signer = signer
        self._clock = clock
        self._signed: tuple[int, float, bytes] | None = None

    def prove(self, old_size: int, leaf_hashes: Sequence[Digest]) -> Proof:
        """The newest checkpoint, and proofs up to it.

        Raises:
            Refused: the caller's register is larger than this one.
            Malformed: not a size.
        """
        if old_size < 0:
            raise Malformed("a register has no negative size")
        size, note = self.newest()
        return self._register.proof(note, size, old_size, leaf_hashes)

    def newest(self) -> tuple[int, bytes]:
        """Size and note of the newest checkpoint; signed anew where the register has grown or time has passed."""
        now, size = self._clock(), self._register.size
        # Twice in each interval that a reader calls fresh, also when nothing happens.
        longest = self._manifest.timing.freshness_seconds / 4
        if self._signed is not None and self._signed[0] == size and 0 <= now - self._signed[1] < longest:
            return size, self._signed[2]
        origin, public = self._manifest.origin, self._manifest.coordinator_public
        note = self._register.note(origin, public, self._signer, int(now))
        self._signed = (size, now, note)
        return size, note
