"""A watch's account, and its files as strangers might leave them."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from savedwatches import NOW, WATCH_ID, folder_in, reserved, saved, settled

from cordon.envelope import KeySigner, seal, to_json
from cordon.errors import Misconfigured, QuestionRefused, Refused, Untrusted
from cordon.units import Rho
from cordon.workbench.answer import Answer
from cordon.workbench.watch.account import Account, BudgetEnded, Found, Reserved, Settled
from cordon.workbench.watch.folder import ENTRY, Folder
from cordon.workbench.watch.own import charged
from cordon.workbench.watch.plan import share
from cordon.workbench.watch.saved import check_name

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
    return folder_in(tmp_path / "stops", key)


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
