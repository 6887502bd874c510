"""A watch's pure parts, its files as strangers might leave them, and its alerts on their way."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import socket
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from examples import PERSON_CONTRACT, person_contract, row_contract
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import norm, skellam

from cordon.analyst.rows import Estimate
from cordon.contract import Contract
from cordon.envelope import KeySigner, seal, to_json
from cordon.errors import Misconfigured, QuestionRefused, Refused, Unavailable, Untrusted
from cordon.estimate.interval import REACH_95
from cordon.query.sql import parse_sql
from cordon.units import Rho
from cordon.workbench.answer import Answer
from cordon.workbench.drawing import Lines
from cordon.workbench.watch import delivery
from cordon.workbench.watch.account import Account, BudgetEnded, Found, Reserved, Settled
from cordon.workbench.watch.alert import Alert, change_alert, stopped_alert
from cordon.workbench.watch.change import Pair, findings, holm, most_rows, upper_tail
from cordon.workbench.watch.checks import natural_of
from cordon.workbench.watch.comparing import compared
from cordon.workbench.watch.drawing import Point, drawing_of
from cordon.workbench.watch.folder import ENTRY, WATCH, Folder
from cordon.workbench.watch.loop import AGAIN_SECONDS, until_due
from cordon.workbench.watch.own import charged
from cordon.workbench.watch.plan import share
from cordon.workbench.watch.saved import Natural, Saved, check_name, check_watchable
from cordon.workbench.watch.schedule import Every, named, next_slot, slot_of, year_before

WATCH_ID = "ab" * 32
NOW = int(datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp())


def saved(**changes) -> Saved:
    """A watch that asks at rho 1, twice at most, and has rho 5 a year."""
    fields = {
        "name": "stops", "created_at": NOW, "sql": "SELECT COUNT(*) FROM events", "question": WATCH_ID,
        "dataset": "events v1", "contract": WATCH_ID, "forces": ("kent",), "delta": "1/1000000000", "colluders": 1,
        "purpose": "research", "epsilon": "9", "nano_rho": 10**9, "attempts": 2, "budget_nano": 5 * 10**9,
        "every": "month", "against": "last", "natural": "poisson", "least_change": 0.0,
    }  # fmt: skip
    return Saved.model_validate(fields | changes)


# Schedule


@given(st.sampled_from(list(Every)), st.dates(date(1971, 1, 1), date(2200, 1, 1)))
def test_every_day_lies_in_one_slot_and_slots_follow_each_other(every, day):
    """A slot begins on or before each of its days, the next one after it, and nothing lies between."""
    now = int(datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC).timestamp())
    slot = slot_of(every, now)
    following = next_slot(every, slot)
    assert slot <= day < following
    last = following - timedelta(days=1)
    assert slot_of(every, int(datetime(last.year, last.month, last.day, tzinfo=UTC).timestamp())) == slot
    assert named(every, slot) != named(every, following)


@pytest.mark.parametrize("every", list(Every))
def test_no_calendar_year_touches_more_slots_than_are_paid_for(every):
    """Over a calendar's 28 years, the most slots in a year are exactly as many as false alerts are bounded by."""
    most = 0
    for year in range(2001, 2029):
        first = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        slot, count = slot_of(every, first), 1
        while next_slot(every, slot).year == year:
            slot, count = next_slot(every, slot), count + 1
        most = max(most, count)
    assert most == every.most_a_year


def test_the_year_before_of_a_leap_day_and_of_a_week():
    """There is a slot to compare with also where the calendar has no such day; weeks stay weeks."""
    assert year_before(Every.DAY, date(2028, 2, 29)) == date(2027, 2, 28)
    assert year_before(Every.WEEK, date(2026, 11, 23)).weekday() == 0
    assert year_before(Every.QUARTER, date(2026, 10, 1)) == date(2025, 10, 1)
    assert named(Every.QUARTER, date(2026, 10, 1)) == "2026-Q4"


def test_the_loop_sleeps_until_the_slot_begins():
    """Where nothing is due, until the first second of the next slot; where it is, for the stated while."""
    account = Account.of([reserved(1), settled(2, 1)])
    first = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert until_due(saved(), account, first - 90) == 90
    assert until_due(saved(), account, first) == AGAIN_SECONDS == until_due(saved(), Account(), first)


# Change


