"""Processes die, restart and wait at the worst moments; what was promised still holds."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest
from live import BEHIND_PROXY, FORCES, NO_CRIMES, PURPOSE, Asking, Live, start_cordon, wait_until

from cordon.units import Digest
from cordon.wire.messages import Decided, RosterKnown
from node.ledger import Ledger

pytestmark = pytest.mark.xdist_group("federation")

CRIMES = "SELECT crime_type, COUNT(*) FROM street_crime GROUP BY crime_type"
HOLD_CRIMES = sorted(set(FORCES) - {NO_CRIMES})
VICTIM = "cumbria"
KILLS = 6
"""Times that a node is killed at a random moment of a query."""


class Stopped:
    """A node that is halted for a while, so that a query cannot get past its decision."""

    def __init__(self, live: Live, force: str) -> None:
        self._pid = live.processes.node(force).pid

    def __enter__(self) -> None:
        """Halt it."""
        os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        """Let it go on."""
        os.kill(self._pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_force_lost_after_it_was_ready_is_named_and_both_attempts_are_charged(live: Live) -> None:
    """A second attempt completes without the lost force, names it, and survivors pay for both.

    Takes as long as the federation waits for a lost force.
    """
    with Stopped(live, BEHIND_PROXY):
        # The roster is fixed from Ready notes, and the victim's is in before it dies.
        asking = Asking(live, CRIMES)
        asking.wait_decided(VICTIM)
        live.processes.kill(VICTIM)
    answer = asking.ended()
    rosters = [event for event in asking.events if isinstance(event, RosterKnown)]
    assert [len(roster.ready) for roster in rosters] == [len(HOLD_CRIMES), len(HOLD_CRIMES) - 1]
    assert (answer["lost"], answer["attempts_charged"]) == ([VICTIM], 2)
    assert answer["answered"] == [force for force in HOLD_CRIMES if force != VICTIM]
    assert live.charges(VICTIM, answer["query"]) == []
    assert all(live.charges(force, answer["query"]) == [1, 2] for force in answer["answered"])


def test_a_node_that_dies_between_commit_and_sending_sends_the_same_bytes_again(live: Live) -> None:
    """Killed after its charge is durable and before anything left, a node sends exactly those bytes later."""
    assert live.proxy is not None
    with Stopped(live, VICTIM):
        asking = Asking(live, CRIMES)
        asking.wait_decided(BEHIND_PROXY)
        live.proxy.passing.clear()
    query = asking.query.hex()
    wait_until(f"{BEHIND_PROXY} has committed", lambda: live.charges(BEHIND_PROXY, query) == [1])
    live.processes.kill(BEHIND_PROXY)
    kept = live.ledger(BEHIND_PROXY, "SELECT ciphertext FROM outgoing WHERE query_hash = ?", asking.query)
    live.proxy.passing.set()
    live.restart_nodes(BEHIND_PROXY)
    answer = asking.ended()
    sent = live.store("SELECT bytes FROM ciphertext WHERE query_hash = ? AND force = ?", asking.query, BEHIND_PROXY)
    assert sent == kept != []
    assert (answer["attempts_charged"], answer["answered"]) == (1, HOLD_CRIMES)
    assert live.charges(BEHIND_PROXY, query) == [1]


def test_a_coordinator_killed_while_forces_decide_goes_on_where_it_was(live: Live) -> None:
    """Killed and restarted in the middle, the coordinator completes the query and the analyst's call goes on."""
    with Stopped(live, VICTIM):
        asking = Asking(live, CRIMES)
        asking.wait_decided(BEHIND_PROXY)
        live.processes.kill_coordinator()
    live.processes.start_coordinator()
    answer = asking.ended()
    assert answer["answered"] == HOLD_CRIMES
    assert answer["attempts_charged"] == 1


def test_a_coordinator_killed_with_a_fixed_roster_completes_that_attempt(live: Live) -> None:
    """A roster that was fixed before a crash is contributed to after it; nobody is charged a second time."""
    assert live.proxy is not None
    with Stopped(live, VICTIM):
        asking = Asking(live, CRIMES)
        asking.wait_decided(BEHIND_PROXY)
        live.proxy.passing.clear()
    asking.wait_for(RosterKnown)
    live.processes.kill_coordinator()
    live.proxy.passing.set()
    live.processes.start_coordinator()
    answer = asking.ended()
    assert (answer["answered"], answer["attempts_charged"]) == (HOLD_CRIMES, 1)
    assert all(live.charges(force, answer["query"]) == [1] for force in HOLD_CRIMES)


