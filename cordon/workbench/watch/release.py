"""One run of a watch: written down, asked, settled, compared, told. What a crash leaves is taken up at the next run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from cordon.analyst.federation import Federation
from cordon.analyst.times import utc
from cordon.analyst.vintages import declared
from cordon.contract import Contract
from cordon.errors import CordonError, Misconfigured, QueryFailed, Refused
from cordon.query.model import Query
from cordon.query.statement import Statement
from cordon.units import Digest
from cordon.wire.messages import Event
from cordon.wire.signed import peek
from cordon.workbench.answer import Answer
from cordon.workbench.session import Session
from cordon.workbench.watch.account import AnyKind, BudgetEnded, Compared, Found, Release, Reserved, Settled
from cordon.workbench.watch.alert import Alert, change_alert, stopped_alert
from cordon.workbench.watch.change import findings
from cordon.workbench.watch.clock import check_clock, register_time
from cordon.workbench.watch.comparing import compared
from cordon.workbench.watch.folder import Folder
from cordon.workbench.watch.own import (
    asking_the_same,
    asks,
    charged,
    has_answer,
    kept_answer,
    kept_digest,
    of_other_watches,
)
from cordon.workbench.watch.saved import Saved, Strange, check_same
from cordon.workbench.watch.schedule import named, next_slot, slot_of

Tell = Callable[[str], None]
OnEvent = Callable[[Event], None]
Declared = dict[str, tuple[str, str, str]]


class Came(StrEnum):
    """What a run has come to."""

    RELEASED = "released"
    UNCHANGED = "unchanged"
    """No force declares other records than at the last release: nothing was asked."""
    NOT_DUE = "not due"
    FAILED = "failed"
    """It was asked, and has no answer."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    came: Came
    text: str
    """In a sentence."""
    query_id: str | None = None
    alerts: tuple[Alert, ...] = ()
    """That were raised."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"came": str(self.came), "text": self.text, "query": self.query_id}


def run_release(
    session: Session,
    folder: Folder,
    *,
    now: int,
    anew: bool = False,
    tell: Tell = lambda _: None,
    on_event: OnEvent = lambda _: None,
) -> Run:
    """Take up what was left, and make the release that is due, if one is.

    Args:
        now: seconds since 1970-01-01 UTC.
        anew: also where no force declares other records than at the last release.
        tell: told of what should be known and stops nothing.

    Raises:
        Strange: what would be asked is not what was saved; an alert lies in the outbox.
        BudgetEnded: the year's budget does not cover the release; an alert lies in the outbox.
        Refused: another process runs the watch.
        CordonError: as `Session.query`.
    """
    with folder.locked():
        try:
            return _Running(session, folder, now, tell, on_event).go(anew=anew)
        except Strange as stop:
            about = "; ".join(stop.changes)
            folder.post(stopped_alert(folder.saved, folder.watch_id, "question", about, str(stop), now))
            raise
        except BudgetEnded as stop:
            folder.post(stopped_alert(folder.saved, folder.watch_id, "budget", str(stop.period), str(stop), now))
            raise


class _Running:
    """A run that holds the watch's lock."""

    def __init__(self, session: Session, folder: Folder, now: int, tell: Tell, on_event: OnEvent) -> None:
        self._session, self._folder, self._now, self._tell, self._on_event = session, folder, now, tell, on_event
        self._saved, self._account = folder.saved, folder.account()

    def go(self, *, anew: bool) -> Run:
        federation = self._session.federation()
        statement, contract = check_same(self._saved, federation)
        taken_up = self._take_up(federation, statement, contract)
        if taken_up is not None:
            return taken_up
        slot = slot_of(self._saved.every, self._now)
        newest = self._account.newest_slot
        if newest is not None and slot <= newest:
            due = next_slot(self._saved.every, newest)
            return Run(Came.NOT_DUE, f"{self._named(newest)} was asked already; the next release is due on {due}")
        declares = _declared(federation, contract, self._saved)
        last = self._account.answered[-1] if self._account.answered else None
        if last is not None and not anew and not _differs(declares, last.declared):
            text = f"no force declares other records than at the release of {self._named(last.slot)}"
            return Run(Came.UNCHANGED, f"{text}: nothing was asked, and nothing was spent")
        period = max(utc(self._now).year, self._account.period, utc(self._saved.created_at).year)
        self._account.check_room(self._saved, period)
        check_clock(self._session.client, federation, self._now)
        nano = self._saved.most.nano
        # Before anybody hears of it: a crash from here on can waste budget, and never mint it.
        self._write(Reserved, slot=slot.isoformat(), period=period, nano=nano, declared=declares)
        return self._asked(self._account.releases[-1], statement, contract)

    # What an earlier run, or whoever put the account back, has left

    def _take_up(self, federation: Federation, statement: Statement, contract: Contract) -> Run | None:
        unwritten = self._unwritten()
        left = self._account.open
        run = None
        if left is not None and unwritten:
            query_hash, _ = unwritten.pop(0)
            run = self._followed(left, query_hash, statement, contract)
        elif left is not None:
            self._tell("warning: a run broke off before its query was kept: what it had reserved counts as spent")
            self._write(Settled, release=left.number, query=None, nano=left.nano, answered=False)
        for query_hash, query in unwritten:
            name = query_hash.hex()
            self._tell(f"warning: query {name[:16]} asks the same and was not written down: it counts too")
            nano = charged(query, self._kept(name))
            self._write(Found, query=name, period=self._period(federation), nano=nano)
        for release in self._account.answered:
            if not release.compared:
                run = self._compared(release, self._recalled(release), statement, contract)
        return run

    def _period(self, federation: Federation) -> int:
        """The year that what was found belongs to: never one that only a clock says has begun."""
        register = register_time(self._session.client, federation, self._tell)
        return max(utc(register).year, utc(self._saved.created_at).year, self._account.period)

    def _unwritten(self) -> list[tuple[Digest, Query]]:
        known = self._account.queries | {*self._saved.earlier}
        found = [item for item in asking_the_same(self._session, self._saved) if item[0].hex() not in known]
        others = of_other_watches(self._session, self._saved) if found else frozenset()
        return [item for item in found if item[0].hex() not in others]

    def _followed(self, release: Release, query_hash: Digest, statement: Statement, contract: Contract) -> Run:
        name = query_hash.hex()
        try:
            kept = has_answer(self._session, name)
            # What lies on the disk is checked; what comes from the federation is verified as it comes.
            answer = kept_answer(self._session, name) if kept else self._session.follow(name, on_event=self._on_event)
        except Refused as error:
            return self._failed(release, name, error)
        except Misconfigured as error:
            if not has_answer(self._session, name):
                raise
            return self._failed(release, name, error)
        return self._settled(release, answer, statement, contract)

    # A release

    def _asked(self, release: Release, statement: Statement, contract: Contract) -> Run:
        saved = self._saved
        try:
            answer = self._session.query(
                saved.sql,
                purpose=saved.purpose,
                epsilon=saved.epsilon,
                attempts=saved.attempts,
                anew=True,
                on_event=self._on_event,
            )
        except CordonError as error:
            unwritten = self._unwritten()
            if isinstance(error, QueryFailed) and unwritten:
                return self._failed(release, unwritten[0][0].hex(), error)
            if not unwritten:
                # Nothing was signed, so nothing can have been charged.
                self._write(Settled, release=release.number, query=None, nano=0, answered=False)
            raise
        return self._settled(release, answer, statement, contract)

    def _failed(self, release: Release, query: str, error: CordonError) -> Run:
        # Who was charged before it failed is for the register to say; until then it counts in full.
        self._write(Settled, release=release.number, query=query, nano=release.nano, answered=False)
        text = f"the release of {self._named(release.slot)} has no answer, and counts in full: {error}"
        return Run(Came.FAILED, text, query)

    def _settled(self, release: Release, answer: Answer, statement: Statement, contract: Contract) -> Run:
        _, envelope = self._session.client.workspace.signed(Digest(bytes.fromhex(answer.query_id)))
        asked = peek(Query, envelope)
        if not asks(asked, self._saved):
            # The catalogue changed between the check and the question: it was paid for, and is not a release.
            self._write(Settled, release=release.number, query=answer.query_id, nano=release.nano, answered=False)
            raise Strange(self._saved.name, ("the federation's catalogue changed while it was asked",))
        self._write(
            Settled, release=release.number, query=answer.query_id, nano=charged(asked, answer), answered=True,
            answer=kept_digest(self._session, answer.query_id),
        )  # fmt: skip
        return self._compared(self._account.answered[-1], answer, statement, contract)

    # Comparing

    def _compared(self, release: Release, answer: Answer | None, statement: Statement, contract: Contract) -> Run:
        alerts, words = self._alerts(release, answer, statement, contract)
        for alert in alerts:
            self._folder.post(alert)
        self._write(Compared, release=release.number, alerts=tuple(alert.id for alert in alerts))
        return Run(Came.RELEASED, f"{self._named(release.slot)}: {words}", release.query, alerts)

    def _alerts(
        self, release: Release, answer: Answer | None, statement: Statement, contract: Contract
    ) -> tuple[tuple[Alert, ...], str]:
        earlier = self._account.earlier(release, self._saved)
        before = None if earlier is None else self._recalled(earlier)
        if answer is None or earlier is None or before is None:
            return (), "released; there is nothing to compare it with"
        saved = self._saved
        comparison = compared(before, answer, statement, contract, saved)
        for note in comparison.notes:
            self._tell(note)
        found = findings(comparison.pairs, releases=saved.every.most_a_year, least_change=saved.least_change)
        slots = (self._named(earlier.slot), self._named(release.slot))
        if not found:
            return (), f"no change since {slots[0]} that could not be noise, in {len(comparison.pairs)} cells"
        alert = change_alert(
            saved, self._folder.watch_id, (before, answer), found, slots=slots, at=self._now, notes=comparison.notes
        )
        return (alert,), alert.text

    def _recalled(self, release: Release) -> Answer | None:
        try:
            return kept_answer(self._session, str(release.query), release.answer)
        except CordonError as error:
            self._tell(f"warning: the answer of {self._named(release.slot)} cannot be compared with: {error}")
            return None

    def _kept(self, query_id: str) -> Answer | None:
        try:
            return kept_answer(self._session, query_id)
        except CordonError:
            return None

    def _write(self, kind: AnyKind, **fields: object) -> None:
        self._account = self._folder.write(kind, at=self._now, **fields)

    def _named(self, slot: date) -> str:
        return named(self._saved.every, slot)


def _declared(federation: Federation, contract: Contract, saved: Saved) -> Declared:
    found = declared(federation, contract, saved.forces)
    return {force: (held["contract"], held["as_at"], held["load_id"]) for force, held in found.items()}


def _differs(now: Declared, then: Declared) -> bool:
    """Whether a connected force declares what it did not; one that is not connected would add nothing new."""
    return any(then.get(force) != held for force, held in now.items())
