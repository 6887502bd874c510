"""The state machine of one query: pure transitions over one durable row.

`due` says what time or presence calls for, `step` applies one input. Neither reads a clock, a store or
a connection, so every interleaving can be played through in a test. docs/protocol.md §3 draws it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

from cordon.register.leaf import EndReason, Outcome

Value = TypeVar("Value")


class Phase(IntEnum):
    """Where a query stands."""

    DECIDING = 1
    PREPARING = 2
    CONTRIBUTING = 3
    COMPLETED = 4
    ENDED = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change while a query lives. Times are seconds since 1970-01-01 UTC."""

    forces: tuple[str, ...]
    """Forces that the question names."""
    attempts: int
    colluders: int
    wait: bool
    """Whether to wait for forces where a person decides."""
    submitted: float
    decide_by: float
    expires: float
    ready_seconds: float
    contribute_seconds: float

    def allows_roster(self, size: int) -> bool:
        """Whether masks and noise hold for a roster of `size` forces. docs/protocol.md §5."""
        smallest = self.colluders + 2
        if size >= smallest:
            return True
        if size >= 3:
            return len(self.forces) < smallest
        return size == 1 and len(self.forces) == 1


@dataclass(frozen=True, slots=True)
class Note:
    """What of a Ready note the transitions need."""

    serial: int
    expires: float


@dataclass(frozen=True, slots=True)
class Round:
    """Where one query stands; replaced as a whole, never changed."""

    phase: Phase = Phase.DECIDING
    attempt: int = 1
    deadline: float = 0.0
    """When the phase gives up on forces that did not answer."""
    proceed: bool = False
    """The analyst said to go on without forces that wait for a person."""
    outcomes: tuple[tuple[str, Outcome], ...] = ()
    candidates: frozenset[str] = frozenset()
    """Admitted forces, without those lost on the way; fixed when deciding closes."""
    ready: tuple[tuple[str, Note], ...] = ()
    roster: tuple[str, ...] = ()
    contributed: frozenset[str] = frozenset()


# Inputs


@dataclass(frozen=True, slots=True)
class Decided:
    """A force decided about the query (attempt 0), or declined one attempt of it."""

    force: str
    attempt: int
    outcome: Outcome
    at: float
    to_blame: bool = True
    """Whether an attempt that fails by it is put down to the force."""


@dataclass(frozen=True, slots=True)
class BecameReady:
    """A force is ready for an attempt."""

    force: str
    attempt: int
    note: Note


@dataclass(frozen=True, slots=True)
class Reconnected:
    """A force has connected anew: the key behind its Ready note may be lost."""

    force: str


@dataclass(frozen=True, slots=True)
class Proceed:
    """The analyst waits no longer for people."""


@dataclass(frozen=True, slots=True)
class Contributed:
    """A roster member's contribution is stored."""

    force: str
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class DecidingOver:
    """Candidates close; forces that did not decide are absent."""

    at: float


@dataclass(frozen=True, slots=True)
class PreparingOver:
    """The roster is made up of who is ready and not cooling down."""

    at: float
    cooling: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ContributingOver:
    """Members that have not contributed are lost."""

    at: float


@dataclass(frozen=True, slots=True)
class Expired:
    """The query has expired."""


Input = (
    Decided
    | BecameReady
    | Reconnected
    | Proceed
    | Contributed
    | DecidingOver
    | PreparingOver
    | ContributingOver
    | Expired
)


# What a transition makes happen


@dataclass(frozen=True, slots=True)
class ForcesAbsent:
    """These forces did not answer in time."""

    forces: tuple[str, ...]
    attempt: int
    """0 while deciding."""


