"""Random histories of a whole federation, with faults in pairs: it failed, or it worked and nobody was told.

What counts as failure: a released contribution without its charge, two different contributions for one
attempt, two rosters for one attempt, a broken chain of receipts, a leaf that vanished, an answer that is
not the bounded truth within its noise, a query that never ends. What does not: a query that ends without
an answer, and budget that was charged for nothing.
"""

import shutil

import pytest
from histories import PAIR, History
from members import COUNT, FORCES, Analyst, Killed, Members

from cordon.analyst.workspace import StoredQuery, Workspace
from cordon.errors import CordonError, QueryFailed, Refused
from cordon.register.leaf import RosterFixed
from cordon.sealing.bfv import Opener
from cordon.sealing.ciphertext import chunks_digest
from cordon.wire import codec
from cordon.wire.messages import Fixed, Submission
from cordon.wire.signed import PAYLOAD_TYPES

SIGMAS = 7.0
"""An honest cell lies further from the truth once in 4e11."""


FAST_SEEDS = 2


@pytest.fixture
def history(tmp_path, request):
    """A history with a seed of its own, printed where it fails."""
    made = History(tmp_path / "f", getattr(request, "param", 0))
    yield made
    made.close()


def asked(history, attempts=2):
    """A query that was composed and stored as a client would; returns what opens it."""
    client = history.members.client()
    analyst = Analyst(history.members)
    composed = analyst.compose(attempts=attempts)
    client._workspace.add(
        StoredQuery(composed.query_hash, COUNT, composed.envelope, composed.opener.secret, composed.seed)
    )
    return analyst, composed


def opened(history, composed, deaths=()):
    """The answer, or None where the query ended without one; the client dies as often as it is told to.

    Args:
        deaths: of "before" and "after", each a death around the line that says which sum is opened.
    """
    sums, deaths = set(), list(deaths)
    honest_open, honest_record = Opener.open, Workspace.record_opening

    def watched(self, chunks):
        sums.add(chunks_digest(chunks))
        return honest_open(self, chunks)

    def record(self, query_hash, sum_hash):
        when = deaths.pop(0) if deaths else None
        if when == "lost before write":
            raise Killed
        honest_record(self, query_hash, sum_hash)
        if when == "lost after write":
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Opener, "open", watched)
        patch.setattr(Workspace, "record_opening", record)
        while True:
            client = history.members.client()
            try:
                answer = client.follow(composed.query_hash, history.members.federation, on_event=lambda _: None)
            except Killed:
                continue
            except QueryFailed:
                assert not sums
                return None
            assert len(sums) == 1, "one key has opened two sums"
            with pytest.raises(Refused, match="is not here any more"):
                client._workspace.query(composed.query_hash)
            return answer


def check_answer(history, answer):
    """Every force of the answer is in it once, and the total is the bounded truth within its noise."""
    truth = sum(history._rows(force) for force in answer["answered"])
    values = [row["values"][0] for row in answer["rows"]]
    sigma = (values[0]["high"] - values[0]["estimate"]) / 1.96
    assert abs(sum(v["estimate"] for v in values) - truth) <= SIGMAS * sigma * len(values) ** 0.5


@pytest.mark.parametrize("when", PAIR)
@pytest.mark.parametrize("times", [1, 2])
def test_a_node_that_dies_at_its_commit(history, when, times):
    """Before the commit nothing happened and the attempt is declined; after it the same bytes are sent again."""
    analyst, composed = asked(history)
    history.strike_node("kent", when, times)
    history.step(lambda: analyst.submit(composed.envelope, composed.public_key))
    history.settle()
    answer = opened(history, composed)

    check_answer(history, answer)
    assert ("kent" in answer["answered"]) is (when == "lost after write")
    assert history.members.members["kent"].ledger.sequence == (when == "lost after write")