@pytest.mark.parametrize(("k", "sigma"), [(1, 1.0), (1, 8.0), (3, 2.5)])
def test_tails_are_those_of_the_exact_distribution(k, sigma):
    """A difference of two Poisson numbers of groups of k and a normal: within 5 %, down to chances of 1e-13."""
    for rows in (0.1, 1.0, 30.0, 300.0):
        for distance in np.array([2, 4, 6]) * np.sqrt(k * rows + sigma**2):
            groups = np.arange(-600, 601)
            exact = (skellam.pmf(groups, rows / 2 / k, rows / 2 / k) * norm.sf((distance - k * groups) / sigma)).sum()
            assert _tail(distance, rows, sigma, k) == pytest.approx(exact, rel=0.05, abs=1e-14)


def test_little_noise_beside_rows_that_come_together_gives_a_bound():
    """Where the distribution has steps, the tail is never below the exact one."""
    for rows in (0.1, 1.0, 30.0):
        for distance in np.array([2, 4, 6]) * np.sqrt(10 * rows + 1):
            groups = np.arange(-200, 201)
            exact = (skellam.pmf(groups, rows / 20, rows / 20) * norm.sf(distance - 10 * groups)).sum()
            assert _tail(distance, rows, 1.0, 10) >= min(exact, 0.499)


def _tail(distance, rows, sigma, k):
    return float(upper_tail(*(np.array([float(x)]) for x in (distance, rows, sigma**2, k)))[0])


def test_the_bound_on_the_rate_is_the_score_bound():
    """The noised sum lies just as many deviations below the bound as the tail says; below zero there is none."""
    bound = most_rows(np.array([100.0, -900.0]), np.array([64.0, 64.0]), np.array([3.0, 1.0]), 1e-4)
    assert (bound[0] - 100) / np.sqrt(3 * bound[0] + 64) == pytest.approx(norm.isf(1e-4))
    assert bound[1] == 0


def pair(before: float, now: float, *, sigma: float = 5.0, cluster: int | None = 1, key: str = "a") -> Pair:
    """One cell in two releases."""
    reach = REACH_95 * sigma
    first, second = (Estimate(value, value - reach, value + reach, value) for value in (before, now))
    return Pair((key,), "n", first, second, cluster)


def test_a_change_is_found_and_what_noise_or_chance_explains_is_not():
    """Of 1,000 rows, 400 more are found; 60 more are not, since as many come by chance; without chance they are."""
    (found,) = findings([pair(1000, 1400), pair(1000, 1060, key="b")], releases=12, least_change=0)
    assert (found.change, found.relative) == (400, 0.4)
    alone = findings([pair(1000, 1060, cluster=None)], releases=12, least_change=0)
    assert len(alone) == 1
    assert findings([pair(1000, 1015, cluster=None)], releases=12, least_change=0) == ()
    assert findings([], releases=12, least_change=0) == ()


def test_rows_of_one_person_vary_together():
    """A rise that is significant for single rows is not, where ten rows of one person can come at once."""
    assert findings([pair(1000, 1400)], releases=12, least_change=0)
    assert not findings([pair(1000, 1400, cluster=10)], releases=12, least_change=0)


def test_small_changes_are_left_out_where_that_is_asked():
    """With --least-change 50 % a rise by 40 % is none, one by 60 % is; from nothing any change is large."""
    pairs = [pair(1000, 1400), pair(1000, 1600, key="b"), pair(-2, 90, key="c")]
    assert {found.pair.keys for found in findings(pairs, releases=12, least_change=0.5)} == {("b",), ("c",)}


def test_holm_rejects_the_smallest_first_and_stops():
    """The second smallest of three is held to level / 2; what comes after a kept one is kept."""
    assert holm(np.array([0.3, 0.01, 0.02]), 0.05) == [1, 2]
    assert holm(np.array([0.02, 0.01, 0.03]), 0.05) == [1, 0, 2]
    assert holm(np.array([0.03, 0.04, 0.03]), 0.05) == []


