"""One query's state machine under every interleaving that chance finds."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.rounds import (
    AllContributed,
    AttemptOver,
    BecameReady,
    Contributed,
    ContributingOver,
    Decided,
    DecidingOver,
    Expired,
    ForcesAbsent,
    Note,
    Over,
    Phase,
    PreparingOver,
    Proceed,
    Reconnected,
    RosterMade,
    Round,
    Rules,
    due,
    owed,
    step,
)
from cordon.register.leaf import EndReason, Outcome

FORCES = ("essex", "kent", "norfolk", "suffolk", "surrey")
OUTSIDER = "wiltshire"
RULES = Rules(
    forces=FORCES, attempts=2, colluders=1, wait=False,
    submitted=0, decide_by=60, expires=500, ready_seconds=5, contribute_seconds=30,
)  # fmt: skip

anyone = st.sampled_from((*FORCES, OUTSIDER))
attempts = st.integers(0, 4)
times = st.floats(0, 600)
some = st.frozensets(anyone, max_size=3)
inputs = st.one_of(
    st.builds(Decided, anyone, attempts, st.sampled_from(Outcome), times, st.booleans()),
    st.builds(Decided, anyone, st.just(0), st.just(Outcome.ADMITTED), times),
    st.builds(BecameReady, anyone, attempts, st.builds(Note, st.integers(0, 5), times)),
    st.builds(BecameReady, anyone, st.integers(1, 2), st.just(Note(9, 1000))),
    st.builds(Contributed, anyone, attempts, times),
    st.builds(Reconnected, anyone),
    st.builds(Proceed),
    st.builds(DecidingOver, times),
    st.builds(PreparingOver, times, some),
    st.builds(ContributingOver, times),
    st.just(Expired()),
)
any_rules = st.builds(
    replace, st.just(RULES), attempts=st.integers(1, 3), colluders=st.integers(1, 2), wait=st.booleans(),
    forces=st.sampled_from((FORCES, FORCES[:4], FORCES[:3], FORCES[:1])),
)  # fmt: skip


def helpful(rules: Rules, attempt: int):
    """What honest parties do in one attempt, so that chance meets whole rounds as well."""
    return [
        *[BecameReady(force, attempt, Note(10, 1000)) for force in rules.forces],
        PreparingOver(10),
        *[Contributed(force, attempt, 20) for force in rules.forces],
    ]


@st.composite
def histories(draw):
    """Rules, and inputs in an order that is partly honest and partly anything."""
    rules = draw(any_rules)
    given = draw(st.lists(inputs, max_size=12))
    honest = [Decided(force, 0, Outcome.ADMITTED, 1) for force in rules.forces] + [DecidingOver(5)]
    for attempt in range(1, rules.attempts + 1):
        honest += helpful(rules, attempt)
    for item in honest:
        if draw(st.integers(0, 9)):
            given.append(item)
        if not draw(st.integers(0, 5)):
            given.append(draw(inputs))
    return rules, given


class Seen:
    """What has happened to one query so far, kept apart from the state that is under test."""

    def __init__(self, rules: Rules):
        self.rules = rules
        self.rosters: dict[int, tuple[str, ...]] = {}
        self.given: dict[int, set[str]] = {}
        self.notes: dict[tuple[int, str], list[Note]] = {}
        self.admitted: set[str] = set()
        self.lost: set[str] = set()
        self.over: list[object] = []

    def input(self, state: Round, given):
        """Take an input before it is applied."""
        decided = isinstance(given, Decided) and given.attempt == 0 and state.phase is Phase.DECIDING
        if decided and given.outcome is not Outcome.AWAITING_APPROVAL:
            (self.admitted.add if given.outcome is Outcome.ADMITTED else self.admitted.discard)(given.force)
        if isinstance(given, BecameReady):
            self.notes.setdefault((given.attempt, given.force), []).append(given.note)
        if isinstance(given, Contributed) and given.attempt in self.rosters:
            self.given.setdefault(given.attempt, set()).add(given.force)

    def happened(self, event, given):
        """Check what a transition made happen."""
        assert not self.over, "nothing happens after the end"
        if isinstance(event, RosterMade):
            self.roster(event, given)
        elif isinstance(event, AllContributed):
            assert self.given[event.attempt] >= set(self.rosters[event.attempt])
            self.over.append(event)
        elif isinstance(event, AttemptOver):
            assert set(event.missing) <= set(self.rosters[event.attempt]) - self.given.get(event.attempt, set())
            self.lost |= set(event.missing)
        elif isinstance(event, Over):
            self.over.append(event)
        else:
            assert isinstance(event, ForcesAbsent)
            assert set(event.forces) <= set(self.rules.forces)

    def roster(self, event: RosterMade, given):
        """A roster is the only one of its attempt, allowed, and made of those that are willing, ready and not lost."""
        assert event.attempt not in self.rosters, "one roster an attempt"
        assert event.attempt == len(self.rosters) + 1 <= self.rules.attempts
        assert list(event.forces) == sorted(event.forces)
        assert self.rules.allows_roster(len(event.forces))
        assert set(event.forces) <= self.admitted - self.lost - given.cooling
        for force in event.forces:
            assert any(note.expires > given.at for note in self.notes[event.attempt, force])
        self.rosters[event.attempt] = event.forces


@settings(max_examples=150, deadline=None)
@given(histories())
def test_whatever_comes_in_whatever_order(history):
    """One roster an attempt, an end only once, a completion only of all, and candidates that only shrink."""
    rules, given_inputs = history
    state, seen = Round(), Seen(rules)
    for given_input in given_inputs:
        seen.input(state, given_input)
        after, happened = step(rules, state, given_input)
        for event in happened:
            seen.happened(event, given_input)
        if state.phase is not Phase.DECIDING:
            assert after.candidates <= state.candidates
            assert after.phase is not Phase.DECIDING
        assert state.attempt <= after.attempt <= rules.attempts
        assert after.contributed <= set(after.roster) <= set(rules.forces)
        assert (after.phase in (Phase.COMPLETED, Phase.ENDED)) == bool(seen.over)
        if state.phase in (Phase.COMPLETED, Phase.ENDED):
            assert (after, happened) == (state, ())
        state = after


@settings(max_examples=100, deadline=None)
@given(histories())
def test_an_input_that_comes_twice_changes_nothing(history):
    """Everything may be sent again: after a reconnection it is."""
    rules, given_inputs = history
    state = Round()
    for given_input in given_inputs:
        state, _ = step(rules, state, given_input)
        assert step(rules, state, given_input) == (state, ())


@settings(max_examples=100, deadline=None)
@given(histories(), some)
def test_time_alone_ends_every_query(history, cooling):
    """From any state, what falls due leads to an end by the expiry, each phase once an attempt."""
    rules, given_inputs = history
    state = Round()
    for given_input in given_inputs:
        state, _ = step(rules, state, given_input)
    steps, now = 0, 0.0
    while now <= rules.expires:
        given_input = due(rules, state, frozenset(FORCES), cooling, now)
        if given_input is None:
            now += 5
            continue
        state, _ = step(rules, state, given_input)
        steps += 1
        assert steps <= 2 + 2 * rules.attempts
    assert state.phase in (Phase.COMPLETED, Phase.ENDED)
    assert due(rules, state, frozenset(FORCES), cooling, now) is None
    assert all(owed(rules, state, force) is None for force in FORCES)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(histories(), some)
def test_what_is_above_holds_of_many_histories(history, cooling):
    """The same three, over two thousand histories."""
    test_whatever_comes_in_whatever_order.hypothesis.inner_test(history)
    test_an_input_that_comes_twice_changes_nothing.hypothesis.inner_test(history)
    test_time_alone_ends_every_query.hypothesis.inner_test(history, cooling)


def played(*given, rules=RULES):
    """The state after inputs, and everything that happened."""
    state, events = Round(), []
    for item in given:
        state, happened = step(rules, state, item)
        events += happened
    return state, events


def admitted(forces=FORCES):
    """These forces admit, and deciding closes."""
    return [*(Decided(force, 0, Outcome.ADMITTED, 1) for force in forces), DecidingOver(5)]


def ready(attempt, forces=FORCES):
    """These forces are ready, and a roster is made."""
    return [*(BecameReady(force, attempt, Note(attempt, 1000)) for force in forces), PreparingOver(8)]


def test_a_whole_round():
    """Everybody admits, is ready and contributes: one roster, one completion."""
    state, events = played(*admitted(), *ready(1), *(Contributed(force, 1, 9) for force in FORCES))
    assert state.phase is Phase.COMPLETED
    assert events == [RosterMade(FORCES, 1), AllContributed(1)]


def test_a_lost_force_is_left_out_of_the_next_attempt():
    """The second attempt is made up of the others, and completes without the lost one."""
    state, events = played(
        *admitted(), *ready(1), *(Contributed(force, 1, 9) for force in FORCES[1:]), ContributingOver(40),
        *ready(2), *(Contributed(force, 2, 50) for force in FORCES[1:]),
    )  # fmt: skip
    assert events == [RosterMade(FORCES, 1), AttemptOver(1, ("essex",)), RosterMade(FORCES[1:], 2), AllContributed(2)]
    assert state.phase is Phase.COMPLETED


def test_attempts_are_used_up():
    """After the last attempt there is no other."""
    state, events = played(*admitted(), *ready(1), ContributingOver(40), *ready(2, FORCES[1:]))
    assert (state.phase, events[-1]) == (Phase.ENDED, Over(EndReason.TOO_FEW_FORCES))
    rules = replace(RULES, attempts=1)
    state, events = played(*admitted(), *ready(1), Contributed("kent", 1, 9), ContributingOver(40), rules=rules)
    lost = tuple(force for force in FORCES if force != "kent")
    assert events[-2:] == [AttemptOver(1, lost), Over(EndReason.ATTEMPTS_USED_UP)]


@pytest.mark.parametrize("to_blame", [True, False])
def test_a_member_that_declines_its_attempt_ends_it_at_once(to_blame):
    """The attempt is over without waiting; the force is named as lost only where it is to blame, and left out either way."""
    decline = Decided("kent", 1, Outcome.DECLINED, 9, to_blame)
    state, events = played(*admitted(), *ready(1), decline)
    assert events[-1] == AttemptOver(1, ("kent",) if to_blame else ())
    assert (state.attempt, state.candidates) == (2, frozenset(FORCES) - {"kent"})
    contributed, _ = played(*admitted(), *ready(1), Contributed("kent", 1, 9), decline)
    assert contributed.phase is Phase.CONTRIBUTING, "what is sent is sent"


@pytest.mark.parametrize(
    ("asked", "colluders", "allowed"),
    [(1, 1, {1}), (3, 1, {3}), (5, 1, {3, 4, 5}), (5, 2, {4, 5}), (4, 3, {3, 4}), (3, 2, {3}), (2, 1, set())],
)
def test_rosters_that_masks_and_noise_hold_for(asked, colluders, allowed):
    """At least c + 2, or three and more where fewer are asked than that, or the one force that is asked alone."""
    rules = replace(RULES, forces=FORCES[:asked], colluders=colluders)
    assert {size for size in range(asked + 1) if rules.allows_roster(size)} == allowed


def test_a_note_of_an_older_serial_or_a_lost_connection_does_not_count():
    """A reconnected force must be ready anew, and an older note never replaces a newer one."""
    state, _ = played(*admitted(), BecameReady("kent", 1, Note(5, 1000)), BecameReady("kent", 1, Note(4, 2000)))
    assert dict(state.ready)["kent"] == Note(5, 1000)
    state, _ = step(RULES, state, Reconnected("kent"))
    assert "kent" not in dict(state.ready)
    assert owed(RULES, state, "kent") is Phase.PREPARING


def test_waiting_for_people_ends_by_proceeding_or_by_time():
    """With `wait`, a force where a person decides holds the query up until the analyst goes on, or it is too late."""
    rules = replace(RULES, wait=True)
    decisions = [Decided(force, 0, Outcome.ADMITTED, 1) for force in FORCES[1:]]
    state, _ = played(*decisions, Decided("essex", 0, Outcome.AWAITING_APPROVAL, 1), rules=rules)
    present, none = frozenset(FORCES), frozenset()
    assert due(rules, state, present, none, 59) is None
    assert due(rules, state, present, none, 60) == DecidingOver(60)
    proceeded, _ = step(rules, state, Proceed())
    assert due(rules, proceeded, present, none, 6) == DecidingOver(6)
    assert due(RULES, state, present, none, 1) == DecidingOver(1), "without `wait` nobody is waited for"


@pytest.mark.parametrize("verdict", [Outcome.ADMITTED, Outcome.DECLINED])
def test_a_persons_decision_ends_the_waiting_and_is_not_taken_back(verdict):
    """After the last verdict candidates close at once; an older answer that says it is awaited changes nothing."""
    rules = replace(RULES, wait=True)
    decisions = [Decided(force, 0, Outcome.ADMITTED, 1) for force in FORCES[1:]]
    waiting, decided = (Decided("essex", 0, outcome, 9) for outcome in (Outcome.AWAITING_APPROVAL, verdict))
    state, _ = played(*decisions, waiting, decided, waiting, rules=rules)
    assert due(rules, state, frozenset(FORCES), frozenset(), 9) == DecidingOver(9)
    closed, events = step(rules, state, DecidingOver(9))
    assert events == ()
    assert closed.candidates == frozenset(FORCES if verdict is Outcome.ADMITTED else FORCES[1:])


def test_preparing_waits_for_candidates_that_are_not_cooling():
    """A force that failed lately is not waited for, and not on the roster; a note that ran out does not count."""
    state, _ = played(*admitted(), *(BecameReady(force, 1, Note(1, 7)) for force in FORCES[1:]))
    assert due(RULES, state, frozenset(FORCES), frozenset(), 6) is None
    found = due(RULES, state, frozenset(FORCES), frozenset({"essex"}), 6)
    assert found == PreparingOver(6, frozenset({"essex"}))
    assert due(RULES, state, frozenset(FORCES), frozenset({"essex"}), 7) is None
    after, events = step(RULES, state, PreparingOver(8))
    assert (after.phase, events[-1]) == (Phase.ENDED, Over(EndReason.TOO_FEW_FORCES))
