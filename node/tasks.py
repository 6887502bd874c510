"""What a node answers to each task: the gate, the ledger and the contribution, without any wire.

Every task is idempotent by query, attempt and phase, so a task that comes twice is answered alike.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cordon.catalogue import Catalogue
from cordon.envelope import QUERY, Envelope, Signer, commitment
from cordon.errors import Declined, Malformed, Untrusted
from cordon.query.model import Query
from cordon.register.leaf import AttemptFailed, Decision, DeclineCode, Outcome, text_commitment
from cordon.register.spending import Limits, Room, Spender
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.messages import MOST_TEXT, Decide, Fixed, NodeAnswer, Prepare, Text
from cordon.wire.signed import open_signed, peek, sign
from node.aggregate import Snapshot
from node.approvals import Desk, Settled, Tell
from node.contribute import Forked, Prepared, Standing, check_roster, contribute, period_of, prepare
from node.gate import Admission, Asked, Gate, Holding, State
from node.ledger import Contribution, Ledger
from node.pausing import is_paused, take_orders
from node.policy import ByHand

MOST_DECISIONS_AN_HOUR = 2000
"""Decisions about one analyst's queries that a ledger takes in."""

MOST_PREPARES = 8
"""Ready notes for one attempt: a coordinator that prepares without end only costs itself."""

_CLOSED_TEXT = "the coordinator has closed the query"

Snapshots = dict[tuple[str, int], Snapshot]
"""Open snapshots by data set and version."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a node works with; all of it checked at start-up."""

    force: str
    gate: Gate
    catalogue: Catalogue
    ledger: Ledger
    signer: Signer
    pause_file: Path
    standing: Callable[[], Standing]
    """Where the force stands towards the register; raises Declined where it may promise and charge nothing."""
    clock: Callable[[], int]
    """Seconds since 1970-01-01 UTC."""