# What can be watched, and compared


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("AVG(loss) FROM persons", "is none"),
        ("SUM(loss) / COUNT(*) FROM persons", "is none"),
        ("MEDIAN(loss) FROM persons", "is none"),
        ("role, COUNT(*) FROM persons GROUP BY ROLLUP (role)", "one table"),
        ("role, COUNT(*) FROM persons GROUP BY role HAVING COUNT(*) > 3", "HAVING"),
        ("role, COUNT(*) AS n FROM persons GROUP BY role ORDER BY n LIMIT 3", "LIMIT"),
    ],
)
def test_what_could_not_be_compared_cell_by_cell_is_refused(columns, words):
    """A watch takes counts and sums of one table, all of its cells."""
    statement = parse_sql(f"SELECT {columns}", {"persons": person_contract()}, ["kent"])
    with pytest.raises(QuestionRefused, match=words):
        check_watchable(statement)
    check_watchable(
        parse_sql(
            "SELECT COUNT(*), SUM(loss), COUNT(*) - COUNT_IF(role = 'victim') FROM persons",
            {"persons": person_contract()},
            ["kent"],
        )
    )


def answer(rows: dict[str, float], forces: tuple[str, ...], key: str = "colour", last: str = "2025-12") -> Answer:
    """An answer of one count."""
    return Answer(
        {
            "columns": [{"name": key, "measure": False}, {"name": "n", "measure": True}],
            "rows": [
                {"keys": [name], "note": "", "values": [{"estimate": n, "low": n - 9, "high": n + 9, "raw": n}]}
                for name, n in rows.items()
            ],
            "answered": list(forces),
            "vintages": {force: {"first_month": "2025-01", "last_month": last} for force in forces},
        }
    )


def test_totals_of_other_forces_are_not_compared_and_lines_of_forces_are():
    """A force that joins the answer changes every total by itself; its own line alone is left out."""
    both, one = ("essex", "kent"), ("kent",)
    contract = row_contract()
    total = parse_sql("SELECT colour, COUNT(*) AS n FROM events GROUP BY colour", {"events": contract}, [*both, "avon"])
    found = compared(answer({"Red": 10}, one), answer({"Red": 20}, both), total, contract, saved())
    assert found.pairs == ()
    assert "essex only now" in found.notes[0]
    assert compared(answer({"Red": 10}, one), answer({"Red": 20}, one), total, contract, saved()).pairs
    lines = parse_sql("SELECT force, COUNT(*) AS n FROM events GROUP BY force", {"events": contract}, [*both, "avon"])
    before, now = answer({"kent": 10}, one, "force"), answer({"essex": 9, "kent": 20}, both, "force")
    found = compared(before, now, lines, contract, saved())
    assert [(p.keys, p.cluster) for p in found.pairs] == [(("kent",), 1)]


def test_other_months_are_not_compared_and_a_persons_rows_vary_together():
    """Counts over more months are larger for that alone: none is compared, and why; k rows of a person are a cluster."""
    contract = person_contract()
    sql = "SELECT role, COUNT(*), COUNT(DISTINCT person) FROM persons GROUP BY role"
    statement = parse_sql(sql, {"persons": contract}, ["kent"])
    one = answer({"Suspect": 10}, ("kent",), "role")
    document = json.loads(json.dumps(one.document))
    document["columns"].append({"name": "p", "measure": True})
    document["rows"][0]["values"] *= 2
    later = json.loads(json.dumps(document))
    later["vintages"]["kent"]["last_month"] = "2026-01"
    found = compared(Answer(document), Answer(later), statement, contract, saved())
    assert found.pairs == ()
    same = compared(Answer(document), Answer(document), statement, contract, saved())
    assert [p.cluster for p in same.pairs] == [3, 1]
    assert "2025-01 to 2026-01 now" in found.notes[0]
    assert saved(times=4.0).times == 4
    assert [
        p.cluster for p in compared(Answer(document), Answer(document), statement, contract, saved(times=4.0)).pairs
    ] == [12, 4]
    found = compared(Answer(document), Answer(document), statement, contract, saved(natural="none"))
    assert ([p.cluster for p in found.pairs], found.notes) == ([None, None], ())