def test_an_analyst_who_was_killed_opens_the_answer_by_its_id(live: Live) -> None:
    """The command line is killed mid-query; `follow` later verifies and opens the same query."""
    known = {row[0] for row in live.store("SELECT query_hash FROM query")}
    with Stopped(live, VICTIM):
        command = start_cordon("query", CRIMES, "--epsilon", "1/2", "--purpose", PURPOSE, *live.profile)
        wait_until("the query is submitted", lambda: _new(live, known) or command.poll() is not None)
        (query,) = _new(live, known)
        command.kill()
        out, _ = command.communicate()
        assert out == ""
    done = live.cordon("follow", query.hex()[:16], "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["answered"] == HOLD_CRIMES
    secrets = live.layout.profile().parent / "workspace" / query.hex()
    assert not (secrets / "secret.key").exists()


def _new(live: Live, known: set[bytes]) -> set[bytes]:
    return {row[0] for row in live.store("SELECT query_hash FROM query")} - known


@pytest.mark.slow
def test_a_query_that_waits_for_a_person_survives_the_death_of_node_and_coordinator(live: Live) -> None:
    """`--wait` holds over SIGKILL of both, and `follow --no-wait` then completes without the waiting force."""
    officer = f'officer = [{{name = "A. Ames", key = "{"a1" * 32}"}}]'
    with live.policy(VICTIM, f'approval = "manual"\n{officer}'):
        command = start_cordon("query", CRIMES, "--epsilon", "1/2", "--purpose", PURPOSE, "--wait", "2", *live.profile)
        try:
            wait_until("the force has noted the query", lambda: _waiting(live) or command.poll() is not None)
            (query,) = _waiting(live)
        finally:
            command.kill()
            command.communicate()
        live.processes.kill(VICTIM)
        live.processes.kill_coordinator()
        live.processes.start_coordinator()
        live.restart_nodes(VICTIM)
        assert _waiting(live) == [query]
        assert live.store("SELECT open FROM query WHERE query_hash = ?", query) == [(1,)]
        live.wait_connected()
        done = live.cordon("follow", query.hex()[:16], "--no-wait", "--format", "json")
        assert done.code == 0, done.err
        answer = json.loads(done.out)
        assert answer["answered"] == [force for force in HOLD_CRIMES if force != VICTIM]
        assert (VICTIM, "awaiting approval") in {(item["force"], item["code"]) for item in answer["declined"]}
        assert live.charges(VICTIM, answer["query"]) == []


def _waiting(live: Live) -> list[bytes]:
    path = live.layout.force_folder(VICTIM) / "state" / "ledger.sqlite"
    ledger = Ledger(path, force=VICTIM, read_only=True)
    try:
        return list(ledger.waiting(int(time.time())))
    finally:
        ledger.close()


def test_every_process_restarted_at_once_answers_again(live: Live) -> None:
    """After a power cut at every party, all come back by themselves and old answers can be shown again."""
    before = Asking(live, CRIMES).ended()
    for force in FORCES:
        live.processes.kill(force)
    live.processes.kill_coordinator()
    live.processes.start_coordinator()
    live.restart_nodes(*FORCES)
    assert Asking(live, CRIMES).ended()["answered"] == HOLD_CRIMES
    with live.client() as client:
        again = client.follow(Digest.fromhex(before["query"]), client.federation(), on_event=lambda _: None)
    assert again == before


@pytest.mark.slow
def test_a_node_killed_at_random_moments_never_releases_what_it_did_not_charge(live: Live) -> None:
    """Whenever a node is killed, every release of it is charged, its chain is whole, and no attempt is charged twice.

    Takes a node's restart for each kill.
    """
    generator = random.Random(20_240_101)
    outcomes = []
    for _ in range(KILLS):
        asking = Asking(live, CRIMES, epsilon="1/4")
        asking.wait_for(Decided)
        time.sleep(generator.uniform(0, 0.6))
        live.processes.kill(VICTIM)
        live.check_ledger(VICTIM)
        live.restart_nodes(VICTIM)
        answer = asking.ended()
        outcomes.append(VICTIM in answer["answered"])
        assert set(HOLD_CRIMES) - {VICTIM} <= set(answer["answered"])
    live.check_ledger(VICTIM)
    charged = live.ledger(VICTIM, "SELECT query_hash, attempt FROM charge")
    released = live.store("SELECT query_hash, attempt FROM contribution WHERE force = ?", VICTIM)
    assert set(released) <= set(charged)
    assert len(set(charged)) == len(charged)
    assert len(outcomes) == KILLS