@dataclass(frozen=True, slots=True)
class RosterMade:
    """The attempt's roster is fixed."""

    forces: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptOver:
    """The attempt cannot be completed."""

    attempt: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllContributed:
    """The sum is whole."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Over:
    """The query ends without an answer."""

    reason: EndReason


Happening = ForcesAbsent | RosterMade | AttemptOver | AllContributed | Over


def due(rules: Rules, state: Round, present: frozenset[str], cooling: frozenset[str], now: float) -> Input | None:
    """The input that time or presence calls for, if any.

    Args:
        present: forces that are connected.
        cooling: forces that failed a roster lately.
    """
    if state.phase in (Phase.COMPLETED, Phase.ENDED):
        return None
    if now >= rules.expires:
        return Expired()
    if state.phase is Phase.DECIDING:
        return DecidingOver(now) if _deciding_is_over(rules, state, present, now) else None
    if state.phase is Phase.PREPARING:
        ready = {force for force, note in state.ready if note.expires > now}
        complete = state.candidates - cooling <= ready
        return PreparingOver(now, cooling) if complete or now >= state.deadline else None
    return ContributingOver(now) if now >= state.deadline else None


def _deciding_is_over(rules: Rules, state: Round, present: frozenset[str], now: float) -> bool:
    outcomes = dict(state.outcomes)
    silent = (set(rules.forces) & present) - set(outcomes)
    if now >= rules.decide_by:
        return True
    if rules.wait and not state.proceed:
        return not silent and Outcome.AWAITING_APPROVAL not in outcomes.values()
    return not silent or now >= rules.submitted + rules.ready_seconds


def owed(rules: Rules, state: Round, force: str) -> Phase | None:
    """The phase whose task this force has still to answer, if any; sent again when it reconnects."""
    if force not in rules.forces:
        return None
    if state.phase is Phase.DECIDING:
        final = dict(state.outcomes).get(force, Outcome.AWAITING_APPROVAL)
        return Phase.DECIDING if final is Outcome.AWAITING_APPROVAL else None
    if state.phase is Phase.PREPARING:
        waits = force in state.candidates and force not in dict(state.ready)
        return Phase.PREPARING if waits else None
    if state.phase is Phase.CONTRIBUTING and force in state.roster and force not in state.contributed:
        return Phase.CONTRIBUTING
    return None


def step(rules: Rules, state: Round, given: Input) -> tuple[Round, tuple[Happening, ...]]:
    """Apply one input; an input that comes too late, or twice, changes nothing."""
    if state.phase in (Phase.COMPLETED, Phase.ENDED):
        return state, ()
    if isinstance(given, Decided):
        return _decided(rules, state, given)
    if isinstance(given, BecameReady):
        return _became_ready(state, given), ()
    if isinstance(given, Reconnected):
        return _reconnected(state, given), ()
    if isinstance(given, Proceed):
        return replace(state, proceed=True), ()
    if isinstance(given, Contributed):
        return _contributed(state, given)
    if isinstance(given, Expired):
        return _end(state, EndReason.QUERY_EXPIRED)
    return _phase_over(rules, state, given)


def _decided(rules: Rules, state: Round, given: Decided) -> tuple[Round, tuple[Happening, ...]]:
    if given.force not in rules.forces:
        return state, ()
    if given.attempt == 0:
        # A person's decision and an older answer that says it is awaited may cross on their way.
        crossed = given.force in dict(state.outcomes) and given.outcome is Outcome.AWAITING_APPROVAL
        if state.phase is not Phase.DECIDING or crossed:
            return state, ()
        return replace(state, outcomes=_with(state.outcomes, given.force, given.outcome)), ()
    if given.attempt != state.attempt or given.outcome is not Outcome.DECLINED:
        return state, ()
    if state.phase is Phase.CONTRIBUTING:
        if given.force not in state.roster or given.force in state.contributed:
            return state, ()
        missing = (given.force,) if given.to_blame else ()
        return _fail(rules, state, missing, at=given.at, without=given.force)
    return replace(
        state,
        candidates=state.candidates - {given.force},
        outcomes=_with(state.outcomes, given.force, Outcome.DECLINED),
        ready=tuple(item for item in state.ready if item[0] != given.force),
    ), ()


def _became_ready(state: Round, given: BecameReady) -> Round:
    known = dict(state.ready).get(given.force)
    late = given.attempt != state.attempt or state.phase not in (Phase.DECIDING, Phase.PREPARING)
    if late or (known is not None and known.serial >= given.note.serial):
        return state
    return replace(state, ready=_with(state.ready, given.force, given.note))


def _reconnected(state: Round, given: Reconnected) -> Round:
    if state.phase not in (Phase.DECIDING, Phase.PREPARING):
        return state
    return replace(state, ready=tuple(item for item in state.ready if item[0] != given.force))


def _contributed(state: Round, given: Contributed) -> tuple[Round, tuple[Happening, ...]]:
    here = state.phase is Phase.CONTRIBUTING and given.attempt == state.attempt and given.force in state.roster
    if not here or given.force in state.contributed:
        return state, ()
    contributed = state.contributed | {given.force}
    if contributed != set(state.roster):
        return replace(state, contributed=contributed), ()
    done = replace(state, contributed=contributed, phase=Phase.COMPLETED)
    return done, (AllContributed(state.attempt),)


def _phase_over(
    rules: Rules, state: Round, given: DecidingOver | PreparingOver | ContributingOver
) -> tuple[Round, tuple[Happening, ...]]:
    if isinstance(given, DecidingOver) and state.phase is Phase.DECIDING:
        return _close_candidates(rules, state, given.at)
    if isinstance(given, PreparingOver) and state.phase is Phase.PREPARING:
        return _make_roster(rules, state, given)
    if isinstance(given, ContributingOver) and state.phase is Phase.CONTRIBUTING:
        missing = tuple(force for force in state.roster if force not in state.contributed)
        return _fail(rules, state, missing, at=given.at)
    return state, ()


def _close_candidates(rules: Rules, state: Round, at: float) -> tuple[Round, tuple[Happening, ...]]:
    outcomes = dict(state.outcomes)
    absent = tuple(force for force in rules.forces if force not in outcomes)
    admitted = frozenset(force for force, outcome in state.outcomes if outcome is Outcome.ADMITTED)
    closed = replace(
        state,
        phase=Phase.PREPARING,
        candidates=admitted,
        ready=tuple((force, note) for force, note in state.ready if force in admitted and note.expires > at),
        deadline=at + rules.ready_seconds,
    )
    told: tuple[Happening, ...] = (ForcesAbsent(absent, 0),) if absent else ()
    if not rules.allows_roster(len(admitted)):
        ended, happened = _end(closed, EndReason.TOO_FEW_FORCES)
        return ended, told + happened
    return closed, told


def _make_roster(rules: Rules, state: Round, given: PreparingOver) -> tuple[Round, tuple[Happening, ...]]:
    at = given.at
    ready = {force for force, note in state.ready if note.expires > at} - given.cooling
    roster = tuple(sorted(state.candidates & ready, key=str.encode))
    absent = tuple(sorted(state.candidates - ready, key=str.encode))
    told: tuple[Happening, ...] = (ForcesAbsent(absent, state.attempt),) if absent else ()
    if not rules.allows_roster(len(roster)):
        ended, happened = _end(state, EndReason.TOO_FEW_FORCES)
        return ended, told + happened
    fixed = replace(
        state,
        phase=Phase.CONTRIBUTING,
        candidates=frozenset(roster),
        roster=roster,
        contributed=frozenset(),
        deadline=at + rules.contribute_seconds,
    )
    return fixed, (*told, RosterMade(roster, state.attempt))


def _fail(
    rules: Rules, state: Round, missing: tuple[str, ...], *, at: float, without: str = ""
) -> tuple[Round, tuple[Happening, ...]]:
    failed = AttemptOver(state.attempt, missing)
    if state.attempt >= rules.attempts:
        ended, happened = _end(state, EndReason.ATTEMPTS_USED_UP)
        return ended, (failed, *happened)
    # Whoever was lost is left out of the query's later attempts.
    again = replace(
        state,
        phase=Phase.PREPARING,
        attempt=state.attempt + 1,
        candidates=state.candidates - {*missing, without},
        ready=(),
        roster=(),
        contributed=frozenset(),
        deadline=at + rules.ready_seconds,
    )
    return again, (failed,)


def _end(state: Round, reason: EndReason) -> tuple[Round, tuple[Happening, ...]]:
    return replace(state, phase=Phase.ENDED), (Over(reason),)


def _with(items: tuple[tuple[str, Value], ...], force: str, value: Value) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted({**dict(items), force: value}.items()))