@pytest.mark.parametrize(
    ("sql", "keys", "kept"),
    [
        ("SELECT COUNT(*) AS n FROM persons", [[]], 0),
        ("SELECT COUNT(*) AS n FROM persons WHERE day BETWEEN '2025-02-01' AND '2025-11-30'", [[]], 1),
        ("SELECT COUNT(*) AS n FROM persons WHERE day >= '2025-02-01'", [[]], 0),
        ("SELECT MONTH(day) AS m, COUNT(*) AS n FROM persons GROUP BY m", [["2025-12"], ["2026-01"]], 1),
        ("SELECT YEAR(day) AS y, COUNT(*) AS n FROM persons GROUP BY y", [["2025"], ["2026"]], 1),
        ("SELECT force, COUNT(*) AS n FROM persons GROUP BY force", [["essex"], ["kent"]], 1),
    ],
)
def test_a_table_that_grows_is_compared_over_the_same_months_only(sql, keys, kept):
    """Kent's records have a month more than before, Essex's not: what can have grown for that alone is left out."""
    before, now = (answer({"x": 10}, ("essex", "kent"), last=last).document for last in ("2025-12", "2026-01"))
    now["vintages"]["essex"] = before["vintages"]["essex"]
    columns = [{"name": f"k{at}", "measure": False} for at in range(len(keys[0]))]
    for document in (before, now):
        document["columns"] = [*columns, document["columns"][1]]
        document["rows"] = [document["rows"][0] | {"keys": key} for key in keys]
    contract = person_contract()
    found = compared(
        Answer(before), Answer(now), parse_sql(sql, {"persons": contract}, ["essex", "kent"]), contract, saved()
    )
    assert len(found.pairs) == kept
    assert bool(found.notes) == (kept < len(keys))


def test_records_that_vary_more_are_allowed_for_where_that_is_said():
    """A rise beyond what independent records vary by is none where four times as much was allowed for."""
    assert natural_of("4") == (Natural.POISSON, 4.0)
    assert natural_of("none") == (Natural.NONE, 1.0)
    for text in ("0.5", "much", "nan", "1001"):
        with pytest.raises(QuestionRefused):
            natural_of(text)
    assert findings([pair(1000, 1250)], releases=12, least_change=0)
    assert not findings([pair(1000, 1250, cluster=4.0)], releases=12, least_change=0)


# The account


@pytest.mark.parametrize(
    ("told", "attempts"),
    [
        ({"attempts_charged": 2, "attempt": 2}, 2), ({"attempts_charged": 1, "attempt": 2}, 2), ({}, 3),
        ({"attempts_charged": -7, "attempt": 0}, 1), ({"attempts_charged": 0, "attempt": True}, 3),
        ({"attempts_charged": 9, "attempt": 1}, 3), ({"attempts_charged": "1", "attempt": 1}, 3), (None, 3),
    ],
)  # fmt: skip
def test_what_a_file_says_of_attempts_is_bounded_by_what_was_signed(told, attempts):
    """At least the attempt that was answered, at least one, at most all; all where the file does not say it."""
    query = SimpleNamespace(terms=SimpleNamespace(rho=Rho(5), attempts=3))
    assert charged(query, None if told is None else Answer(told)) == 5 * attempts


def reserved(number: int, *, slot: str = "2026-11-01", period: int = 2026, nano: int = 2 * 10**9) -> Reserved:
    """A release is about to be asked."""
    return Reserved(
        watch=WATCH_ID, number=number, previous=WATCH_ID, at=NOW, slot=slot, period=period, nano=nano, declared={}
    )


def settled(number: int, release: int, *, nano: int = 10**9, query: str | None = "cd" * 32) -> Settled:
    """It was asked."""
    return Settled(
        watch=WATCH_ID, number=number, previous=WATCH_ID, at=NOW, release=release, query=query, nano=nano,
        answered=query is not None,
    )  # fmt: skip


def test_what_is_reserved_counts_until_less_is_known():
    """A release counts with all its attempts before it is settled, and with those that were charged after."""
    assert Account.of([reserved(1)]).spent(2026) == Rho(2 * 10**9)
    account = Account.of([reserved(1), settled(2, 1)])
    assert (account.spent(2026), account.spent(2027), account.open) == (Rho(10**9), Rho(0), None)
    stray = Found(watch=WATCH_ID, number=3, previous=WATCH_ID, at=NOW, query="ef" * 32, period=2026, nano=7)
    assert Account.of([reserved(1), settled(2, 1), stray]).spent(2026) == Rho(10**9 + 7)


@given(st.lists(st.sampled_from(["answered", "half", "lost", "nothing", "open"]), max_size=12))
def test_no_sequence_of_releases_writes_down_more_than_the_budget(fates):
    """Whatever becomes of each release, one is begun only where the budget covers all of its attempts."""
    watch, entries = saved(), []
    for fate in fates:
        account = Account.of(entries)
        try:
            account.check_room(watch, 2026)
        except BudgetEnded:
            assert account.spent(2026).nano + watch.most.nano > watch.budget.nano
            break
        begun = len(entries) + 1
        entries.append(reserved(begun))
        assert Account.of(entries).spent(2026).nano <= watch.budget.nano
        nano = {"answered": 2 * 10**9, "half": 10**9, "lost": 2 * 10**9, "nothing": 0}.get(fate)
        if nano is not None:
            query = f"{begun:064x}" if fate in ("answered", "half") else None
            entries.append(settled(begun + 1, begun, nano=nano, query=query))
    assert Account.of(entries).spent(2026).nano <= watch.budget.nano


