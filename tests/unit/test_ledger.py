"""The ledger: what is left of a budget, that it is charged once, and that what was charged stays charged."""

import hashlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cordon.envelope import QUERY, KeySigner, seal
from cordon.errors import Declined, Misconfigured
from cordon.register.checkpoint import SignedCheckpoint
from cordon.register.leaf import NO_DIGEST, Checkpoint, DeclineCode, Receipt
from cordon.register.spending import Limits, Spender
from cordon.units import Digest, Rho
from cordon.wire import codec
from cordon.wire.signed import sign
from node import ledgerfile
from node.ledger import Ledger
from node.ledgerfile import create_ledger

SIGNER = KeySigner(Ed25519PrivateKey.generate())
NOW = 1_800_000_000


def limits_of(period, lifetime, **others):
    """Limits without any beside the two, or with those that are named; in nano-rho."""
    rest = dict.fromkeys(("analyst", "purpose", "query", "failed"), period) | others
    return Limits(Rho(period), Rho(lifetime), **{name: Rho(nano) for name, nano in rest.items()})


LIMITS = limits_of(100, 250)
DOMAIN = "records"


def query(number):
    """The hash of some query."""
    return Digest(number.to_bytes(32, "little"))


@pytest.fixture
def path(tmp_path):
    """An empty ledger's file."""
    create_ledger(tmp_path / "ledger.sqlite", force="kent", now=NOW)
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    """An open, empty ledger."""
    opened = Ledger(path, force="kent")
    yield opened
    opened.close()


def left(ledger, *, domain=DOMAIN, period=1, now=NOW, limits=LIMITS):
    """What is left, in nano-rho."""
    return ledger.room(spender(query(99), domain), limits, period, now).left.nano


def spender(query_hash, domain=DOMAIN, analyst=8, purpose="research"):
    """Whoever asks, unless a test says otherwise."""
    return Spender(domain, query(analyst), purpose, query_hash)


def checkpoint(size, time=NOW):
    """A checkpoint whose signatures were verified."""
    return SignedCheckpoint(Checkpoint(size, query(size)), time, b"note")


def spent(ledger, domain=DOMAIN):
    """(newest period, spent in it, spent ever), in nano-rho."""
    spending = ledger.spending
    period = spending.period(domain)
    return period, spending.in_period(domain, period).nano, spending.lifetime(domain).nano


def reserve(ledger, number, rho, *, attempt=1, until=NOW + 60, now=NOW, period=1, domain=DOMAIN, limits=LIMITS):
    """Reserve for an attempt."""
    ledger.reserve(
        query(number),
        attempt,
        spender=spender(query(number), domain),
        rho=Rho(rho),
        limits=limits,
        period=period,
        until=until,
        now=now,
    )


def commit(
    ledger, number, rho, *, attempt=1, period=1, now=NOW, domain=DOMAIN, chunks=(b"one", b"two"), limits=LIMITS,
    analyst=8, purpose="research", check=lambda: None,
):  # fmt: skip
    """Charge an attempt and keep its bytes."""

    def make_receipt(position):
        receipt = Receipt(
            force="kent", query_hash=query(number), attempt=attempt, transcript_hash=query(7), analyst_key_id=query(analyst),
            purpose=purpose, domain=domain, period=position.period, rho=Rho(rho), period_sum=position.period_sum,
            lifetime_sum=position.lifetime_sum, number=position.number, previous=position.previous,
            ciphertext_hash=query(9), plan=query(10), checkpoint=Checkpoint(),
        )  # fmt: skip
        return sign(receipt, SIGNER), receipt

    return ledger.commit(
        query(number), attempt, spender=spender(query(number), domain, analyst, purpose), rho=Rho(rho), limits=limits,
        period=period, transcript_hash=query(7), ciphertexts=list(chunks), expires=NOW + 1000, now=now,
        make_receipt=make_receipt, check=check, others=("essex", "surrey"),
    )  # fmt: skip


