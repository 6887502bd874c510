"""The one register that an analyst has been shown: nothing is opened that does not stand in it.

A coordinator that shows two registers shows an analyst one of them; the checkpoint that the workspace
keeps holds it to that one ever after. docs/protocol.md §10, step 6.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cordon.envelope import Envelope
from cordon.errors import Misconfigured, Refused, Untrusted
from cordon.keyfile import OWNER_ONLY, sync_folder, write_new
from cordon.manifest import Manifest
from cordon.register.checkpoint import SignedCheckpoint, open_checkpoint
from cordon.register.leaf import Checkpoint
from cordon.register.merkle import leaf_hash, verify_consistency, verify_inclusion
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.proofs import Inclusion, Proof, ProofRequest
from cordon.wire.services import PROVE, Method

if sys.platform != "win32":
    import fcntl

CALL_SECONDS = 30.0


class Caller(Protocol):
    """What of a channel is needed here."""

    def call(self, method: Method, request: Any, *, timeout: float) -> Any:
        """One request, one response."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A checkpoint that was accepted, and where in it each leaf stands."""

    checkpoint: Checkpoint
    indices: tuple[int, ...]
    """Of the leaves that were to be shown, in their order."""


class Line:
    """The checkpoints that one analyst has accepted of one federation's register."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Kept in the analyst's workspace, one file a register.

        Args:
            folder: the workspace.
        """
        self._folder = folder
        self._origin = manifest.origin
        self._public = manifest.coordinator_public
        name = hashlib.sha256(manifest.origin.encode()).hexdigest()[:16]
        self._path = folder / f"checkpoint-{name}.json"

    @property
    def accepted(self) -> SignedCheckpoint:
        """The newest checkpoint that was accepted; of size 0 before the first.

        Raises:
            Misconfigured: what was remembered is damaged.
        """
        if not self._path.is_file():
            return SignedCheckpoint(Checkpoint(), 0, b"")
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            checkpoint = Checkpoint(int(known["size"]), Digest(bytes.fromhex(known["root"])))
            return SignedCheckpoint(checkpoint, int(known["time"]), str(known["note"]).encode())
        except (ValueError, KeyError, TypeError):
            raise Misconfigured(
                f"{self._path} is damaged: it held the newest checkpoint of the register that was seen",
                hint="compare the register with an auditor's, then remove the file",
            ) from None

    def show(self, channel: Caller, leaves: Sequence[tuple[str, Envelope]]) -> Standing:
        """Have the coordinator show leaves in a register that continues the one seen before; one round trip.

        Args:
            leaves: what each is, in words, and its signed envelope.

        Raises:
            Untrusted: a leaf is not in the register, or it is another register; the evidence is kept.
            Unavailable: the coordinator cannot be reached.
        """
        hashes = tuple(leaf_hash(codec.encode_envelope(envelope)) for _, envelope in leaves)
        with locked(self._folder / f"{self._path.name}.lock"):
            own = self.accepted
            signed, proof = self._newest(channel, own, hashes)
            shown = {inclusion.leaf_hash: inclusion for inclusion in proof.inclusions}
            indices = tuple(
                _index(what, digest, shown, signed.checkpoint) for (what, _), digest in zip(leaves, hashes, strict=True)
            )
            self._accept(signed)
        return Standing(signed.checkpoint, indices)

    def _newest(
        self, channel: Caller, own: SignedCheckpoint, hashes: tuple[Digest, ...]
    ) -> tuple[SignedCheckpoint, Proof]:
        old = own.checkpoint
        try:
            proof: Proof = channel.call(PROVE, ProofRequest(old.size, hashes), timeout=CALL_SECONDS)
        except Refused:
            # A register that was set back: its own newest checkpoint is the evidence.
            proof = channel.call(PROVE, ProofRequest(0), timeout=CALL_SECONDS)
        signed = open_checkpoint(proof.note, self._origin, self._public)
        new = signed.checkpoint
        try:
            _check_continues(old, new, proof)
        except Untrusted as error:
            raise self._forked(own, signed, str(error)) from None
        return signed, proof

    def _accept(self, signed: SignedCheckpoint) -> None:
        checkpoint = signed.checkpoint
        known = {
            "size": checkpoint.size, "root": checkpoint.root.hex(), "time": signed.time, "note": signed.note.decode(),
        }  # fmt: skip
        building = self._folder / f".{self._path.name}.{secrets.token_hex(8)}"
        with os.fdopen(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as file:
            json.dump(known, file)
            file.flush()
            os.fsync(file.fileno())
        building.replace(self._path)
        sync_folder(self._folder)

    def _forked(self, accepted: SignedCheckpoint, shown: SignedCheckpoint, why: str) -> Untrusted:
        notes = {"why": why, "accepted": accepted.note.decode(), "shown": shown.note.decode()}
        path = self._folder / f"evidence-{secrets.token_hex(8)}.json"
        write_new(path, json.dumps(notes, indent=2).encode(), mode=OWNER_ONLY)
        return Untrusted(
            f"the coordinator shows another register than before: {why}",
            hint=f"both checkpoints are kept in {path}: give it to the auditor; nothing is lost",
        )

    def check_same(self, note: bytes) -> None:
        """Check that a checkpoint of the size that was accepted is the one that was accepted.

        Raises:
            Untrusted: it is another; the evidence is kept.
        """
        own, signed = self.accepted, open_checkpoint(note, self._origin, self._public)
        if own.checkpoint.size == signed.checkpoint.size and own.checkpoint.root != signed.checkpoint.root:
            raise self._forked(own, signed, "two checkpoints of one size differ")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file: two commands at once must not keep two registers, whichever is written last."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_continues(old: Checkpoint, new: Checkpoint, proof: Proof) -> None:
    if new.size < old.size:
        raise Untrusted(f"the register has {new.size} leaves, fewer than the {old.size} that were seen")
    verify_consistency(old.size, old.root, new.size, new.root, proof.consistency)


def _index(what: str, digest: Digest, shown: dict[Digest, Inclusion], checkpoint: Checkpoint) -> int:
    if digest not in shown:
        raise Untrusted(
            f"{what} is not shown in the register",
            hint="nothing is lost: try again later, and tell the auditor if it stays so",
        )
    found = shown[digest]
    verify_inclusion(digest, found.index, checkpoint.size, found.hashes, checkpoint.root)
    return found.index