def test_a_settlement_of_nothing_is_refused():
    """An account whose entries contradict each other says nothing."""
    with pytest.raises(Refused, match="not there"):
        Account.of([settled(1, 7)])


def test_a_slot_is_used_up_by_a_query_and_not_by_a_crash_before_it():
    """Where nothing was sent the slot is still due; where something was, it is not, whatever came of it."""
    assert Account.of([reserved(1), settled(2, 1, query=None)]).newest_slot is None
    assert Account.of([reserved(1), settled(2, 1)]).newest_slot == date(2026, 11, 1)


def test_a_release_is_compared_with_the_last_one_or_with_the_year_before():
    """Releases without an answer are passed over; where the year before has none, nothing is compared."""
    entries = []
    for slot in ("2025-11-01", "2026-10-01", "2026-11-01"):
        begun = len(entries) + 1
        entries += [reserved(begun, slot=slot), settled(begun + 1, begun, query=f"{begun:064x}")]
    entries.insert(4, reserved(7, slot="2026-10-15"))
    account = Account.of(entries)
    first, last, newest = account.answered
    year = saved(against="year-before")
    assert (account.earlier(newest, saved()), account.earlier(newest, year)) == (last, first)
    assert (account.earlier(last, year), account.earlier(first, saved())) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"budget_nano": 0}, {"budget_nano": "9"}, {"attempts": 0}, {"name": "../x"}, {"every": "hour"}, {"more": 1},
        {"sql": "SELECT \x1b[2J"}, {"version": 2}, {"question": "ab"}, {"secret_env": "A B"}, {"least_change": -1.0},
    ],
)  # fmt: skip
def test_a_saved_question_of_another_form_is_refused(change):
    """A file that was not written here is not read as a watch."""
    with pytest.raises(ValidationError):
        saved(**change)


@pytest.mark.parametrize("name", ["", "A", "../up", "a/b", "-x", "a" * 41, "a\n"])
def test_a_name_that_could_leave_its_folder_is_refused(name):
    """Names are folders."""
    with pytest.raises(Refused):
        check_name(name)


def test_shares_are_exact_or_refused():
    """A percentage or a share; nothing below zero and no words."""
    assert (share("10%"), share("0.1"), share("0")) == (0.1, 0.1, 0.0)
    for text in ("-5%", "much", "nan", "200000%"):
        with pytest.raises(QuestionRefused):
            share(text)


# Files


@pytest.fixture
def key():
    """The analyst's."""
    return Ed25519PrivateKey.generate()


@pytest.fixture
def made(tmp_path, key):
    """A watch's folder, and how a process opens it."""
    path = tmp_path / "stops"
    for folder in (path, path / "entries", path / "alerts"):
        folder.mkdir(mode=0o700)
    signer = KeySigner(key)
    (path / "watch.json").write_text(to_json(seal(WATCH, saved().model_dump_json().encode(), signer)))
    return lambda: Folder(path, signer, {signer.key_id: key.public_key()})


def filled(made) -> Folder:
    """Two releases are written down."""
    folder = made()
    folder.account()
    for slot in ("2026-10-01", "2026-11-01"):
        account = folder.write(Reserved, at=NOW, slot=slot, period=2026, nano=2 * 10**9, declared={})
        number = account.releases[-1].number
        folder.write(Settled, at=NOW, release=number, query=f"{number:064x}", nano=10**9, answered=True)
    return folder


def test_what_is_written_is_read_again(made):
    """A new process adds up what the one before has written."""
    filled(made)
    account = made().account()
    assert (account.spent(2026), account.entries, len(account.answered)) == (Rho(2 * 10**9), 4, 2)


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_file_that_was_cut_off_is_refused(made, kept):
    """Half an entry is never read as a smaller sum."""
    path = filled(made).path / "entries" / "000003.json"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises((Misconfigured, Untrusted)):
        made().account()