def envelope_hash(envelope):
    """What the next receipt names."""
    return Digest(hashlib.sha256(envelope.payload).digest())


def receipt_of(contribution):
    """The receipt in a contribution."""
    return codec.decode(Receipt, contribution.receipt.payload)


# Arithmetic


def test_reservations_and_charges_come_off_once(ledger):
    """A reservation is held, its commit turns it into a charge, and only what was charged is spent."""
    assert left(ledger) == 100
    reserve(ledger, 1, 30)
    assert left(ledger) == 70
    commit(ledger, 1, 30)
    assert left(ledger) == 70
    assert spent(ledger) == (1, 30, 30)


def test_reserving_again_replaces_what_was_held(ledger):
    """The same attempt holds one reservation, however often it is made ready; another attempt holds its own."""
    reserve(ledger, 1, 30)
    reserve(ledger, 1, 40)
    assert left(ledger) == 60
    reserve(ledger, 1, 40, attempt=2)
    assert left(ledger) == 20


def test_exactly_what_is_left_can_be_reserved_and_no_nano_more(ledger):
    """The limit is inclusive; a refused reservation holds nothing."""
    reserve(ledger, 1, 60)
    with pytest.raises(Declined) as declined:
        reserve(ledger, 2, 41)
    assert declined.value.code == DeclineCode.BUDGET.words
    assert left(ledger) == 40
    reserve(ledger, 2, 40)
    assert left(ledger) == 0


def test_a_refused_renewal_drops_what_was_held(ledger):
    """Renewing with more than is left is declined, and the attempt holds nothing then."""
    reserve(ledger, 1, 60)
    with pytest.raises(Declined):
        reserve(ledger, 1, 101)
    assert left(ledger) == 100


def test_reservations_lapse(ledger):
    """At the time that it was made until, a reservation holds nothing more, and before it holds all."""
    reserve(ledger, 1, 30, until=NOW + 60)
    assert left(ledger, now=NOW + 59) == 70
    assert left(ledger, now=NOW + 60) == 100


def test_releasing_a_query_frees_each_of_its_attempts_only(ledger):
    """What other queries hold stays held."""
    reserve(ledger, 1, 10)
    reserve(ledger, 1, 10, attempt=2)
    reserve(ledger, 2, 5)
    ledger.release(query(1))
    assert left(ledger) == 95


def test_domains_have_budgets_of_their_own(ledger):
    """Neither charge nor reservation of one domain comes off another."""
    commit(ledger, 1, 60)
    reserve(ledger, 2, 30)
    assert left(ledger) == 10
    assert left(ledger, domain="other") == 100
    assert spent(ledger, "other") == (0, 0, 0)


def test_a_new_period_renews_the_budget_until_the_lifetime_is_used_up(ledger):
    """Each period allows 100, all of them together 250."""
    for period in (1, 2):
        commit(ledger, period, 100, period=period)
        assert left(ledger, period=period) == 0
    assert left(ledger, period=3) == 50
    with pytest.raises(Declined) as declined:
        commit(ledger, 3, 51, period=3)
    assert declined.value.code == DeclineCode.BUDGET.words
    commit(ledger, 3, 50, period=3)
    assert left(ledger, period=4) == 0
    assert spent(ledger) == (3, 50, 250)


def test_a_period_never_goes_back(ledger):
    """A clock that was set back does not reopen a period that was used up, and charges the newest."""
    commit(ledger, 1, 100, period=5)
    assert left(ledger, period=4) == 0
    assert left(ledger, period=6) == 100
    with pytest.raises(Declined):
        commit(ledger, 2, 1, period=4)
    commit(ledger, 2, 10, period=6)
    assert receipt_of(commit(ledger, 3, 10, period=5)).period == 6
    assert spent(ledger) == (6, 20, 120)


def test_lowered_limits_leave_nothing_rather_than_less(ledger):
    """An officer lowers the budget below what is spent: nothing is left, and nothing is owed."""
    commit(ledger, 1, 80)
    assert left(ledger, limits=limits_of(50, 250)) == 0