@pytest.mark.parametrize("when", PAIR)
@pytest.mark.parametrize("at", range(1, 14))
def test_a_coordinator_that_dies_at_any_write(history, when, at):
    """The query goes on from what is durable, or fails cleanly; the analyst follows it by its id."""
    analyst, composed = asked(history)
    history.strike_coordinator(when, at, times=2)
    history.step(lambda: analyst.submit(composed.envelope, composed.public_key))
    history.settle()
    answer = opened(history, composed)

    assert answer is not None
    check_answer(history, answer)


@pytest.mark.parametrize("when", PAIR)
def test_a_node_that_dies_twice_while_it_sends(history, when):
    """What was charged is sent again, the same bytes, until the coordinator has them."""
    analyst, composed = asked(history)
    history.strike_send("kent", when, 2)
    history.step(lambda: analyst.submit(composed.envelope, composed.public_key))
    history.settle()
    answer = opened(history, composed)

    check_answer(history, answer)
    assert "kent" in answer["answered"]
    (times,) = history.members.members["kent"].sent.values()
    assert len(times) > 1
    assert len(set(times)) == 1


@pytest.mark.parametrize("when", PAIR)
def test_a_client_that_dies_twice_around_its_opening(history, when):
    """The analyst lost the stream, and then dies around the line that names the sum: the same sum is opened."""
    analyst, composed = asked(history)
    history.step(lambda: analyst.submit(composed.envelope, composed.public_key))
    history.settle()

    check_answer(history, opened(history, composed, deaths=[when, when]))


def test_a_lost_reply_to_a_contribution_is_answered_by_the_same_bytes(history):
    """The coordinator stores the contribution and dies before it says so; the node sends it again."""
    analyst, composed = asked(history)
    told = []

    def forget_once(force, made):
        if force == "kent" and not told:
            told.append(made)
            history.members.connect("kent")
        return made

    history.members.on_contribution = forget_once
    history.step(lambda: analyst.submit(composed.envelope, composed.public_key))
    history.settle()

    check_answer(history, opened(history, composed))
    (times,) = history.members.members["kent"].sent.values()
    assert len(set(times)) == 1


def test_tasks_that_come_twice_change_nothing(history):
    """Every task is idempotent by query, attempt and phase."""
    members = history.members
    original = members.handle

    def twice(force, task):
        original(force, task)
        original(force, task)

    members.handle = twice
    answer = members.ask()

    history.look()
    check_answer(history, answer)
    assert len(answer["answered"]) == 5


BY_HAND = f'approval = "manual"\nofficer = [{{name = "A. Ames", key = "{"a1" * 32}"}}]'


@pytest.mark.parametrize("approved", [True, False])
def test_a_waiting_query_survives_the_restart_of_both_sides(tmp_path, approved):
    """A person decides for one force: the query waits through restarts, then goes on with it or without."""
    members = Members(tmp_path / "f", policies={"kent": BY_HAND})
    try:
        analyst = Analyst(members)
        composed = analyst.compose()
        submission = Submission(composed.envelope, analyst.certificate, composed.public_key, wait=True)
        members.run(members.queries.submit(submission, analyst.identity))
        while members.deliver():
            pass
        assert len(members.members["kent"].ledger.waiting(int(members.now))) == 1
        for _ in range(2):
            members.restart_node("kent")
            members.restart_coordinator()
            while members.deliver():
                pass
            assert len(members.store.open_queries()) == 1
            assert len(members.members["kent"].ledger.waiting(int(members.now))) == 1
        if approved:
            policy = members.members["kent"].config.policy
            policy.write_text(policy.read_text().replace('"manual"', '"automatic"'))
            members.restart_node("kent")
        else:
            members.run(members.queries.proceed(composed.query_hash, analyst.identity))
        members.settle(seconds=30)

        assert members.store.open_queries() == []
        assert members.members["essex"].ledger.sequence == 1
        assert members.members["kent"].ledger.sequence == approved
    finally:
        members.close()


def test_a_force_that_is_admitted_after_a_restart_can_still_be_prepared(history):
    """A node that lost its ephemeral key says so and is prepared again before the roster is fixed."""
    members = history.members
    analyst, composed = asked(history)
    held = []
    members.on_task = lambda force, task: held.append(task) if isinstance(task, Fixed) and force == "kent" else task
    analyst.submit(composed.envelope, composed.public_key)
    members.deliver()
    members.restart_node("kent")
    members.on_task = lambda _, task: task
    members.settle()

    answer = opened(history, composed)
    check_answer(history, answer)
    assert "kent" not in answer["answered"]