@pytest.mark.parametrize("taken", ["000001.json", "000002.json", "000003.json"])
def test_an_entry_that_was_taken_away_is_missed(made, taken):
    """Entries are chained: only the end can go without a trace here, and attacks/test_watch.py shows who misses that."""
    (filled(made).path / "entries" / taken).unlink()
    with pytest.raises(Untrusted):
        made().account()


def test_entries_cannot_be_renamed_repeated_or_brought_from_another_watch(made, key):
    """What stands in a file's place must be what was written there."""
    folder = filled(made)
    entries = folder.path / "entries"
    (entries / "000005.json").write_bytes((entries / "000002.json").read_bytes())
    with pytest.raises(Untrusted, match="does not follow"):
        made().account()
    (entries / "000005.json").unlink()
    stranger = Settled(
        watch="ef" * 32, number=5, previous=folder._last.hex(), at=NOW, release=1, query=None, nano=0, answered=False
    )
    text = to_json(seal(ENTRY, stranger.model_dump_json().encode(), KeySigner(key)))
    (entries / "000005.json").write_text(text)
    with pytest.raises(Untrusted, match="does not follow"):
        made().account()


def test_a_signed_file_of_another_kind_is_no_entry(made, key):
    """A saved question that lies among the entries does not verify as one."""
    folder = filled(made)
    (folder.path / "entries" / "000005.json").write_bytes((folder.path / "watch.json").read_bytes())
    with pytest.raises(Untrusted):
        made().account()
    (folder.path / "entries" / "000005.json").write_text(to_json(seal(ENTRY, b'{"kind": 3}', KeySigner(key))))
    with pytest.raises(Misconfigured):
        made().account()


def test_a_second_run_is_refused_while_one_holds_the_watch(made):
    """Two runs would both spend; the second asks nothing."""
    with made().locked(), pytest.raises(Refused, match="another process"), made().locked():
        pass
    with made().locked():
        pass


def test_a_process_that_missed_an_entry_cannot_write_over_it(made):
    """Also where a file system has no locks: the number is taken, and the second process stops."""
    first, second = made(), made()
    first.account(), second.account()
    first.write(Reserved, at=NOW, slot="2026-11-01", period=2026, nano=1, declared={})
    with pytest.raises(Misconfigured, match="exists already"):
        second.write(Reserved, at=NOW, slot="2026-11-01", period=2026, nano=1, declared={})


def test_a_folder_that_others_can_read_is_refused(made):
    """What somebody watches is theirs to know."""
    made().path.chmod(0o755)
    with pytest.raises(Misconfigured, match="open to others"):
        made()


# Alerts


def alert(about: str = "2026", at: int = NOW) -> Alert:
    """An alert."""
    return stopped_alert(saved(), SimpleNamespace(hex=lambda: WATCH_ID), "budget", about, f"it stopped: {about}", at)  # type: ignore[arg-type]


def test_alerts_are_appended_whole_and_once(made, tmp_path):
    """Each is a line of JSON; what a crash has cut off swallows nothing; a second run appends nothing."""
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"half": ')
    folder = made()
    folder.saved = saved(alert_file=str(path))
    folder.post(alert("1", NOW))
    folder.post(alert("2", NOW + 1))
    for _ in range(2):
        assert delivery.deliver(folder, lambda _: None) == 0
    lines = path.read_text().splitlines()
    assert lines[0] == '{"half": '
    assert [json.loads(line)["text"] for line in lines[1:]] == ["it stopped: 1", "it stopped: 2"]
    assert json.loads(lines[1])["id"] == alert("1").id


def test_a_kill_between_sending_and_remembering_sends_again_under_the_same_id(made, tmp_path, monkeypatch):
    """At least once: whoever receives it twice can tell by its id."""
    path = tmp_path / "alerts.jsonl"
    folder = made()
    folder.saved = saved(alert_file=str(path))
    folder.post(alert())

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(folder, "delivered", killed)
        with pytest.raises(KeyboardInterrupt):
            delivery.deliver(folder, lambda _: None)
    assert delivery.deliver(folder, lambda _: None) == 0
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [alert().id] * 2