@pytest.mark.parametrize(
    ("limit", "words"), [("analyst", "one analyst"), ("purpose", "one purpose"), ("query", "one query")]
)
def test_sub_limits_bind_their_own_spender_only(ledger, limit, words):
    """Who has spent an analyst's, purpose's or query's share is declined by name; another still has room."""
    tight = limits_of(100, 250, **{limit: 30})
    commit(ledger, 1, 25, limits=tight)
    with pytest.raises(Declined, match=words):
        commit(ledger, 1, 10, attempt=2, limits=tight)
    with pytest.raises(Declined, match=words):
        reserve(ledger, 1, 10, attempt=2, limits=tight)
    commit(ledger, 2, 10, limits=tight, analyst=9, purpose="strategic_assessment")
    assert spent(ledger) == (1, 35, 35)


def test_reservations_count_under_every_limit(ledger):
    """Two open queries of one analyst cannot together pass what the analyst may spend."""
    tight = limits_of(100, 250, analyst=30)
    reserve(ledger, 1, 20, limits=tight)
    with pytest.raises(Declined, match="one analyst"):
        reserve(ledger, 2, 20, limits=tight)
    ledger.release(query(1))
    reserve(ledger, 2, 20, limits=tight)


def test_a_period_begins_only_when_clock_and_register_agree(ledger):
    """A clock that jumped ahead stays in the period before, and cannot begin the first one."""
    with pytest.raises(Declined, match="do not agree"):
        ledger.period(DOMAIN, 2030, agreed=False)
    commit(ledger, 1, 10, period=ledger.period(DOMAIN, 2026, agreed=True))
    assert ledger.period(DOMAIN, 2030, agreed=False) == 2026
    assert ledger.period(DOMAIN, 2020, agreed=True) == 2026
    assert ledger.period(DOMAIN, 2027, agreed=True) == 2027


def test_failures_are_counted_once_and_survive_a_restart(ledger, path):
    """A failed attempt that was charged counts as failed, with who was missing; one that was not charged does not."""
    commit(ledger, 1, 10)
    ledger.record_failure(query(1), 1, ("essex", "stranger"), NOW)
    ledger.record_failure(query(1), 1, (), NOW)
    ledger.record_failure(query(2), 1, ("surrey",), NOW)
    assert ledger.spending.failed(DOMAIN, 1) == Rho(10)
    assert ledger.failing(1) == {"essex"}
    ledger.close()
    again = Ledger(path, force="kent")
    assert (again.spending.failed(DOMAIN, 1), again.failing(1)) == (Rho(10), {"essex"})
    again.close()


def test_nothing_is_committed_once_a_check_says_no(ledger):
    """What is checked inside the transaction, such as a pause, stops the charge."""

    def paused():
        raise Declined(DeclineCode.PAUSED.words, "paused")

    with pytest.raises(Declined, match="paused"):
        commit(ledger, 1, 10, check=paused)
    assert (spent(ledger), ledger.sequence) == ((0, 0, 0), 0)


def test_a_ledger_of_the_first_version_is_upgraded_by_its_writer_only(tmp_path):
    """Charges of an older file count after the upgrade; a reader asks for the writer first."""
    old = tmp_path / "old.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledgerfile, "MIGRATIONS", ledgerfile.MIGRATIONS[:1])
        create_ledger(old, force="kent", now=NOW)
    with pytest.raises(Misconfigured, match="older version"):
        Ledger(old, force="kent", read_only=True)
    upgraded = Ledger(old, force="kent")
    commit(upgraded, 1, 10)
    upgraded.close()
    Ledger(old, force="kent", read_only=True).close()


