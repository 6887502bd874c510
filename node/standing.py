"""A node towards the register: closed after every start, open once others vouch, and proven ever after.

A ledger that was put back from a backup would hand out budget that is spent. So a started node trusts
its ledger only after other forces have vouched, upon a fresh challenge, for where the register stands,
and it has read every leaf since the checkpoint in its own store. docs/protocol.md §11.4.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog

from cordon.envelope import Envelope, Signer
from cordon.errors import Declined, Malformed, Misconfigured, Refused, Unavailable, Untrusted
from cordon.manifest import Manifest
from cordon.register.checkpoint import SignedCheckpoint, open_checkpoint
from cordon.register.leaf import BudgetStatement, Checkpoint, DeclineCode, Receipt
from cordon.register.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.messages import Vouch, Vouched, VouchFor
from cordon.wire.proofs import LeavesRequest, Proof, ProofRequest
from cordon.wire.services import DEPOSIT, LEAVES, PROVE, VOUCH, Method
from cordon.wire.signed import PAYLOAD_TYPES, open_claimed, open_signed, payload_hash, sign
from node.contribute import Standing
from node.ledger import Ledger
from node.outbox import Unproven

ANCHOR_RECEIPTS = 64
"""How many receipts before the newest one reading begins when a ledger opens: they may arrive out of order."""

AGREED_SECONDS = 3600
"""How far clock and register may lie apart for a new budget period to begin."""

CALL_SECONDS = 20.0
RETRY_SECONDS = 10
"""Between two tries to open a ledger with the same Vouches."""

PATIENCE_SECONDS = 3
"""How long a receipt may be on its way with its contribution before it is deposited by itself."""


class Caller(Protocol):
    """What of a channel is needed here."""

    def call(self, method: Method, request: Any, *, timeout: float) -> Any:
        """One request, one response."""

    def stream(self, method: Method, request: Any, *, timeout: float | None = None) -> Iterable[Any]:
        """One request, many responses."""


class RegisterLink:
    """What one node knows and asks of the register; safe to use from several threads."""

    def __init__(
        self,
        *,
        force: str,
        manifest: Manifest,
        ledger: Ledger,
        signer: Signer,
        clock: Callable[[], int],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """The ledger is closed.

        Raises:
            Misconfigured: the manifest replaces a register whose later leaves this force has accepted.
        """
        self._force = force
        self._manifest = manifest
        self._ledger = ledger
        self._signer = signer
        self._clock = clock
        self._log = log
        self._lock = threading.RLock()
        self._challenge = b""
        self._vouches: dict[str, Checkpoint] = {}
        self._tried_at = -RETRY_SECONDS
        self._forked = ""
        self._opened = threading.Event()
        ledger.begin_register(manifest.origin, _replaced(manifest))

    @property
    def is_open(self) -> bool:
        """Whether the ledger may be charged."""
        return self._opened.is_set()

    @property
    def accepted(self) -> Checkpoint:
        """The newest checkpoint that this force has accepted."""
        return self._ledger.accepted(self._manifest.origin)

    def challenge(self) -> bytes:
        """A fresh challenge for a new connection; Vouches for an older one count no more."""
        with self._lock:
            self._challenge = secrets.token_bytes(32)
            self._vouches.clear()
            return self._challenge

    def standing(self) -> Standing:
        """Where this force stands.

        Raises:
            Declined: the ledger is closed, the register was forked, or what it shows is too old.
        """
        now, timing = self._clock(), self._manifest.timing
        if self._forked:
            raise _declined(f"the register that this force is shown was changed: {self._forked}")
        if not self.is_open:
            text = "this force has just started, and not enough others have vouched for the register yet"
            raise Declined(DeclineCode.RESTARTED.words, text)
        time = self._ledger.accepted_time(self._manifest.origin)
        if abs(now - time) > timing.freshness_seconds + timing.clock_tolerance_seconds:
            raise _declined("this force has been shown no fresh checkpoint of the register")
        oldest = self._ledger.oldest_unproven()
        if oldest is not None and now - oldest > timing.freshness_seconds:
            raise _declined("a receipt or statement of this force was not shown in the register in time")
        return Standing(self.accepted, agreed=abs(now - time) <= AGREED_SECONDS)

    # While connected

    def keep(self, channel: Caller) -> None:
        """Deposit what is overdue and take the newest checkpoint, where there is reason to; called often.

        Raises:
            CordonError: the coordinator cannot be reached, or shows another register.
        """
        now, timing = self._clock(), self._manifest.timing
        self._try_again(channel, now)
        waiting = self._ledger.unproven()
        self._deposit(channel, [i for i in waiting if now - i.at >= PATIENCE_SECONDS or i.table == "statement"])
        age = now - self._ledger.accepted_time(self._manifest.origin)
        if self.is_open and (waiting or not 0 <= age < timing.freshness_seconds / 4):
            self.refresh(channel)

    def refresh(self, channel: Caller) -> None:
        """Take the newest checkpoint, and have what lies in the outbox shown in it.

        Raises:
            Untrusted: the register is not the one that was accepted before; the evidence is kept.
            CordonError: the coordinator cannot be reached, or answers something else.
        """
        with self._lock:
            waiting = {item.leaf_hash: item for item in self._ledger.unproven()}
            signed, proof = self._newest(channel, tuple(waiting))
            self._ledger.accept(self._manifest.origin, signed, self._shown(signed, proof, waiting))

    def vouch(self, channel: Caller, task: VouchFor) -> None:
        """Say, signed, what this force has accepted, after taking the coordinator's newest.

        Raises:
            CordonError: the coordinator cannot be reached, or shows another register.
        """
        signed, _ = self._newest(channel, ())
        with self._lock:
            if self.is_open:
                self._ledger.accept(self._manifest.origin, signed)
        vouch = Vouch(self._force, tuple(sorted(set(task.challenges))), signed.checkpoint)
        channel.call(VOUCH, sign(vouch, self._signer), timeout=CALL_SECONDS)

    def vouched(self, channel: Caller, task: Vouched) -> None:
        """Count Vouches, and open the ledger once there are enough.

        Raises:
            Misconfigured: the register holds receipts of this force that its ledger does not.
            CordonError: the coordinator cannot be reached, or shows another register.
        """
        with self._lock:
            for envelope in task.vouches:
                self._count(envelope)
            if not self.is_open and len(self._vouches) >= self._manifest.vouches_needed:
                self._open(channel)

    def _try_again(self, channel: Caller, now: int) -> None:
        """Open with the Vouches that are here, where that failed before, or where nobody else could vouch."""
        with self._lock:
            enough = len(self._vouches) >= self._manifest.vouches_needed
            if not self.is_open and enough and not 0 <= now - self._tried_at < RETRY_SECONDS:
                self._open(channel)

    # Opening

    def _count(self, envelope: Envelope) -> None:
        try:
            vouch = open_claimed(Vouch, envelope, lambda claimed: self._manifest.keyring(claimed.force))
        except (Untrusted, Malformed) as error:
            self._log.warning("a Vouch does not hold", reason=str(error))
            return
        if vouch.force != self._force and self._challenge in vouch.challenges:
            self._vouches[vouch.force] = vouch.checkpoint

    def _open(self, channel: Caller) -> None:
        self._tried_at = self._clock()
        self._deposit(channel, self._ledger.unproven())
        anchor = self._ledger.receipt_before_newest(ANCHOR_RECEIPTS)
        signed, proof = self._newest(channel, () if anchor is None else (anchor,))
        newest = signed.checkpoint
        start = self._anchored(signed, proof, anchor)
        on_line = self._proven_older(channel, newest) | self._read_leaves(channel, newest, start)
        if len(on_line) < self._manifest.vouches_needed:
            others = ", ".join(sorted(set(self._vouches) - on_line))
            self._log.warning("Vouches lie on another line than the coordinator's register", reason=others)
            return
        self._ledger.accept(self._manifest.origin, signed)
        self._opened.set()
        self._log.info("ledger opened", leaf=newest.size)
        # What was deposited just now is shown at once: a long pause must not count against anybody.
        self.refresh(channel)

    def _deposit(self, channel: Caller, items: Iterable[Unproven]) -> None:
        for item in items:
            try:
                channel.call(DEPOSIT, item.envelope, timeout=CALL_SECONDS)
            except (Refused, Untrusted, Malformed) as error:
                # One that the coordinator does not take must not keep the others back.
                self._log.warning("the coordinator refuses what was deposited", reason=f"{item.number}: {error}")

    def _anchored(self, signed: SignedCheckpoint, proof: Proof, anchor: Digest | None) -> int:
        """The leaf to read from: that of an own receipt which is still held and shown in the register; else 0.

        Not the own checkpoint's size: whoever cut the ledger's newest receipts off would keep that.
        """
        checkpoint = signed.checkpoint
        for item in proof.inclusions:
            if item.leaf_hash == anchor:
                verify_inclusion(item.leaf_hash, item.index, checkpoint.size, item.hashes, checkpoint.root)
                return min(item.index, self.accepted.size)
        return 0

    def _proven_older(self, channel: Caller, newest: Checkpoint) -> set[str]:
        """Forces whose vouched checkpoint is older than our own, and shown to be of the same register."""
        own, shown = self.accepted.size, set()
        for force, checkpoint in self._vouches.items():
            if checkpoint.size >= own:
                continue
            request = ProofRequest(checkpoint.size)
            proof: Proof = channel.call(PROVE, request, timeout=CALL_SECONDS)
            try:
                _check(checkpoint, newest, proof.consistency)
                shown.add(force)
            except Untrusted as error:
                self._log.warning("a Vouch is not shown to be of this register", reason=f"{force}: {error}")
        return shown

    def _read_leaves(self, channel: Caller, newest: Checkpoint, start: int) -> set[str]:
        """Read every leaf from `start` on; returns the forces that vouched for one of these sizes."""
        proof: Proof = channel.call(PROVE, ProofRequest(start), timeout=CALL_SECONDS)
        try:
            frontier = Frontier(start, proof.frontier)
        except ValueError as error:
            raise Untrusted(f"the coordinator's frontier: {error}") from None
        own = self.accepted
        wanted = {own.size, *(checkpoint.size for checkpoint in self._vouches.values())}
        roots = {frontier.size: frontier.root}
        request = LeavesRequest(frontier.size, newest.size)
        for page in channel.stream(LEAVES, request, timeout=CALL_SECONDS * 30):
            if page.start != frontier.size:
                raise Untrusted("the coordinator leaves out leaves of the register")
            for leaf in page.leaves:
                self._check_own(leaf, frontier.size)
                frontier = frontier.extended((leaf_hash(leaf),))
                if frontier.size in wanted:
                    roots[frontier.size] = frontier.root
        if (frontier.size, frontier.root) != (newest.size, newest.root):
            raise Untrusted("the coordinator's leaves are not those of its checkpoint")
        if own.size and roots.get(own.size) != own.root:
            raise Untrusted("the coordinator's leaves are not those of the checkpoint that was accepted before")
        return {force for force, c in self._vouches.items() if c.size in roots and roots[c.size] == c.root}

    def _check_own(self, leaf: bytes, index: int) -> None:
        """What the register holds of this force stands in its own ledger, or the ledger was put back."""
        if self._force.encode() not in leaf:
            return
        envelope = codec.decode_envelope(leaf)
        keys = self._manifest.keyring(self._force)
        known: Digest | None = None
        try:
            if envelope.payload_type == PAYLOAD_TYPES[Receipt]:
                receipt = open_signed(Receipt, envelope, keys)
                known, what = self._ledger.receipt_hash(receipt.number), f"receipt {receipt.number}"
            elif envelope.payload_type == PAYLOAD_TYPES[BudgetStatement]:
                statement = open_signed(BudgetStatement, envelope, keys)
                known, what = self._ledger.statement_hash(statement.number), f"budget statement {statement.number}"
            else:
                return
        except (Untrusted, Malformed):
            # Another force's, or nobody's: an auditor finds that.
            return
        if known != payload_hash(envelope):
            self._ledger.keep_evidence("a receipt or statement that this ledger does not hold", [leaf], self._clock())
            raise Misconfigured(
                f"the register holds {what} of this force (leaf {index}), and this ledger does not: it was put back "
                "from an older copy, or another node runs in this force's name",
                hint="see deploy/RUNBOOK.md, section 2.9",
            )

    # Proofs

    def _newest(self, channel: Caller, leaf_hashes: tuple[Digest, ...]) -> tuple[SignedCheckpoint, Proof]:
        own = self.accepted
        try:
            proof: Proof = channel.call(PROVE, ProofRequest(own.size, leaf_hashes), timeout=CALL_SECONDS)
        except Refused as refused:
            raise Unavailable(f"the coordinator proves nothing: {refused}") from None
        signed = open_checkpoint(proof.note, self._manifest.origin, self._manifest.coordinator_public)
        try:
            _check(own, signed.checkpoint, proof.consistency)
        except Untrusted as error:
            self._forked = str(error)
            note = self._ledger.accepted_note(self._manifest.origin)
            self._ledger.keep_evidence(
                "two checkpoints that are not of one register", [note, proof.note], self._clock()
            )
            self._log.error("the register was forked or rewritten; the evidence is in the ledger", reason=str(error))
            raise
        return signed, proof

    @staticmethod
    def _shown(signed: SignedCheckpoint, proof: Proof, waiting: dict[Digest, Unproven]) -> list[tuple[Unproven, int]]:
        shown = []
        for item in proof.inclusions:
            if item.leaf_hash in waiting:
                checkpoint = signed.checkpoint
                verify_inclusion(item.leaf_hash, item.index, checkpoint.size, item.hashes, checkpoint.root)
                shown.append((waiting[item.leaf_hash], item.index))
        return shown


def _replaced(manifest: Manifest) -> Checkpoint:
    """Last checkpoint of the register that the manifest's one replaces."""
    register = manifest.register_
    if register is None or register.replaces_root is None:
        return Checkpoint()
    return Checkpoint(register.replaces_size, Digest(bytes.fromhex(register.replaces_root)))


def _check(old: Checkpoint, new: Checkpoint, proof: tuple[Digest, ...]) -> None:
    verify_consistency(old.size, old.root, new.size, new.root, proof)


def _declined(text: str) -> Declined:
    return Declined(DeclineCode.FAULT.words, text[:300])