def test_an_alert_that_was_changed_is_not_sent(made):
    """Whoever can write in the outbox and has no key cannot have anything sent."""
    folder = made()
    folder.post(alert())
    path = folder.path / "alerts" / f"{alert().id}.json"
    path.write_text(path.read_text().replace('"payload": "e', '"payload": "f'))
    other = alert("another", NOW + 1)
    folder.post(other)
    (folder.path / "alerts" / f"{'0' * 64}.json").write_bytes(b"\xff\xfe")
    good, damaged = folder.outbox()
    assert good == folder.alerts() == [other]
    assert [alert().id in text or "0" * 64 in text for text in damaged] == [True, True]


def test_a_write_that_takes_some_bytes_only_is_gone_on_with_or_kept(made, tmp_path, monkeypatch):
    """No alert counts as delivered whose line is cut off: a full disk keeps it, and the next run sends it whole."""
    folder, path, write = made(), tmp_path / "alerts.jsonl", os.write
    folder.saved = saved(alert_file=str(path))
    folder.post(alert())
    room = [40]

    def filling(handle, content):
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space is left")
        taken = write(handle, bytes(content[: min(room[0], 7)]))
        room[0] -= taken
        return taken

    monkeypatch.setattr(delivery.os, "write", filling)
    said = []
    assert delivery.deliver(folder, said.append) == 1
    assert "no space is left" in said[0]
    room[0] = 10**6
    assert delivery.deliver(folder, said.append) == 0
    cut, whole = path.read_text().splitlines()
    assert (len(cut), json.loads(whole)["id"]) == (40, alert().id)


@pytest.mark.parametrize(
    "sent", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b""], ids=["headers", "interim", "nothing"]
)
def test_a_webhook_that_never_comes_to_an_end_is_cut_off(sent, monkeypatch):
    """Headers by drops, interim answers without end, silence: the run goes on after one deadline for all tries."""
    monkeypatch.setattr(delivery, "SECONDS", 0.3)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            taken, _ = server.accept()
            with taken, suppress(OSError):
                taken.sendall(sent)
                while not stop.wait(0.02):
                    taken.sendall(b"X: y\r\n" if sent.startswith(b"HTTP/1.1 200") else sent)

        threading.Thread(target=drip, daemon=True).start()
        watch = saved(webhook=f"http://127.0.0.1:{server.getsockname()[1]}/")
        began = time.monotonic()
        # Whoever has said that it was taken has taken it, whatever else is still to be said.
        with nullcontext() if b"200" in sent else pytest.raises(Unavailable, match="did not take it"):
            delivery.post(watch, alert(), environment={}, sleep=lambda _: None)
        assert time.monotonic() - began < 2
        stop.set()


class Hook(BaseHTTPRequestHandler):
    """A webhook that answers as it is told, and remembers."""

    statuses: ClassVar[list[int]] = []
    seen: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        """Take one."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers), body))
        status = self.statuses.pop(0) if self.statuses else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def webhook(*statuses: int):
    """A web server on this machine."""
    Hook.statuses, Hook.seen = list(statuses), []
    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook?token=hidden"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_webhook_gets_the_alert_signed_and_only_once(made):
    """The body's HMAC verifies under the secret; a run after one that was taken sends nothing."""
    secret = "a secret of many bytes"
    with webhook() as url:
        folder = made()
        folder.saved = saved(webhook=url, secret_env="HOOK")
        folder.post(alert())
        for _ in range(2):
            assert delivery.deliver(folder, lambda _: None, environment={"HOOK": secret}) == 0
        ((_, headers, body),) = Hook.seen
    assert headers["Cordon-Signature"] == "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert headers["Cordon-Alert"] == json.loads(body)["id"] == alert().id


def test_a_webhook_that_fails_never_loses_an_alert_and_keeps_their_order(made):
    """Three failures end a run's tries, with waits between; the next run sends the same id, then the alert after it."""
    said, waits = [], []
    with webhook(500, 503, 500, 200) as url:
        folder = made()
        folder.saved = saved(webhook=url)
        folder.post(alert("1", NOW))
        folder.post(alert("2", NOW + 1))
        assert delivery.deliver(folder, said.append, sleep=waits.append) == 1
        assert waits == list(delivery.WAITS)
        assert "status 500" in said[0]
        assert "hidden" not in said[0]
        assert delivery.deliver(folder, said.append, sleep=waits.append) == 0
        ids = [headers["Cordon-Alert"] for _, headers, _ in Hook.seen]
    assert ids == [alert("1").id] * 4 + [alert("2").id]


