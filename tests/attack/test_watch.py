"""Attacks on a watch's budget: redrawn ranks, kills, clocks, edited and replayed accounts, two runs at once."""

from __future__ import annotations

import csv
import json
import math
import shutil
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import pytest
from examples import person_contract
from members import Members
from watches import Watching

from cordon.analyst import workspace
from cordon.errors import Misconfigured, Refused, Unavailable, Untrusted
from cordon.query.plan import make_plan
from cordon.query.sql import parse_sql
from cordon.units import Rho
from cordon.wire.messages import Submitted
from cordon.workbench.session import Session
from cordon.workbench.watch import folder as folders
from cordon.workbench.watch.account import Account, BudgetEnded, Reserved, Settled
from cordon.workbench.watch.folder import Watches
from cordon.workbench.watch.release import Came, run_release
from cordon.workbench.watch.saved import Strange
from node.aggregate import Snapshot
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

RHO = Rho(20_000_000)
ROWS = 40
"""Of the person who is attacked: many more than the three that a load keeps."""

YEAR = 366 * 86_400


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """One federation for all of them: each test counts what is charged from its own beginning on."""
    made = Members(tmp_path_factory.mktemp("watch") / "federation")
    yield made
    made.close()


class Killed(BaseException):
    """The analyst's process was killed here, as by `kill -9`."""


# Redrawn ranks


def loaded(folder, rows, sqls):
    """The exact cells of each question after a load of its own, and which rows it has kept of the person."""
    source = folder / "records.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("ref", "role", "loss", "seen"), *rows])
    mapping = Mapping.model_validate(
        {
            "dataset": "persons", "version": 1, "domain": "records", "source": source, "as_at": "2026-01-31",
            "first_month": "2025-01", "last_month": "2025-12",
            "columns": {
                "person": {"source": "ref"}, "role": {"source": "role"}, "loss": {"source": "loss"},
                "day": {"source": "seen"},
            },
        }
    )  # fmt: skip
    load(mapping, person_contract(), folder, progress=lambda _: None)
    snapshot = Snapshot(snapshot_path(folder, "persons", 1), person_contract())
    found = [np.array(snapshot.aggregate(planned(sql), "kent")) for sql in sqls]
    snapshot.close()
    return found


def planned(sql):
    """A question's plan at the cost of one release."""
    question = parse_sql(sql, {"persons": person_contract()}, ["kent"]).question
    return make_plan(question, (RHO,), person_contract(), colluders=0, most_cells=1000)


BY_DAY = "SELECT day, COUNT(*) FROM persons GROUP BY day"
BY_ROLE = "SELECT role, COUNT(*) FROM persons GROUP BY role"