class Tasks:
    """Answers tasks; safe to use from several threads."""

    def __init__(self, tools: Tools, snapshots: Snapshots) -> None:
        self.snapshots = snapshots
        self._tools = tools
        self._lock = threading.Lock()
        self._admissions: dict[Digest, Admission] = {}
        self._prepared: dict[tuple[Digest, int], Prepared] = {}
        self._prepares: Counter[tuple[Digest, int]] = Counter()
        self._closed: dict[Digest, int] = {}
        """Expiry of each query that was closed before it."""
        self._serial = 0
        state = tools.pause_file.parent
        self._desk = Desk(
            state, force=tools.force, policy=tools.gate.policy, manifest=tools.gate.manifest, ledger=tools.ledger
        )

    def decide(self, task: Decide) -> NodeAnswer:
        """Admit, await or decline; with an attempt, an admitted query is prepared at once."""
        query_hash = commitment(QUERY, task.query.payload)
        stored = self._tools.ledger.decision(query_hash)
        waits = stored is not None and stored.outcome == Outcome.AWAITING_APPROVAL.name
        if stored is None or (waits and self._waits_for(peek(Query, stored.envelope)) is None):
            return self._decide_anew(task, query_hash)
        answer = codec.decode(NodeAnswer, stored.answer)
        admitted = stored.outcome == Outcome.ADMITTED.name
        return self._with_ready(answer, query_hash, task.attempt) if admitted and task.attempt else answer

    def take_approvals(self, tell: Tell) -> list[NodeAnswer]:
        """Take up what officers have left in the state folder; the decisions that follow, to be sent.

        For one thread, every second or so. Orders to pause, which take effect by themselves, are noted too.

        Args:
            tell: told of each file that is without effect, and why.
        """
        tools, now = self._tools, self._tools.clock()
        keys = {name: officer.public for name, officer in tools.gate.policy.by_key_id.items()}
        keys |= tools.gate.manifest.keyring(tools.force)
        take_orders(tools.pause_file.parent, keys, tools.force, ledger=tools.ledger, now=now, tell=tell)
        return [self._decide_by_hand(settled, now) for settled in self._desk.take(now, tell)]

    def prepare(self, task: Prepare) -> NodeAnswer:
        """Reserve, and be ready for one attempt of an admitted query."""
        self._note_failures(task.query_hash, task.failures)
        for attempt in self._tools.ledger.charged_before(task.query_hash, task.attempt):
            # A further attempt says that the one before failed, also where nobody says who was missing.
            self._tools.ledger.record_failure(task.query_hash, attempt, (), self._tools.clock())
        return self._with_ready(NodeAnswer(None, None, None), task.query_hash, task.attempt)

    def contribute(self, fixed: Fixed) -> Contribution | NodeAnswer:
        """The contribution to a fixed roster, charged and durable; or a signed decline."""
        stored = self._tools.ledger.contribution(fixed.query_hash, fixed.attempt)
        if stored is not None:
            return stored if stored.ciphertexts else self._too_late(fixed)
        try:
            return self._contribute_once(fixed)
        except Declined as declined:
            return self._signed(fixed.query_hash, fixed.attempt, Outcome.DECLINED, _code(declined), str(declined))
        except sqlite3.Error:
            text = "this force's ledger cannot be written"
            return self._signed(fixed.query_hash, fixed.attempt, Outcome.DECLINED, DeclineCode.FAULT, text)

    def _too_late(self, fixed: Fixed) -> NodeAnswer:
        text = "the query has expired, and what was sent for it is deleted"
        return self._signed(fixed.query_hash, fixed.attempt, Outcome.DECLINED, DeclineCode.EXPIRED, text)

    def close(self, query_hash: Digest, failures: tuple[Envelope, ...] = ()) -> None:
        """Forget a query that has ended, and let its reservations go.

        Args:
            failures: signed AttemptFailed of each attempt that failed.
        """
        self._note_failures(query_hash, failures)
        self._tools.ledger.release(query_hash)
        with self._lock:
            admission = self._admissions.pop(query_hash, None)
            if admission is not None:
                # Never again in this process: limits on open queries would else bind an honest coordinator only.
                self._closed[query_hash] = admission.query.terms.expires
            for held in (self._prepared, self._prepares):
                for name in [name for name in held if name[0] == query_hash]:
                    del held[name]
        # Where it cannot be written, officers see a query that is over until it expires, and no more is lost.
        with suppress(sqlite3.Error):
            self._tools.ledger.end_waiting(query_hash, self._tools.clock())

    def forget_expired(self) -> None:
        """Forget every query that has expired."""
        now = self._tools.clock()
        self._tools.ledger.forget_expired(now)
        with self._lock:
            expired = [name for name, a in self._admissions.items() if a.query.terms.expires <= now]
        for query_hash in expired:
            self.close(query_hash)
        tolerance = self._tools.gate.manifest.timing.clock_tolerance_seconds
        with self._lock:
            self._closed = {name: expires for name, expires in self._closed.items() if expires + tolerance > now}

    def _note_failures(self, query_hash: Digest, failures: tuple[Envelope, ...]) -> None:
        tools = self._tools
        for envelope in failures:
            try:
                failed = open_signed(AttemptFailed, envelope, tools.gate.manifest.coordinator_keyring)
            except (Untrusted, Malformed):
                # Nobody is shunned upon what the coordinator has not signed.
                continue
            if failed.query_hash == query_hash:
                tools.ledger.record_failure(query_hash, failed.attempt, failed.missing, tools.clock())

    # Decide

    def _decide_anew(self, task: Decide, query_hash: Digest) -> NodeAnswer:
        gate, now = self._tools.gate, self._tools.clock()
        try:
            asked = gate.identify(task.query, task.certificate, now)
        except Declined as declined:
            # Not recorded: whoever holds no analyst's key must not be able to fill the ledger.
            return self._signed(query_hash, 0, Outcome.DECLINED, _code(declined), str(declined))
        if self._tools.ledger.decisions_since(asked.analyst.name, now - 3600) >= MOST_DECISIONS_AN_HOUR:
            # Not recorded: it is what keeps anybody from filling the ledger.
            text = f"an analyst may ask {MOST_DECISIONS_AN_HOUR} queries an hour"
            return self._signed(query_hash, 0, Outcome.DECLINED, DeclineCode.POLICY, text)
        waits = self._waits_for(asked.query)
        try:
            self._check_open(asked)
            if waits is not None:
                self._check_waiting(asked, now)
            admission = self._examine(asked, now)
        except Declined as declined:
            return self._record(task, asked, Outcome.DECLINED, _code(declined), str(declined))
        if waits is not None:
            return self._record(task, asked, Outcome.AWAITING_APPROVAL, DeclineCode.NOT_DECLINED, waits.text)
        answer = self._admit(task, admission)
        return self._with_ready(answer, query_hash, task.attempt) if task.attempt else answer

    def _decide_by_hand(self, settled: Settled, now: int) -> NodeAnswer:
        stored = self._tools.ledger.decision(settled.query_hash)
        if stored is None:
            raise AssertionError("a query that is settled stands in the ledger")
        task = Decide(stored.envelope, stored.certificate, 0)
        try:
            asked = self._tools.gate.identify(stored.envelope, stored.certificate, now)
        except Declined as declined:
            # The analyst's certificate has run out meanwhile.
            self._desk.forget(settled.query_hash)
            return self._signed(settled.query_hash, 0, Outcome.DECLINED, _code(declined), str(declined))
        if not settled.approved:
            return self._record(task, asked, Outcome.DECLINED, DeclineCode.APPROVAL, settled.text)
        try:
            # Examined anew: budget, holdings and time are not what they were when it began to wait.
            self._check_open(asked)
            admission = self._examine(asked, now)
        except Declined as declined:
            return self._record(task, asked, Outcome.DECLINED, _code(declined), str(declined))
        return self._admit(task, admission)

    def _admit(self, task: Decide, admission: Admission) -> NodeAnswer:
        with self._lock:
            self._admissions[admission.query_hash] = admission
        return self._record(task, admission.asked, Outcome.ADMITTED, DeclineCode.NOT_DECLINED, "")

    def _waits_for(self, query: Query) -> ByHand | None:
        return self._tools.gate.policy.waits_for(query.question, query.terms)

    def _check_open(self, asked: Asked) -> None:
        most = self._tools.gate.manifest.limits.open_queries
        with self._lock:
            is_open = sum(a.asked.analyst == asked.analyst for a in self._admissions.values())
        if is_open >= most:
            raise Declined(DeclineCode.POLICY.words, f"the federation allows an analyst {most} open queries")

    def _check_waiting(self, asked: Asked, now: int) -> None:
        most = self._tools.gate.manifest.limits.open_queries
        if self._tools.ledger.waiting_of(asked.analyst.name, now) >= most:
            raise Declined(DeclineCode.POLICY.words, f"{most} queries of this analyst wait for a person already")

    def _examine(self, asked: Asked, now: int) -> Admission:
        tools = self._tools

        def room(spender: Spender, limits: Limits) -> Room:
            return tools.ledger.room(spender, limits, period_of(now), now)

        holdings = {
            name: Holding.of(tools.catalogue[name][0], snapshot.vintage) for name, snapshot in self.snapshots.items()
        }
        return tools.gate.examine(asked, State(holdings, room, is_paused(tools.pause_file), now))

    def _record(self, task: Decide, asked: Asked, outcome: Outcome, code: DeclineCode, text: str) -> NodeAnswer:
        answer = self._signed(asked.query_hash, 0, outcome, code, text)
        self._tools.ledger.record_decision(
            asked.query_hash,
            task.query,
            certificate=task.certificate,
            analyst=asked.analyst.name,
            answer=codec.encode(answer),
            outcome=outcome.name,
            code=code,
            text=text,
            now=self._tools.clock(),
            expires=asked.query.terms.expires,
        )
        return answer

    def _signed(self, query_hash: Digest, attempt: int, outcome: Outcome, code: DeclineCode, text: str) -> NodeAnswer:
        # Words of a question may be quoted in it: cut and cleaned, so that a decision can always be signed.
        text = "".join(c if c.isprintable() else " " for c in text)[:MOST_TEXT]
        spoken = Text(secrets.token_bytes(32), text)
        decision = Decision(
            query_hash=query_hash,
            force=self._tools.force,
            attempt=attempt,
            outcome=outcome,
            code=code,
            text_commitment=text_commitment(spoken.salt, text),
            decided_at=self._tools.clock(),
        )
        return NodeAnswer(sign(decision, self._tools.signer), spoken, None)

    # Prepare

    def _with_ready(self, answer: NodeAnswer, query_hash: Digest, attempt: int) -> NodeAnswer:
        if self._tools.ledger.contribution(query_hash, attempt) is not None:
            # A task that comes twice, after its attempt was contributed to, must not make the attempt fail.
            return answer
        try:
            prepared = self._ready_for(query_hash, attempt)
        except Declined as declined:
            return self._signed(query_hash, attempt, Outcome.DECLINED, _code(declined), str(declined))
        return NodeAnswer(answer.decision, answer.text, prepared.note)

    def _ready_for(self, query_hash: Digest, attempt: int) -> Prepared:
        tools = self._tools
        admission = self._admission(query_hash)
        if not 1 <= attempt <= tools.gate.manifest.limits.attempts:
            raise Declined(DeclineCode.QUESTION.words, "the federation allows fewer attempts")
        with self._lock:
            before = self._prepared.get((query_hash, attempt))
            if before is not None and before.holds_until > tools.clock():
                return before
            self._prepares[query_hash, attempt] += 1
            if self._prepares[query_hash, attempt] > MOST_PREPARES:
                raise Declined(DeclineCode.ROSTER.words, "this attempt was prepared too often")
        prepared = prepare(
            admission,
            attempt,
            force=tools.force,
            manifest=tools.gate.manifest,
            ledger=tools.ledger,
            signer=tools.signer,
            standing=tools.standing(),
            serial=self._next_serial(),
            now=tools.clock(),
        )
        with self._lock:
            if query_hash not in self._closed:
                self._prepared[query_hash, attempt] = prepared
                return prepared
        tools.ledger.release(query_hash)
        raise Declined(DeclineCode.EXPIRED.words, _CLOSED_TEXT)

    def _next_serial(self) -> int:
        with self._lock:
            # Time makes it grow over restarts too.
            self._serial = max(self._serial + 1, time.time_ns())
            return self._serial

    def _admission(self, query_hash: Digest) -> Admission:
        with self._lock:
            known = self._admissions.get(query_hash)
            closed = query_hash in self._closed
        if closed:
            raise Declined(DeclineCode.EXPIRED.words, _CLOSED_TEXT)
        if known is not None:
            return known
        stored = self._tools.ledger.decision(query_hash)
        if stored is None or stored.outcome != Outcome.ADMITTED.name:
            raise Declined(DeclineCode.RESTARTED.words, "this force has not admitted the query")
        now = self._tools.clock()
        admission = self._examine(self._tools.gate.identify(stored.envelope, stored.certificate, now), now)
        with self._lock:
            self._admissions[query_hash] = admission
        return admission

    # Contribute

    def _contribute_once(self, fixed: Fixed) -> Contribution:
        tools, name = self._tools, (fixed.query_hash, fixed.attempt)
        with self._lock:
            prepared = self._prepared.get(name)
        if prepared is None:
            raise Declined(DeclineCode.RESTARTED.words, "this force has restarted since it was ready")
        now = tools.clock()
        standing = tools.standing()
        admission, period = prepared.admission, self._period(prepared.admission, standing, now)
        try:
            roster = check_roster(
                fixed,
                prepared,
                force=tools.force,
                manifest=tools.gate.manifest,
                policy=tools.gate.policy,
                shunned=self._shunned(admission, period),
                now=now,
            )
        except Forked as forked:
            tools.ledger.keep_evidence(str(forked), map(codec.encode_envelope, fixed.roster), now)
            raise
        self._check_not_paused()
        # Held anew, so that nothing but a fault can stand between touching records and charging for it.
        tools.ledger.reserve(
            fixed.query_hash,
            fixed.attempt,
            spender=admission.spender,
            rho=admission.query.terms.rho,
            limits=admission.limits,
            period=period,
            until=now + tools.gate.manifest.timing.contribute_seconds,
            now=now,
        )
        with self._lock:
            # One roster for one attempt: whoever comes second finds nothing prepared.
            if self._prepared.pop(name, None) is not prepared:
                raise Declined(DeclineCode.ROSTER.words, "another roster was looked at for this attempt")
        # No record is touched before this line, and whatever passes it is charged.
        cells = self._aggregate(admission)
        return contribute(
            prepared,
            roster,
            cells,
            force=tools.force,
            ledger=tools.ledger,
            signer=tools.signer,
            standing=standing,
            check=self._check_not_paused,
            now=now,
        )

    def _period(self, admission: Admission, standing: Standing, now: int) -> int:
        return self._tools.ledger.period(admission.spender.domain, period_of(now), agreed=standing.agreed)

    def _shunned(self, admission: Admission, period: int) -> frozenset[str]:
        """Forces that no roster may hold: they made attempts fail, and failures have spent their share."""
        ledger = self._tools.ledger
        if ledger.spending.failed(admission.spender.domain, period) < admission.limits.failed:
            return frozenset()
        return ledger.failing(period)

    def _check_not_paused(self) -> None:
        if is_paused(self._tools.pause_file):
            raise Declined(DeclineCode.PAUSED.words, "this force has paused its node")

    def _aggregate(self, admission: Admission) -> list[int]:
        plan = admission.plan
        snapshot = self.snapshots.get((plan.question.dataset, plan.question.contract_version))
        if snapshot is None or snapshot.vintage.domain != admission.spender.domain:
            raise Declined(DeclineCode.RESTARTED.words, "this force has loaded its records anew since it was asked")
        return snapshot.aggregate(plan, self._tools.force)


def _code(declined: Declined) -> DeclineCode:
    return DeclineCode[declined.code.upper().replace(" ", "_")]