def test_a_webhook_that_points_elsewhere_is_not_followed(made):
    """A redirect is a failure: nothing goes where a server says."""
    for status in (301, 302, 307, 308):
        with webhook(*[status] * 3) as url:
            watch = saved(webhook=url)
            with pytest.raises(Unavailable, match="points elsewhere"):
                delivery.post(watch, alert(), environment={}, sleep=lambda _: None)
            assert {path.split("?")[0] for path, _, _ in Hook.seen} == {"/hook"}


def test_nobody_at_the_webhook_is_unavailable():
    """A closed port is said to be one."""
    with pytest.raises(Unavailable, match="did not take it"):
        delivery.post(saved(webhook="http://127.0.0.1:9/"), alert(), environment={}, sleep=lambda _: None)


@pytest.mark.parametrize(
    "url",
    [
        "http://alerts.example.org/", "ftp://example.org/", "file:///etc/passwd", "https://", "https://user:pw@example.org/",
        "nonsense", "https://example.org/a b", "https://example.org:99999/", "https://exämple.org/", "http://127.0.0.1.example.org/",
    ],
)  # fmt: skip
def test_addresses_that_alerts_must_not_go_to_are_refused(url):
    """Beyond this machine everything is encrypted, and no password stands in an address."""
    with pytest.raises(Refused):
        delivery.check_webhook(url)


def test_addresses_that_alerts_may_go_to():
    """Encrypted ones, and this machine's."""
    for url in ("https://alerts.example.org:8443/cordon?x=1", "http://localhost:8000/", "http://[::1]:80/"):
        assert delivery.check_webhook(url) == url


def test_a_secret_is_the_owners_and_long_enough(tmp_path):
    """One that others can read, that is short, or that is not there is refused; its value is never in the message."""
    path = tmp_path / "secret"
    watch = saved(secret_file=str(path))
    with pytest.raises(Misconfigured, match="cannot read"):
        delivery.secret_of(watch, {})
    path.write_text("short\n")
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="less than 16") as error:
        delivery.secret_of(watch, {})
    assert "short" not in str(error.value)
    path.write_text("sixteen bytes or more\n")
    assert delivery.secret_of(watch, {}) == b"sixteen bytes or more"
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="open to others"):
        delivery.secret_of(watch, {})
    with pytest.raises(Misconfigured, match="HOOK"):
        delivery.secret_of(saved(secret_env="HOOK"), {})


def test_the_contract_that_clusters_are_read_from_is_the_examples():
    """The example's persons have three rows at most, as the test above counts on."""
    assert Contract.from_toml(PERSON_CONTRACT).unit.max_rows_per_unit == 3


# Pictures


def point(slot: str, rows: dict[str, float], query: str, forces: tuple[str, ...] = ("kent",)) -> Point:
    """One release."""
    document = dict(answer(rows, forces).document) | {
        "query": query, "protected_unit": "one row", "declined": [], "did_not_answer": [], "lost": [],
        "opened_at": "2026-11-28T00:00:00+00:00", "dataset": "events v1", "caveat": "a row is not a person",
    }  # fmt: skip
    return Point(slot, Answer(document))


def test_a_picture_has_every_release_its_interval_and_its_alerts():
    """One line a cell, one place a slot; a cell that a release lacks is absent there and no zero."""
    points = [point("2026-10", {"Red": 50}, "aa" * 32), point("2026-11", {"Red": 90, "Blue": 5}, "bb" * 32)]
    (found,) = findings([pair(50, 90, key="Red", sigma=1)], releases=12, least_change=0)
    raised = change_alert(
        saved(), SimpleNamespace(hex=lambda: WATCH_ID),  # type: ignore[arg-type]
        (points[0].answer, points[1].answer), [found], slots=("2026-10", "2026-11"), at=NOW, notes=(),
    )  # fmt: skip
    drawn = drawing_of(saved(), points, [raised], "spent little")
    assert isinstance(drawn, Lines)
    red, blue = drawn.series
    assert [(mark.label, mark.estimate, mark.low) for mark in red.marks] == [("2026-10", 50, 41), ("2026-11", 90, 81)]
    assert blue.marks[0].is_absent
    assert blue.marks[1].noisy
    assert [(c.series, c.label, c.words) for c in drawn.changes] == [("Red", "2026-11", "+40")]
    assert drawn.captions.title == saved().sql
    assert "data set events v1; protected unit: one row (a row is not a person)" in drawn.captions.lines
    with pytest.raises(Refused, match="no release"):
        drawing_of(saved(), [], [], "")