@pytest.mark.parametrize("releases", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_redrawn_ranks_cannot_exceed_what_the_releases_are_charged(tmp_path, releases):
    """Somebody with 40 rows, of whom each load keeps three others: over all releases the neighbours' squared distance
    over twice the noise's variance stays within what the account says, and reaches it where all rows share a cell.
    """
    others = [(f"p{at}", "victim", "1", f"2025-0{1 + at % 9}-15") for at in range(20)]
    person = [("x", "suspect", "2", f"2025-{1 + at // 25:02d}-{1 + at % 25:02d}") for at in range(ROWS)]
    absent = loaded(tmp_path, others, [BY_DAY, BY_ROLE])
    present = [loaded(tmp_path, others + person, [BY_DAY, BY_ROLE]) for _ in range(releases)]
    account = Account.of(
        Reserved(
            watch="ab" * 32, number=at + 1, previous="ab" * 32, at=0, slot=f"2026-01-{1 + at % 28:02d}", period=2026,
            nano=RHO.nano, declared={},
        )
        for at in range(releases)
    )  # fmt: skip
    charged = account.spent(2026).nano / 1e9
    losses = []
    for at, sql in enumerate((BY_DAY, BY_ROLE)):
        (block,) = planned(sql).blocks
        variance = block.sigma(1, 0) ** 2
        moved = [float(((found[at] - absent[at]) ** 2).sum()) for found in present]
        losses.append(sum(moved) / 2 / variance)
    kept = {found[0].tobytes() for found in present}
    assert len(kept) > 1, "each load keeps other rows of the person, or this shows nothing"
    assert losses[0] == pytest.approx(charged / 3, rel=1e-3), "three rows in three cells"
    assert losses[1] == pytest.approx(charged, rel=1e-3), "three rows in one cell: the bound is tight"
    assert max(losses) <= charged * (1 + 1e-9)
    _show_the_tree_exceeded([found[1] - absent[1] for found in present], releases)


def _show_the_tree_exceeded(moved, releases):
    """A binary tree over the releases, charged for log2(T) + 1 levels, by the same ranks."""
    d_squared, levels = 9, int(math.log2(releases)) + 1
    variance = levels * d_squared / (2 * RHO.nano / 1e9)

    def loss(leaves):
        layers = [leaves]
        while len(layers[-1]) > 1:
            layers.append([layers[-1][at] + layers[-1][at + 1] for at in range(0, len(layers[-1]), 2)])
        return sum(float((node**2).sum()) for layer in layers for node in layer) / 2 / variance

    claimed = RHO.nano / 1e9
    nothing = np.zeros_like(moved[0])
    assert loss([moved[0], *[nothing] * (releases - 1)]) == pytest.approx(claimed), "as it would be with frozen leaves"
    assert loss(moved) == pytest.approx(claimed * releases * (2 * releases - 1) / levels), "and as it is without"


# Kills


STEPS = 10
"""Files that a first release writes: reservation, five of the query, the opening, the answer, two entries."""


@pytest.fixture
def killing(monkeypatch):
    """Kills the analyst's process before or after one of the files that it writes for good."""
    state = {"at": 0, "after": False, "count": 0}

    def wrap(write):
        def writing(*arguments, **options):
            state["count"] += 1
            doomed = state["count"] == state["at"]
            if doomed and not state["after"]:
                raise Killed
            write(*arguments, **options)
            if doomed:
                raise Killed

        return writing

    monkeypatch.setattr(folders, "write_new", wrap(folders.write_new))
    monkeypatch.setattr(workspace, "write_new", wrap(workspace.write_new))
    return state


CASES = [(at, after) for at in range(1, STEPS + 1) for after in (False, True)]
QUICK = [(8, False)]
"""Every force was charged, the sum is opened, and the answer is not kept."""


@pytest.mark.parametrize(
    ("at", "after"), [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_kill_at_any_durable_step_never_lets_more_out_than_is_written_down(members, killing, at, after):
    """Killed twice at the same step and run again: what forces charged ≤ what is written down ≤ the budget."""
    watch = Watching(members, name=f"kill-{at}-{after}".lower(), budget="2.5")
    budget = watch.folder.saved.budget.nano
    for _ in range(2):
        killing.update(at=at, after=after, count=0)
        with suppress(Killed, BudgetEnded):
            watch.run()
        assert watch.charged <= watch.written <= budget
    killing.update(at=0, count=0)
    try:
        run = watch.run()
    except BudgetEnded:
        run = None
    assert watch.charged <= watch.written <= budget
    account = watch.folder.account()
    assert account.open is None
    if at >= 7:
        # The query was sent: it is taken up, and nothing is asked anew.
        assert run is not None
        assert len(account.releases) == 1
        assert watch.written == watch.folder.saved.nano_rho == watch.charged


@pytest.mark.slow
def test_a_kill_while_the_query_is_on_its_way_is_taken_up(members):
    """Killed at each event of the query: the next run opens the same answer, and nobody is charged twice."""
    watch = Watching(members, name="on-its-way")

    def kill(event):
        if isinstance(event, Submitted):
            raise Killed

    with pytest.raises(Killed):
        run_release(watch.session(), watch.folder, now=int(members.now), on_event=kill)
    run = watch.run()
    assert (run.came, watch.charged, watch.written) == (Came.RELEASED, *[watch.folder.saved.nano_rho] * 2)


# Clocks


def spent(watch, period, slot):
    """All of a year's budget is written down."""
    folder = watch.folder
    folder.account()
    budget = folder.saved.budget.nano
    account = folder.write(
        Reserved, at=int(watch.members.now), slot=slot, period=period, nano=budget, declared={}
    )  # fmt: skip
    folder.write(
        Settled, at=int(watch.members.now), release=account.releases[-1].number, query=f"{period:064x}", nano=budget,
        answered=False,
    )  # fmt: skip


def test_a_clock_mints_no_budget(members):
    """Set forward by a year, it does not begin one: the register's time disagrees. Set back, it uses no old year's.
    Only when the register is in the new year too does that year's budget begin.
    """
    watch = Watching(members, name="clocks")
    year = datetime.fromtimestamp(members.now, UTC).year
    spent(watch, year, f"{year}-01-01")
    with pytest.raises(BudgetEnded):
        watch.run()
    with pytest.raises(Unavailable, match="which year"):
        watch.run(now=int(members.now) + YEAR)
    spent(watch, year + 1, f"{year + 1}-01-01")
    for now in (int(members.now), int(members.now) - 5 * YEAR):
        # The slot is in the past of the account: nothing is due; and were it, the newest year's budget is used up.
        assert watch.run(now=now).came is Came.NOT_DUE
    before = watch.written
    with pytest.raises(BudgetEnded, match=str(year + 1)):
        watch.run(now=_first_of_february(year + 1))
    assert (watch.written, watch.charged) == (before, 0)


def _first_of_february(year):
    return int(datetime(year, 2, 1, tzinfo=UTC).timestamp())


# Files


def test_an_edited_or_replayed_account_buys_nothing(members):
    """A smaller sum does not verify; an account that was put back is missed by the query that the workspace keeps."""
    watch = Watching(members, name="files", budget="1.2")
    assert watch.run().came is Came.RELEASED
    entries = watch.folder.path / "entries"
    kept = watch.folder.path.parent / "kept"
    shutil.copytree(entries, kept)
    settled = entries / "000002.json"
    form = json.loads(settled.read_text())
    form["payload"] = form["payload"][:40] + ("A" if form["payload"][40] != "A" else "B") + form["payload"][41:]
    settled.write_text(json.dumps(form))
    with pytest.raises((Untrusted, Misconfigured)):
        watch.run(now=watch.later())
    # Put back to where nothing was asked yet: every entry is gone.
    shutil.rmtree(entries)
    entries.mkdir(mode=0o700)
    with pytest.raises(BudgetEnded):
        watch.run()
    account = watch.folder.account()
    assert [found.query for found in account.found] == [watch.session().history()[0].query_id]
    assert any("was not written down" in text for text in watch.said)
    assert watch.charged <= watch.written <= watch.folder.saved.budget.nano
    # The same with the last entries gone only, and with a saved question that allows more.
    saved = watch.folder.path / "watch.json"
    form = json.loads(saved.read_text())
    form["payload"] = form["payload"].swapcase()
    saved.write_text(json.dumps(form))
    with pytest.raises(Untrusted):
        watch.run()


def test_the_end_of_an_account_that_is_put_back_is_found_again(members):
    """Without its last entries, a release is taken up again by its query: it counts once, and is not asked anew."""
    watch = Watching(members, name="ends")
    first = watch.run()
    for lost in (["000003.json"], ["000003.json", "000002.json"]):
        for name in lost:
            (watch.folder.path / "entries" / name).unlink()
        again = watch.run()
        assert (again.came, again.query_id) == (Came.RELEASED, first.query_id)
        assert watch.written == watch.charged == watch.folder.saved.nano_rho


def test_what_lies_on_the_disk_mints_nothing_and_wedges_nothing(members):
    """A found query opens no year that only the clock says has begun; an edited answer lowers nothing, is not compared
    with, and stops no later release; what another watch has paid for is not paid for again.
    """
    watch = Watching(members, name="disk", attempts=2, budget="20")
    twin = Watching(members, name="twin", attempts=2, budget="20")
    first = watch.run()
    rho = watch.folder.saved.nano_rho
    entries, kept = watch.folder.path / "entries", watch.folder.path.parent / "kept-disk"
    shutil.copytree(entries, kept)
    path = watch.session().client.workspace.path / first.query_id / "answer.json"
    genuine = path.read_text()
    for text, counts in (
        (json.dumps(json.loads(genuine) | {"attempts_charged": 100}), 2 * rho), (genuine, rho),
    ):  # fmt: skip
        # Every entry is gone, and the clock is a year ahead.
        shutil.rmtree(entries)
        entries.mkdir(mode=0o700)
        path.write_text(text)
        with pytest.raises(Unavailable, match="which year"):
            watch.run(now=int(members.now) + YEAR)
        (found,) = watch.folder.account().found
        assert (found.period, found.nano) == (datetime.fromtimestamp(members.now, UTC).year, counts)
    shutil.rmtree(entries)
    shutil.copytree(kept, entries)
    shutil.rmtree(kept)
    path.write_text(genuine + "\n")
    (entries / "000003.json").unlink()
    watch.run()
    assert "was changed since it was opened" in watch.said[-1]
    path.write_text("{}")
    (entries / "000003.json").unlink()
    watch.run()
    assert watch.folder.account().answered[0].compared
    watch.later()
    path.write_bytes(b"\xff\xfe")
    assert watch.run().came is Came.RELEASED
    assert watch.written == 2 * rho
    assert twin.run().came is Came.RELEASED
    assert (twin.folder.account().found, twin.written) == ((), rho)


def test_a_run_beside_a_run_asks_nothing(members):
    """While one process waits for its answer, another is refused before it writes or asks anything."""
    watch = Watching(members, name="beside")
    refused = []

    def meddle(event):
        if isinstance(event, Submitted):
            with pytest.raises(Refused, match="another process") as error:
                watch.run()
            refused.append(error.value.exit_code)
            with pytest.raises(Refused, match="another process"):
                Watches(watch.session().client).remove(watch.name)

    run_release(watch.session(), watch.folder, now=int(members.now), on_event=meddle)
    assert refused == [3]
    assert watch.charged == watch.written == watch.folder.saved.nano_rho


@pytest.mark.slow
def test_a_release_that_fails_counts_in_full_and_is_not_asked_again(members):
    """No force is ready: nothing is known of charges, the reservation stands, and the slot is used up."""
    watch = Watching(members, name="fails", attempts=2)
    members.silent = set(members.members)
    try:
        assert watch.run().came is Came.FAILED
    finally:
        members.silent = set()
    assert watch.written == watch.folder.saved.most.nano > watch.charged
    assert watch.run().came is Came.NOT_DUE


def test_what_was_never_signed_counts_for_nothing(members, monkeypatch):
    """A release that is refused before a query is kept gives its reservation back, and the slot stays due."""
    watch = Watching(members, name="unsigned")

    def refuse(*_, **__):
        raise Refused("no")

    monkeypatch.setattr(Session, "query", refuse)
    for _ in range(2):
        with pytest.raises(Refused, match="no"):
            watch.run()
    account = watch.folder.account()
    assert (watch.written, len(account.releases), account.newest_slot) == (0, 2, None)


def test_a_question_that_would_not_be_the_same_is_not_asked(members, monkeypatch):
    """A force that joined, another delta, another price: each is named, an alert says so once, nothing is spent."""
    watch = Watching(members, name="strange")
    genuine = watch.folder.saved
    changed = {
        "it would also ask surrey": {
            "forces": tuple(f for f in genuine.forces if f != "surrey"),
            "question": "ab" * 32,
        },
        "it would not ask avon any more": {"forces": ("avon", *genuine.forces), "question": "ab" * 32},
        "FROM now means nominals v1, then nominals v9": {"dataset": "nominals v9"},
        "other bytes": {"contract": "ab" * 32},
        "delta": {"delta": "1/7"},
        "colluders": {"colluders": 3},
        "is now rho": {"nano_rho": genuine.nano_rho - 1},
        "read as another question": {"question": "ab" * 32},
        "lists no purpose": {"purpose": "curiosity"},
    }
    for words, update in [*changed.items(), *list(changed.items())[:1]]:
        with pytest.raises(Strange, match=words):
            run_with(watch, genuine.model_copy(update=update))
    alerts = watch.folder.alerts()
    assert {alert.kind for alert in alerts} == {"question"}
    assert len(alerts) == len(changed)
    assert (watch.written, watch.charged) == (0, 0)


def run_with(watch, saved):
    """A run of the same folder under another saved question."""
    folder = watch.folder
    folder.saved = saved
    return run_release(watch.session(), folder, now=int(watch.members.now))