def test_the_outbox_keeps_what_is_not_proven(ledger, path):
    """A receipt leaves the outbox by a proof only, and comes back when the register that showed it is lost."""
    commit(ledger, 1, 10, now=NOW + 5)
    commit(ledger, 2, 10, now=NOW + 7)
    first, _ = ledger.unproven()
    assert (first.number, ledger.oldest_unproven()) == (1, NOW + 5)
    ledger.accept("origin", checkpoint(9), [(first, 4)])
    assert [item.number for item in ledger.unproven()] == [2]
    assert ledger.accepted("origin") == Checkpoint(9, query(9))
    ledger.accept("origin", checkpoint(8, NOW + 1))
    assert ledger.accepted("origin").size == 9, "an older checkpoint never replaces a newer one"
    ledger.close()
    again = Ledger(path, force="kent")
    assert again.oldest_unproven() == NOW + 7
    again.distrust()
    assert [item.number for item in again.unproven()] == [1, 2]
    again.close()


# Commit


def test_an_attempt_is_committed_once(ledger):
    """A second commit of the same attempt is declined and charges nothing; another attempt is charged."""
    commit(ledger, 1, 10)
    with pytest.raises(Declined) as declined:
        commit(ledger, 1, 10)
    assert declined.value.code == DeclineCode.ROSTER.words
    assert left(ledger) == 90
    commit(ledger, 1, 10, attempt=2)
    assert left(ledger) == 80


def test_a_commit_over_budget_leaves_nothing_behind(ledger):
    """Neither charge nor bytes nor entry of a declined commit stay."""
    commit(ledger, 1, 95)
    with pytest.raises(Declined):
        commit(ledger, 2, 6)
    assert ledger.sequence == 1
    assert ledger.contribution(query(2), 1) is None
    assert left(ledger) == 5


def test_a_commit_whose_receipt_cannot_be_signed_leaves_nothing_behind(ledger, path):
    """The signer fails in the middle of the transaction: nothing is charged, and the ledger is whole."""

    def fails(position):
        del position
        raise Misconfigured("the key cannot be read")

    with pytest.raises(Misconfigured):
        ledger.commit(
            query(1), 1, spender=spender(query(1)), rho=Rho(10), limits=LIMITS, period=1, transcript_hash=query(7),
            ciphertexts=[b"one"], expires=NOW + 1, now=NOW, make_receipt=fails, check=lambda: None,
        )  # fmt: skip
    assert (left(ledger), ledger.sequence, ledger.contribution(query(1), 1)) == (100, 0, None)
    commit(ledger, 1, 10)
    ledger.close()
    Ledger(path, force="kent").close()


def test_the_same_bytes_are_sent_again_after_a_restart(ledger, path):
    """Receipt and ciphertexts come back from the file as they were committed, in their order."""
    chunks = [os.urandom(5000) for _ in range(12)]
    made = commit(ledger, 1, 10, chunks=chunks)
    ledger.close()
    again = Ledger(path, force="kent")
    assert again.contribution(query(1), 1) == made
    assert again.contribution(query(1), 1).ciphertexts == tuple(chunks)
    assert again.contribution(query(1), 2) is None
    again.close()


def test_a_restart_keeps_charges_and_forgets_reservations(ledger, path):
    """Without the ephemeral key that a restart loses there is no commit, so nothing needs to be held."""
    commit(ledger, 1, 10)
    reserve(ledger, 2, 30)
    ledger.close()
    again = Ledger(path, force="kent")
    assert left(again) == 90
    again.close()


def test_expired_bytes_are_forgotten_and_charges_are_not(ledger, path):
    """Expired and proven, the ciphertexts are gone; charge, receipt and chain stay, and the attempt stays used."""
    made = commit(ledger, 1, 10)
    ledger.forget_expired(NOW + 1000)
    assert ledger.contribution(query(1), 1) == made, "the receipt is not proven to be in the register yet"
    (waiting,) = ledger.unproven()
    ledger.accept("origin", checkpoint(5), [(waiting, 3)])
    assert ledger.unproven() == []
    ledger.forget_expired(NOW + 999)
    assert ledger.contribution(query(1), 1) == made
    ledger.forget_expired(NOW + 1000)
    kept = ledger.contribution(query(1), 1)
    assert (kept.receipt, kept.ciphertexts) == (made.receipt, ())
    assert left(ledger) == 90
    with pytest.raises(Declined):
        commit(ledger, 1, 10)
    ledger.close()
    again = Ledger(path, force="kent")
    assert again.sequence == 1
    again.close()


