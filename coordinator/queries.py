"""Open queries: inputs in, one durable transaction each, and what follows from them out.

Every input is checked first, then applied to the pure rounds together with whatever falls due, and
turned into leaves, events and tasks. Nothing is sent or acknowledged before it is durable.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import pairwise

import structlog

from coordinator import rounds
from coordinator.admission import (
    Known,
    check_answer,
    check_ready,
    check_receipt,
    check_submission,
    restored,
)
from coordinator.combine import RunningSum
from coordinator.presence import Presence, TaskName
from coordinator.record import Live, Recorder
from coordinator.rounds import Phase, Round
from coordinator.store import Store, StoredQuery
from cordon.catalogue import Catalogue
from cordon.envelope import Envelope, Signer, key_id
from cordon.errors import CordonError, Refused, Unavailable, Untrusted
from cordon.identity import Identity, Role
from cordon.manifest import Manifest
from cordon.register.leaf import (
    Decision,
    DeclineCode,
    EndReason,
    ManifestAdopted,
    QueryEnded,
    QuerySubmitted,
    Receipt,
)
from cordon.sealing.ciphertext import packed_size
from cordon.units import Digest, tagged_digest
from cordon.wire import codec, messages
from cordon.wire.channel import Encoded
from cordon.wire.messages import Consistency, NodeAnswer, Ready, Submission, Task
from cordon.wire.proofs import OpenedQuery, Opening
from cordon.wire.signed import open_signed, peek, sign

MOST_QUERIES_AN_HOUR = 2000
"""Of one analyst, whatever becomes of them: each leaves leaves and rows for ever."""


MOST_ROSTERS_DECLINED = 3
"""Fixed rosters that a force may decline within 30 days before it is named as the one that was missing."""

MOST_CLOSED = 200
"""Queries that a force which was not connected is told the end of."""


class Queries:
    """Every open query of the federation."""

    def __init__(
        self,
        *,
        store: Store,
        manifest: tuple[Manifest, Envelope],
        catalogue: Catalogue,
        signer: Signer,
        presence: Presence,
        clock: Callable[[], float],
        settled_at: float,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Take up every open query where the store says it stands.

        Args:
            settled_at: until then nobody is presumed absent: after a restart nodes need time to come back.
        """
        self._store = store
        self._manifest, self._manifest_envelope = manifest
        self._catalogue = catalogue
        self._signer = signer
        self._presence = presence
        self._clock = clock
        self._settled_at = settled_at
        self._log = log
        self._recorder = Recorder(store, self._manifest, signer, clock, log)
        self._changed: dict[Digest, asyncio.Event] = {}
        self._stopping = False
        self._writing: set[asyncio.Task[None]] = set()
        self._closed: list[tuple[TaskName, tuple[str, ...], Encoded]] = []
        self._live: dict[Digest, Live] = {}
        self._misfits: list[StoredQuery] = []
        for stored in store.open_queries():
            try:
                self._live[stored.query_hash] = self._take_up(stored)
            except CordonError:
                self._misfits.append(stored)

    # Inputs

    async def submit(self, submission: Submission, caller: Identity) -> Digest:
        """Take a query in, once; submitting it again only names it.

        Raises:
            CordonError: it is not the caller's, is malformed, or too many are open already.
        """
        known = check_submission(submission, caller, self._manifest, self._catalogue, self._clock())
        await self._write(known.query_hash, lambda: self._add(known, submission))
        return known.query_hash

    async def answer(self, answer: NodeAnswer, caller: Identity) -> None:
        """Take a node's decision or Ready note in.

        Raises:
            CordonError: it is not the caller's, or does not fit the query.
        """
        decision, ready = check_answer(answer, caller, self._manifest)
        named = {said.query_hash for said in (decision, ready) if said is not None}
        if len(named) != 1:
            raise Untrusted("decision and Ready note are about different queries")
        live = self._live.get(named.pop())
        if live is None:
            return
        if caller.name not in live.known.rules.forces:
            raise Untrusted(f"{caller.name} was not asked")
        if ready is not None:
            others = self._store.ephemeral_keys(ready.query_hash, ready.attempt, ready.force)
            check_ready(ready, live.known, others=others, manifest=self._manifest, now=self._clock())
            if not self._store.register.holds(ready.checkpoint):
                raise Refused(f"{ready.force} names a checkpoint that is not of this register")
        await self._write(live.known.query_hash, lambda: self._take_answer(live, answer, decision, ready))

    def expected(self, receipt: Envelope, caller: Identity) -> tuple[int, int]:
        """How many ciphertexts may follow a contribution's head, and the bytes of each.

        Raises:
            Untrusted: the caller has not signed the receipt, or is not on the roster that it names.
            Refused: there is no such query or roster.
        """
        claimed = open_signed(Receipt, receipt, self._manifest.keyring(caller.name))
        roster = self._store.roster(claimed.query_hash, claimed.attempt)
        if roster is None:
            raise Refused("no roster was fixed for this attempt")
        if caller.name not in roster.forces:
            raise Untrusted(f"{caller.name} is not on this roster")
        live = self._live.get(claimed.query_hash)
        known = live.known if live is not None else self._known(claimed.query_hash)
        parameters = known.plan.parameters
        return known.plan.ciphertexts, packed_size(parameters, parameters.moduli)

    async def contribute(self, receipt: Envelope, chunks: list[bytes], caller: Identity) -> None:
        """Take a contribution in; the same one again is acknowledged again.

        Raises:
            CordonError: it is not the caller's, is malformed, or belongs to no roster.
        """
        claimed = peek(Receipt, receipt)
        live = self._live.get(claimed.query_hash)
        known = live.known if live is not None else self._known(claimed.query_hash)
        roster = self._store.roster(claimed.query_hash, claimed.attempt)
        if roster is None:
            raise Refused("no roster was fixed for this attempt")
        check_receipt(receipt, chunks, caller, known=known, roster=roster, manifest=self._manifest)
        # Well-formed bytes only: a node that sends anything else is dropped from the round by name.
        polynomials = RunningSum(known.plan.parameters, known.plan.ciphertexts).read(chunks)

        def change() -> None:
            before = self._store.receipt(claimed.query_hash, claimed.attempt, caller.name)
            if before is not None:
                if before != receipt:
                    raise Untrusted(f"{caller.name} has contributed other bytes to this attempt before")
                return
            self._store.register.append_receipt(receipt, claimed)
            self._store.put_contribution(claimed.query_hash, claimed.attempt, caller.name, receipt, chunks)
            self._store.add_event(claimed.query_hash, messages.Contributed(receipt))
            if live is not None and live.total is not None and live.state.attempt == claimed.attempt:
                live.total.add(polynomials)
                self._apply(live, rounds.Contributed(caller.name, claimed.attempt, self._clock()))

        await self._write(claimed.query_hash, change)

    async def proceed(self, query_hash: Digest, caller: Identity) -> None:
        """Wait no longer for people.

        Raises:
            Untrusted: another analyst's query.
            Refused: there is no such query.
        """
        self.own(query_hash, caller)
        live = self._live.get(query_hash)
        if live is not None:
            await self._write(query_hash, lambda: self._apply(live, rounds.Proceed()))

    async def pass_time(self) -> None:
        """Apply whatever has fallen due."""
        for live in list(self._live.values()):
            if self._due(live) is not None:
                await self._write(live.known.query_hash, lambda live=live: self._advance(live))  # type: ignore[misc]

    async def begin(self) -> None:
        """Once at the start: the manifest enters the register, and open queries that no longer fit it end."""
        await self._store.write(self._adopt_manifest)
        misfits, self._misfits = self._misfits, []
        for stored in misfits:
            await self._write(stored.query_hash, lambda stored=stored: self._end_misfit(stored))  # type: ignore[misc]

    async def welcome(self, force: str) -> None:
        """A force has connected: whatever still waits for it is offered.

        Its Ready notes count no more until it says so again: if it has restarted, their keys are lost.
        """
        for live in list(self._live.values()):
            if force in dict(live.state.ready) and live.state.phase in (Phase.DECIDING, Phase.PREPARING):
                await self._write(
                    live.known.query_hash,
                    lambda live=live: self._apply(live, rounds.Reconnected(force)),  # type: ignore[misc]
                )
        for live in self._live.values():
            self._offer(live, force)
        for name, forces, closed in self._closed:
            if force in forces:
                self._presence.offer(force, name, closed)

    async def follow(self, query_hash: Digest) -> AsyncIterator[messages.Event]:
        """A query's events from the first to the last, as they become durable."""
        number = 0
        while True:
            if self._stopping:
                raise Unavailable("the coordinator is stopping; follow the query again")
            changed = self._changed.setdefault(query_hash, asyncio.Event())
            for event in self._store.events(query_hash, number):
                yield event
                number += 1
                if isinstance(event, messages.SumReady | messages.Ended):
                    return
            await changed.wait()

    def stop(self) -> None:
        """Let every follower go; nodes that now leave count as absent from nothing."""
        self._stopping = True
        self._settled_at = math.inf
        for changed in self._changed.values():
            changed.set()

    def completed(self, query_hash: Digest, caller: Identity) -> StoredQuery:
        """A completed query of the caller.

        Raises:
            Refused: it has not completed.
        """
        stored = self.own(query_hash, caller)
        if stored.round.phase is not Phase.COMPLETED:
            raise Refused("the query has not completed: there is no sum")
        return stored

    def own(self, query_hash: Digest, caller: Identity) -> StoredQuery:
        """A query of the caller.

        Raises:
            Untrusted: another analyst's query.
            Refused: there is no such query.
        """
        stored = self._store.query(query_hash)
        if stored is None:
            raise Refused(f"there is no query {query_hash.hex()[:12]}")
        if caller.role is not Role.ANALYST or stored.analyst != caller.name:
            raise Untrusted("a query can be followed by the analyst who submitted it only")
        return stored

    # Changes, each inside a transaction

    def _adopt_manifest(self) -> None:
        name = tagged_digest("cordon/manifest", self._manifest.digest)
        if not self._store.note_said(name):
            return
        adopted = sign(ManifestAdopted(self._manifest.version, self._manifest.digest), self._signer)
        number = self._store.register.append(adopted)
        self._store.register.open(Opening(number, document=self._manifest_envelope), public_from=0)

    async def _write(self, query_hash: Digest, change: Callable[[], None]) -> None:
        """Make a change durable and act on it, even if whoever called goes away meanwhile."""

        async def both() -> None:
            await self._store.write(change)
            self._follow_up(query_hash)

        task = asyncio.create_task(both())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.shield(task)

    def _end_misfit(self, stored: StoredQuery) -> None:
        ended = sign(QueryEnded(stored.query_hash, EndReason.MANIFEST_CHANGED), self._signer)
        self._store.register.append(ended)
        self._store.add_event(stored.query_hash, messages.Ended(ended))
        state = replace(stored.round, phase=Phase.ENDED)
        self._store.update_round(stored.query_hash, state, is_open=False, now=self._clock())
        self._log.warning("ended", query=stored.query_hash.hex()[:12], reason=EndReason.MANIFEST_CHANGED.name)

    def _add(self, known: Known, submission: Submission) -> None:
        if self._store.query(known.query_hash) is not None:
            return
        analyst = known.analyst.identity.name
        if self._store.open_of(analyst) >= self._manifest.limits.open_queries:
            raise Refused(f"{analyst} has {self._manifest.limits.open_queries} open queries, the most allowed")
        if self._store.submitted_since(analyst, known.rules.submitted - 3600) >= MOST_QUERIES_AN_HOUR:
            raise Refused(f"{analyst} has asked {MOST_QUERIES_AN_HOUR} queries within an hour, the most allowed")
        terms = known.query.terms
        index = self._store.register.append(
            sign(
                QuerySubmitted(
                    query_hash=known.query_hash,
                    analyst_key_id=key_id(known.analyst.key),
                    analyst_signature=submission.query.signatures[0].signature,
                    forces=known.query.question.forces,
                    rho=terms.rho,
                    attempts=terms.attempts,
                    purpose=terms.purpose,
                    submitted_at=int(known.rules.submitted),
                ),
                self._signer,
            )
        )
        self._store.register.open(
            Opening(index, query=OpenedQuery(known.envelope, known.certificate)),
            public_from=int(known.rules.submitted) + 86_400 * self._manifest.by_purpose[terms.purpose].embargo_days,
            query_hash=known.query_hash,
        )
        state = Round()
        self._store.add_query(
            StoredQuery(
                query_hash=known.query_hash,
                envelope=known.envelope,
                certificate=known.certificate,
                public_key=known.public_key,
                analyst=analyst,
                wait=submission.wait,
                submitted=known.rules.submitted,
                round=state,
            )
        )
        self._store.add_event(known.query_hash, messages.Submitted(known.query_hash, index))
        self._live[known.query_hash] = Live(known, state)
        self._log.info("submitted", query=known.query_hash.hex()[:12], analyst=analyst, leaf=index)

    def _take_answer(self, live: Live, answer: NodeAnswer, decision: Decision | None, ready: Ready | None) -> None:
        if decision is not None and answer.decision is not None and decision.attempt <= live.known.rules.attempts:
            # One decision of each kind: a force that says the same in ever new words says it once.
            said = (decision.force.encode(), bytes([decision.attempt, decision.outcome]))
            if self._store.note_said(tagged_digest("cordon/decision", decision.query_hash, *said)):
                number = self._store.register.append(answer.decision)
                if answer.text is not None and answer.text.text:
                    # A text may quote the question: it is under the question's embargo.
                    self._store.register.open(
                        Opening(number, text=answer.text),
                        public_from=self._store.register.public_from(decision.query_hash),
                        query_hash=decision.query_hash,
                    )
                self._store.add_event(live.known.query_hash, messages.Decided(answer.decision, answer.text))
            self._move(live, self._decided(decision))
        if ready is not None and answer.ready is not None:
            given = rounds.BecameReady(ready.force, ready.attempt, rounds.Note(ready.serial, float(ready.expires)))
            if self._move(live, given):
                self._store.put_ready(ready, answer.ready)
        self._advance(live)

    def _decided(self, decision: Decision) -> rounds.Decided:
        # Who finds fault with a roster is not the one at fault, unless it does so again and again.
        to_blame = decision.code is not DeclineCode.ROSTER
        if not to_blame and decision.attempt:
            name = f"{decision.force} declines rosters"
            now = self._clock()
            to_blame = self._store.note_failing((name,), now)[name] > MOST_ROSTERS_DECLINED
        return rounds.Decided(decision.force, decision.attempt, decision.outcome, self._clock(), to_blame=to_blame)

    def _apply(self, live: Live, given: rounds.Input) -> None:
        self._move(live, given)
        self._advance(live)

    def _advance(self, live: Live) -> None:
        while (given := self._due(live)) is not None:
            self._move(live, given)
        is_open = live.state.phase not in (Phase.COMPLETED, Phase.ENDED)
        self._store.update_round(live.known.query_hash, live.state, is_open=is_open, now=self._clock())

    def _move(self, live: Live, given: rounds.Input) -> bool:
        before = live.state
        live.state, happenings = rounds.step(live.known.rules, live.state, given)
        for happening in happenings:
            self._recorder.record(live, happening)
        return live.state != before

    def _due(self, live: Live) -> rounds.Input | None:
        now = self._clock()
        rules = live.known.rules
        # After a restart nobody is presumed absent until the nodes have had time to come back.
        present = self._presence.forces if now >= self._settled_at else frozenset(rules.forces)
        return rounds.due(rules, live.state, present, self._store.cooling(now), now)

    # After the transaction

    def _follow_up(self, query_hash: Digest) -> None:
        changed = self._changed.pop(query_hash, None)
        if changed is not None:
            changed.set()
        live = self._live.get(query_hash)
        if live is None:
            return
        live.shown = live.state
        standing = (live.shown.phase, live.shown.attempt)
        if standing == live.offered:
            return
        live.offered = standing
        for force in live.known.rules.forces:
            self._offer(live, force)
        if live.shown.phase in (Phase.COMPLETED, Phase.ENDED):
            del self._live[query_hash]
            closed = Encoded(codec.encode(messages.Closed(query_hash, self._failures(query_hash)), Task))
            name = (query_hash, 0, int(live.shown.phase))
            # Whoever is not connected just now is told when it comes back.
            self._closed = [*self._closed[-MOST_CLOSED:], (name, live.known.rules.forces, closed)]
            for force in live.known.rules.forces:
                self._presence.offer(force, name, closed)

    def _offer(self, live: Live, force: str) -> None:
        phase = rounds.owed(live.known.rules, live.shown, force)
        if phase is not None:
            name = (live.known.query_hash, live.shown.attempt, int(phase))
            self._presence.offer(force, name, self._encoded(live, phase))

    def _encoded(self, live: Live, phase: Phase) -> Encoded:
        name = (phase, live.shown.attempt)
        if name not in live.encoded:
            live.encoded[name] = Encoded(codec.encode(self._task(live, phase), Task))
        return live.encoded[name]

    def _task(self, live: Live, phase: Phase) -> Task:
        known, attempt = live.known, live.shown.attempt
        if phase is Phase.DECIDING:
            # Where nobody is waited for, admitted forces say at once that they are ready.
            at_once = 0 if known.rules.wait else attempt
            return messages.Decide(known.envelope, known.certificate, at_once)
        if phase is Phase.PREPARING:
            return messages.Prepare(known.query_hash, attempt, self._failures(known.query_hash))
        notes = self._store.ready(known.query_hash, attempt, live.shown.roster)
        return messages.Fixed(known.query_hash, attempt, notes, known.public_key, self._one_line(notes))

    def _failures(self, query_hash: Digest) -> tuple[Envelope, ...]:
        events = self._store.events(query_hash, 0)
        return tuple(event.attempt_failed for event in events if isinstance(event, messages.AttemptLost))

    def _one_line(self, notes: tuple[Envelope, ...]) -> tuple[Consistency, ...]:
        """Shows the forces that their checkpoints are of one register."""
        sizes = sorted({peek(Ready, note).checkpoint.size for note in notes})
        register = self._store.register
        return tuple(Consistency(old, new, register.consistency(old, new)) for old, new in pairwise(sizes))

    # Look-ups

    def _take_up(self, stored: StoredQuery) -> Live:
        known = restored(stored, self._manifest, self._catalogue)
        # Time that nobody could answer in, because we were down, does not count against anybody.
        waits = (
            known.rules.contribute_seconds if stored.round.phase is Phase.CONTRIBUTING else known.rules.ready_seconds
        )
        state = replace(stored.round, deadline=max(stored.round.deadline, self._settled_at + waits))
        live = Live(known, state, shown=state)
        if stored.round.phase is Phase.CONTRIBUTING:
            plan = live.known.plan
            live.total = RunningSum(plan.parameters, plan.ciphertexts)
            for force in sorted(stored.round.contributed):
                chunks = self._store.ciphertexts(stored.query_hash, stored.round.attempt, force)
                live.total.add(live.total.read(chunks))
        return live

    def _known(self, query_hash: Digest) -> Known:
        stored = self._store.query(query_hash)
        if stored is None:
            raise Refused("there is no such query")
        return restored(stored, self._manifest, self._catalogue)