def forget_a_charge(history):
    """As a node that sent before its commit was durable."""
    history.members.members["kent"].ledger._connection.execute("DELETE FROM charge")


def send_other_bytes(history):
    """As a node that makes its contribution anew when it is asked again."""
    ((receipt, *_),) = next(iter(history.members.members["kent"].sent.values()))
    next(iter(history.members.members["kent"].sent.values())).append((receipt, b"other"))


def forget_a_leaf(history):
    """As a coordinator that rewrites its register."""
    history.members.store._connection.execute("DELETE FROM leaf WHERE number = 2")


def fix_two_rosters(history):
    """As a coordinator that fixes the roster of one attempt twice."""
    history.members.store._connection.execute(
        "INSERT INTO leaf SELECT (SELECT max(number) + 1 FROM leaf), bytes, hash FROM leaf WHERE bytes = ?",
        next((e,) for e in history.leaves
             if codec.decode_envelope(e).payload_type == PAYLOAD_TYPES[RosterFixed]),
    )  # fmt: skip


@pytest.mark.parametrize("break_it", [forget_a_charge, send_other_bytes, forget_a_leaf, fix_two_rosters])
def test_the_look_from_outside_notices(history, break_it):
    """What must never happen, made to happen: the look that every history rests on fails."""
    history.members.ask()
    history.look()
    break_it(history)

    with pytest.raises((AssertionError, KeyError)):
        history.look()


QUERIES = 8
"""In a row, in one federation: what one query leaves behind meets the next."""


def random_histories(folder, seed):
    """Queries in a row, each struck by a few random faults; everything is looked at after every step."""
    history = History(folder, seed)
    ended = {"answer": 0, "failed": 0, "never taken in": 0}
    try:
        for number in range(QUERIES):
            try:
                ended[one_history(history)] += 1
            except CordonError as error:
                raise AssertionError(f"seed {seed}, query {number}: {error!r}") from error
    finally:
        history.close()
    return ended


def one_history(history):
    """One query under random faults; how it ended."""
    pick, members = history.random, history.members
    analyst, composed = asked(history)
    for force in pick.sample(FORCES, pick.randrange(3)):
        strike = pick.choice([history.strike_node, history.strike_send])
        strike(force, pick.choice(PAIR), pick.randint(1, 2))
    if pick.random() < 0.5:
        history.strike_coordinator(pick.choice(PAIR), pick.randint(1, 14), pick.randint(1, 2))
    if pick.random() < 0.5:
        history.mix_up(pick.choice([0.05, 0.15]))
    members.silent = set(pick.sample(FORCES, pick.randrange(2)))
    history.step(lambda: analyst.submit(composed.envelope, composed.public_key))
    if pick.random() < 0.3:
        # Never further back than the certificates hold, which begin an hour before the start.
        members.now = max(history.began - 3000, members.now + pick.choice([-3600, 30, 3600]))
    history.settle()
    history.calm()
    if members.store.query(composed.query_hash) is None:
        return "never taken in"
    answer = opened(history, composed, deaths=pick.choices(PAIR, k=pick.randrange(3)))
    if answer is None:
        return "failed"
    check_answer(history, answer)
    return "answer"


@pytest.mark.parametrize("seed", range(FAST_SEEDS))
def test_random_histories(tmp_path, seed):
    """Whatever dies, is lost or comes late: charged covers released, and answers are right or absent."""
    print(f"seed {seed}")
    ended = random_histories(tmp_path / "f", seed)

    assert ended["answer"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("batch", range(10))
def test_many_random_histories(tmp_path, batch):
    """As above, 200 further seeds of eight queries each; slow because 1,600 queries go to five forces."""
    for seed in range(1000 + 20 * batch, 1020 + 20 * batch):
        print(f"seed {seed}")
        random_histories(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))
