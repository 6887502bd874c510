"""What a transition leaves behind: signed leaves of the register, and events for the analyst."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from coordinator import rounds
from coordinator.admission import Known, transcript_of
from coordinator.combine import RunningSum
from coordinator.rounds import Phase, Round
from coordinator.store import FORGOTTEN_SECONDS, THE_SUM, Store, StoredRoster
from cordon.envelope import Signer
from cordon.manifest import Manifest
from cordon.register.leaf import AttemptFailed, Completed, QueryEnded, RosterFixed
from cordon.sealing.ciphertext import chunks_digest
from cordon.wire import messages
from cordon.wire.channel import Encoded
from cordon.wire.signed import payload_hash, sign


@dataclass(eq=False)
class Live:
    """An open query in memory; the store has the same, and outlives it."""

    known: Known
    state: Round
    total: RunningSum | None = None
    shown: Round = field(default_factory=Round)
    """The newest state that is durable: what others may be told of."""
    offered: tuple[Phase, int] | None = None
    """Phase and attempt whose tasks have been offered to every force."""
    encoded: dict[tuple[Phase, int], Encoded] = field(default_factory=dict)


class Recorder:
    """Writes into the store's open transaction."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        signer: Signer,
        clock: Callable[[], float],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Nothing is written yet."""
        self._store = store
        self._manifest = manifest
        self._signer = signer
        self._clock = clock
        self._log = log

    def record(self, live: Live, happening: rounds.Happening) -> None:
        """Leaves and events of one happening; called inside the transaction that made it happen."""
        query_hash = live.known.query_hash
        if isinstance(happening, rounds.ForcesAbsent):
            for force in happening.forces:
                self._store.add_event(query_hash, messages.Absent(force, happening.attempt))
        elif isinstance(happening, rounds.RosterMade):
            self._record_roster(live, happening)
        elif isinstance(happening, rounds.AttemptOver):
            self._record_failure(live, happening)
        elif isinstance(happening, rounds.AllContributed):
            self._record_sum(live, happening.attempt)
        else:
            ended = sign(QueryEnded(query_hash, happening.reason), self._signer)
            self._store.register.append(ended)
            self._store.add_event(query_hash, messages.Ended(ended))
            self._log.info("ended", query=query_hash.hex()[:12], reason=happening.reason.name)

    def _record_roster(self, live: Live, made: rounds.RosterMade) -> None:
        known = live.known
        notes = self._store.ready(known.query_hash, made.attempt, made.forces)
        transcript = transcript_of(known, made.attempt, made.forces, notes, self._manifest)
        hashes = tuple(payload_hash(note) for note in notes)
        fixed = sign(RosterFixed(known.query_hash, made.attempt, made.forces, hashes, transcript), self._signer)
        self._store.register.append(fixed)
        self._store.put_roster(known.query_hash, made.attempt, StoredRoster(transcript, made.forces))
        self._store.add_event(known.query_hash, messages.RosterKnown(fixed, notes))
        live.total = RunningSum(known.plan.parameters, known.plan.ciphertexts)
        self._log.info("roster fixed", query=known.query_hash.hex()[:12], attempt=made.attempt, forces=len(made.forces))

    def _record_failure(self, live: Live, over: rounds.AttemptOver) -> None:
        query_hash = live.known.query_hash
        failed = sign(AttemptFailed(query_hash, over.attempt, over.missing), self._signer)
        self._store.register.append(failed)
        self._store.add_event(query_hash, messages.AttemptLost(failed))
        self._cool_down(live, over)
        live.total = None
        self._log.warning("attempt failed", query=query_hash.hex()[:12], attempt=over.attempt)

    def _cool_down(self, live: Live, over: rounds.AttemptOver) -> None:
        """Leave out who made an attempt fail, twice as long each time.

        Where a force found fault with the roster, that is who on it has failed before: forces shun those.
        """
        now, roster = self._clock(), self._store.roster(live.known.query_hash, over.attempt)
        suspects = over.missing or tuple(self._store.failing(roster.forces if roster is not None else (), now))
        for force, times in self._store.note_failing(suspects, now).items():
            seconds = self._manifest.timing.cooldown_seconds * 2 ** (times - 1)
            self._store.cool_down((force,), now + min(seconds, FORGOTTEN_SECONDS))

    def _record_sum(self, live: Live, attempt: int) -> None:
        query_hash = live.known.query_hash
        roster = self._store.roster(query_hash, attempt)
        if live.total is None or roster is None:
            raise AssertionError("a completed attempt has a roster and a sum")
        chunks = live.total.packed()
        receipts = [self._store.receipt(query_hash, attempt, force) for force in roster.forces]
        completed = sign(
            Completed(
                query_hash=query_hash,
                attempt=attempt,
                transcript_hash=roster.transcript,
                sum_hash=chunks_digest(chunks),
                receipt_hashes=tuple(payload_hash(receipt) for receipt in receipts if receipt is not None),
            ),
            self._signer,
        )
        self._store.put_ciphertexts(query_hash, attempt, THE_SUM, chunks)
        self._store.register.append(completed)
        self._store.add_event(query_hash, messages.SumReady(completed))
        self._log.info("completed", query=query_hash.hex()[:12], attempt=attempt, forces=len(roster.forces))