def test_receipts_are_numbered_and_each_names_the_one_before(ledger):
    """Numbers are consecutive over all domains, and each receipt carries its predecessor's hash and its sums."""
    made = [
        commit(ledger, number, 10, domain=domain)
        for number, domain in enumerate([DOMAIN, "other", DOMAIN, "other"], start=1)
    ]
    receipts = [receipt_of(contribution) for contribution in made]
    assert [receipt.number for receipt in receipts] == [1, 2, 3, 4]
    hashes = [envelope_hash(contribution.receipt) for contribution in made]
    assert [receipt.previous for receipt in receipts] == [NO_DIGEST, *hashes[:-1]]
    assert [receipt.lifetime_sum.nano for receipt in receipts] == [10, 10, 20, 20]
    assert ledger.sequence == 4


def test_concurrent_commits_never_overspend(ledger):
    """Sixteen threads that each want 10 of 100 at the same moment: ten are charged, six declined."""
    start = Barrier(16)

    def attempt(number):
        start.wait()
        try:
            commit(ledger, number, 10)
        except Declined:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        charged = sum(pool.map(attempt, range(16)))
    assert charged == 10
    assert spent(ledger) == (1, 100, 100)


def test_concurrent_reservations_never_overspend(ledger):
    """Sixteen threads reserve at the same moment what only ten can have."""
    start = Barrier(16)

    def attempt(number):
        start.wait()
        try:
            reserve(ledger, number, 10)
        except Declined:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        held = sum(pool.map(attempt, range(16)))
    assert (held, left(ledger)) == (10, 0)


def test_the_same_attempt_from_many_threads_is_charged_once(ledger):
    """Eight threads commit the same attempt: one contribution is made."""
    start = Barrier(8)

    def attempt(_):
        start.wait()
        try:
            commit(ledger, 1, 10)
        except Declined:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert left(ledger) == 90


# The file


def test_a_reader_looks_while_the_writer_writes(ledger, path):
    """A read-only ledger opens beside the serving node, sees what is committed, and cannot write."""
    commit(ledger, 1, 10)
    reader = Ledger(path, force="kent", read_only=True)
    assert left(reader) == 90
    commit(ledger, 2, 10)
    assert [number for row in reader.history() for number, _ in row.charges] == []
    assert reader.sequence == 2
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        commit(reader, 3, 10)
    reader.close()
    assert left(ledger) == 80


def test_there_is_one_writer(ledger, path):
    """A second node over the same file does not start, and does once the first has stopped."""
    with pytest.raises(Misconfigured, match="in use"):
        Ledger(path, force="kent")
    ledger.close()
    Ledger(path, force="kent").close()


def test_a_ledger_that_is_refused_is_let_go(path):
    """Opening a ledger as another force's fails and leaves it free for its own."""
    with pytest.raises(Misconfigured, match="ledger of kent"):
        Ledger(path, force="essex")
    Ledger(path, force="kent").close()


