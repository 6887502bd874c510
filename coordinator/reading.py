"""The register's service: proofs, leaves, openings and kept contributions, to whoever may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from coordinator.notary import Notary
from coordinator.store import Store
from cordon.envelope import Envelope
from cordon.errors import Malformed, Refused, Untrusted
from cordon.identity import Identity, Role
from cordon.manifest import Manifest, parse_manifest
from cordon.register.leaf import BudgetStatement, Receipt
from cordon.units import Digest
from cordon.wire.channel import Handler
from cordon.wire.messages import Accepted, ContributionHead
from cordon.wire.proofs import (
    KeptRequest,
    LeafPage,
    LeavesRequest,
    Opening,
    Proof,
    ProofRequest,
)
from cordon.wire.services import DEPOSIT, KEPT, LEAVES, OPENINGS, PROVE, Method
from cordon.wire.signed import PAYLOAD_TYPES, open_signed

PAGE = 256
"""Leaves of one page."""


class Reading:
    """Implements the Register service, and takes in what is deposited in the register."""

    def __init__(self, store: Store, notary: Notary, manifest: Manifest, clock: Callable[[], float]) -> None:
        """Serves what the store holds."""
        self._store = store
        self._notary = notary
        self._manifest = manifest
        self._clock = clock

    @property
    def handlers(self) -> dict[Method, Handler]:
        """The implementation of each method."""
        return {
            PROVE: self.prove,
            LEAVES: self.leaves,
            OPENINGS: self.openings,
            KEPT: self.kept,
            DEPOSIT: self.deposit,
        }

    async def prove(self, request: ProofRequest, _caller: Identity) -> Proof:
        """The newest checkpoint, and proofs up to it."""
        return self._notary.prove(request.old_size, request.leaf_hashes)

    async def leaves(self, request: LeavesRequest, _caller: Identity) -> AsyncIterator[LeafPage]:
        """Leaves in order."""
        start, end = request.start, min(request.end, self._store.register.size)
        while start < end:
            page = self._store.register.read(start, min(end, start + PAGE))
            yield LeafPage(start, tuple(page))
            start += len(page)

    async def openings(self, request: LeavesRequest, caller: Identity) -> AsyncIterator[Opening]:
        """What leaves commit to: everything to auditors, to others what is no longer under embargo."""
        public_by = None if caller.role is Role.AUDITOR else int(self._clock())
        for opening in self._store.register.openings(request.start, request.end, public_by=public_by):
            yield opening

    async def kept(self, request: KeptRequest, caller: Identity) -> AsyncIterator[ContributionHead | bytes]:
        """Kept contributions of an attempt, in the roster's order; to auditors."""
        if caller.role is not Role.AUDITOR:
            raise Untrusted("kept contributions are for auditors; an analyst fetches those of an own query")
        roster = self._store.roster(request.query_hash, request.attempt)
        for force in roster.forces if roster is not None else ():
            receipt = self._store.receipt(request.query_hash, request.attempt, force)
            chunks = self._store.ciphertexts(request.query_hash, request.attempt, force)
            if receipt is None:
                continue
            yield ContributionHead(receipt, len(chunks))
            for chunk in chunks:
                yield chunk

    async def deposit(self, envelope: Envelope, caller: Identity) -> Accepted:
        """A receipt or budget statement from a force's outbox."""
        if caller.role is not Role.FORCE:
            raise Untrusted(f"{caller.uri} is not a force")
        keys = self._keys_of(caller.name)
        register = self._store.register
        if envelope.payload_type == PAYLOAD_TYPES[Receipt]:
            receipt = open_signed(Receipt, envelope, keys)
            _check_own(receipt.force, caller)
            self._check_roster(receipt)
            await self._store.write(lambda: register.append_receipt(envelope, receipt))
        elif envelope.payload_type == PAYLOAD_TYPES[BudgetStatement]:
            statement = open_signed(BudgetStatement, envelope, keys)
            _check_own(statement.force, caller)
            await self._store.write(lambda: register.append_statement(envelope, statement.force, statement.number))
        else:
            raise Malformed("receipts and budget statements are deposited, and nothing else")
        return Accepted()

    def _keys_of(self, force: str) -> dict[Digest, Ed25519PublicKey]:
        """A force's keys of now and before: what lay in its outbox when it changed its key is still its own."""
        earlier = [parse_manifest(envelope.payload) for envelope in self._store.register.manifests()]
        keys: dict[Digest, Ed25519PublicKey] = {}
        for manifest in (*earlier, self._manifest):
            if force in manifest.by_id:
                keys |= manifest.keyring(force)
        return keys

    def _check_roster(self, receipt: Receipt) -> None:
        roster = self._store.roster(receipt.query_hash, receipt.attempt)
        register = self._manifest.register_
        if roster is None and register is not None and register.replaces_root is not None:
            # Of the register that this one replaces.
            return
        if roster is None or receipt.force not in roster.forces:
            raise Refused(f"{receipt.force} was on no roster of that query and attempt")


def _check_own(force: str, caller: Identity) -> None:
    if force != caller.name:
        raise Untrusted(f"{caller.name} deposits what is said to be from {force}")