def altered(path, statement):
    """Change a closed ledger's file behind its back."""
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("PRAGMA user_version = 99", "newer version"),
        ("PRAGMA user_version = 0", "not a Cordon ledger"),
        ("PRAGMA application_id = 1", "not a Cordon ledger"),
        ("UPDATE identity SET force = 'essex'", "ledger of essex"),
        ("DELETE FROM entry WHERE number = 1", "does not follow"),
        ("UPDATE entry SET at = at + 1 WHERE number = 2", "does not follow"),
        ("DELETE FROM entry WHERE number = 2", "altered"),
        ("DELETE FROM charge WHERE number = 2", "altered"),
        ("UPDATE charge SET rho = 0 WHERE number = 1", "altered"),
        ("UPDATE charge SET period_sum = 10 WHERE number = 2", "altered"),
        ("UPDATE charge SET domain = 'other' WHERE number = 2", "altered"),
        ("DROP TABLE charge", "not a whole ledger"),
    ],
)
def test_a_ledger_that_is_not_as_it_was_left_is_refused(ledger, path, statement, words):
    """Newer, foreign or altered: the node does not start on it, read-only or not."""
    commit(ledger, 1, 10)
    commit(ledger, 2, 10)
    ledger.close()
    Ledger(path, force="kent").close()
    altered(path, statement)
    for read_only in (True, False):
        with pytest.raises(Misconfigured, match=words):
            Ledger(path, force="kent", read_only=read_only)


def test_a_missing_ledger_is_not_made_up(path, tmp_path):
    """A mistyped path does not hand out a fresh budget, and a ledger that exists is not created anew."""
    with pytest.raises(Misconfigured, match="no ledger"):
        Ledger(tmp_path / "leger.sqlite", force="kent")
    assert not (tmp_path / "leger.sqlite").exists()
    with pytest.raises(Misconfigured, match="exists already"):
        create_ledger(path, force="kent", now=NOW)


# Decisions and manifests


def test_a_decision_is_kept_word_for_word(ledger, path):
    """After a restart the same answer is given; it counts for its analyst, and is in the history with its charges."""
    envelope = seal(QUERY, b"payload", SIGNER)
    ledger.record_decision(
        query(1), envelope, certificate=b"certificate", analyst="alice", answer=b"answer", outcome="ADMITTED",
        code=DeclineCode.NOT_DECLINED, text="", now=NOW, expires=NOW + 60,
    )  # fmt: skip
    commit(ledger, 1, 10)
    ledger.close()
    again = Ledger(path, force="kent")
    kept = again.decision(query(1))
    assert (kept.envelope, kept.certificate, kept.answer, kept.outcome) == (
        envelope, b"certificate", b"answer", "ADMITTED",
    )  # fmt: skip
    assert again.decision(query(2)) is None
    assert [again.decisions_since("alice", NOW + late) for late in (0, 1)] == [1, 0]
    assert again.decisions_since("bob", 0) == 0
    (row,) = again.history()
    assert (row.query_hash, row.analyst, row.charges) == (query(1), "alice", ((1, Rho(10)),))
    again.close()


def test_a_waiting_decision_is_listed_until_it_expires_or_is_replaced(ledger):
    """Queries that wait for a person are found after a restart as long as they can still be answered."""
    for number, outcome in [(1, "AWAITING_APPROVAL"), (2, "ADMITTED"), (3, "AWAITING_APPROVAL")]:
        ledger.record_decision(
            query(number), seal(QUERY, b"payload", SIGNER), certificate=b"", analyst="alice", answer=b"",
            outcome=outcome, code=DeclineCode.NOT_DECLINED, text="", now=NOW, expires=NOW + 10 * number,
        )  # fmt: skip
    assert ledger.waiting(NOW) == [query(1), query(3)]
    assert ledger.waiting(NOW + 10) == [query(3)]
    assert ledger.waiting(NOW + 30) == []


def test_a_manifest_never_goes_back(ledger, path):
    """An older manifest, or another of the same version, is refused, also after a restart."""
    ledger.accept_manifest(2, query(2), NOW)
    ledger.accept_manifest(2, query(2), NOW)
    ledger.close()
    again = Ledger(path, force="kent")
    with pytest.raises(Misconfigured, match="accepted version 2"):
        again.accept_manifest(1, query(1), NOW)
    with pytest.raises(Misconfigured, match="another manifest"):
        again.accept_manifest(2, query(3), NOW)
    again.accept_manifest(3, query(3), NOW)
    again.close()
