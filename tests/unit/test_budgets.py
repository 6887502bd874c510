"""What an answer took of budgets and what a question would leave, against statements and real ledgers."""

from dataclasses import replace
from fractions import Fraction

import pytest
from members import COUNT, Members

from cordon.analyst.budgets import Known, outlook, share_line, shares
from cordon.analyst.compose import Cost, cost_of_epsilon
from cordon.analyst.known import budget_facts, open_library, with_shares
from cordon.analyst.vintages import agreed, same
from cordon.errors import QueryFailed
from cordon.query.sql import parse_sql
from cordon.register.leaf import NO_DIGEST, Checkpoint, Receipt
from cordon.register.spending import Limits, Spending
from cordon.units import Digest, Rho

ALICE, BOB = Digest(b"\x0a" * 32), Digest(b"\x0b" * 32)
LIMITS = Limits(Rho(1000), Rho(10_000), Rho(800), Rho(600), Rho(500), Rho(100))
IN_2026 = 1_780_000_000


def answer(*charges, rho="0.0000001", attempts=1):
    """An answer by these (force, receipt) pairs; 100 nano-rho an attempt."""
    charged = [{"force": force, "domain": "stops", "receipt": receipt} for force, receipt in charges]
    return {"rho": rho, "attempts_charged": attempts, "charged": charged}


# Shares


def test_shares_are_the_largest_and_smallest_over_the_forces_that_answered():
    """Each force's share is by its own limits; failed attempts count."""
    statements = {
        ("kent", "stops"): [(0, LIMITS)],
        ("essex", "stops"): [(0, replace(LIMITS, period=Rho(400), lifetime=Rho(100_000)))],
    }
    found = shares(answer(("kent", 1), ("essex", 9), attempts=2), statements)
    assert found["year"]["smallest"] == {"force": "kent", "share": 0.2}
    assert found["year"]["largest"] == {"force": "essex", "share": 0.5}
    assert found["lifetime"]["largest"] == {"force": "kent", "share": 0.02}
    assert share_line(found) == (
        "it took 20 % (kent) to 50 % (essex) of the year's budget and 0.2 % (essex) to 2 % (kent) of the lifetime budget"
    )


@pytest.mark.parametrize(("receipt", "share"), [(1, 0.1), (5, 0.1), (6, 0.5), (99, 0.5)])
def test_a_share_is_by_the_statement_in_force_for_the_receipt(receipt, share):
    """A statement governs the receipts after the one that it names, and none before."""
    statements = {("kent", "stops"): [(0, LIMITS), (5, replace(LIMITS, period=Rho(200)))]}
    assert shares(answer(("kent", receipt)), statements)["year"]["largest"]["share"] == share


def test_a_force_without_statement_is_named_and_not_guessed():
    """What is not known is said to be unknown, and where nothing is known there is no sentence."""
    found = shares(answer(("kent", 1), ("essex", 1)), {("kent", "stops"): [(0, LIMITS)]})
    assert found["unknown"] == ["essex"]
    assert (
        share_line(found) == "it took 10 % of the year's budget and 1 % of the lifetime budget; not known of 1 forces"
    )
    assert share_line(shares(answer(("kent", 1)), {("kent", "stops"): [(3, LIMITS)]})) == ""
    assert share_line(None) == ""


# Outlook


def receipt(rho, *, analyst=BOB, purpose="research", period=2026, query=b"\x01"):
    """A charge to Kent's stops."""
    none = NO_DIGEST
    return Receipt(
        force="kent", query_hash=Digest(query * 32), attempt=1, transcript_hash=none, analyst_key_id=analyst,
        purpose=purpose, domain="stops", period=period, rho=Rho(rho), period_sum=Rho(0), lifetime_sum=Rho(0),
        number=1, previous=none, ciphertext_hash=none, plan=none, checkpoint=Checkpoint(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Five forces with epsilon 1.2 a year for the synthetic persons."""
    made = Members(tmp_path_factory.mktemp("budgets") / "federation", budget="1.2")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("receipts", "cost", "purpose", "why"),
    [
        ([], 500, None, ""),
        ([], 501, None, "what one query may spend"),
        ([receipt(700)], 300, None, ""),
        ([receipt(700)], 301, None, "this year's budget"),
        ([receipt(700, period=2025)], 301, None, ""),
        ([receipt(500, analyst=ALICE)], 301, None, "what one analyst may spend in a year"),
        ([receipt(500)], 301, None, ""),
        ([receipt(500)], 101, "research", "what one purpose may spend in a year"),
        ([receipt(500)], 101, "planning", ""),
        ([receipt(9_900, period=2025)], 101, None, "the lifetime budget"),
    ],
)
def test_a_question_is_foreseen_to_be_declined_by_the_tightest_limit(members, receipts, cost, purpose, why):
    """Year, lifetime, analyst, purpose and query each decline, and are named."""
    spending = Spending()
    for item in receipts:
        spending.add(item)
    known = Known({("kent", "stops"): [(0, LIMITS)]}, {"kent": spending}, {}, IN_2026)
    (row,) = outlook(["kent"], Cost(Rho(cost), 1), ALICE, purpose, known, members.manifest)
    assert row["declines"] == bool(why)
    assert row["why"] == (f"the query would cost more than is left of {why}" if why else "")


def test_where_the_records_of_a_question_are_not_known_nothing_is_foreseen(members):
    """A force with several domains, of which none was charged for the data set, is not guessed at."""
    known = Known({("kent", "stops"): [(0, LIMITS)], ("kent", "crimes"): [(0, LIMITS)]}, {}, {}, IN_2026)
    (row,) = outlook(["kent"], Cost(Rho(1), 1), ALICE, None, known, members.manifest)
    assert (row["declines"], row["year"]) == (None, None)
    assert "not known" in row["why"]
    (row,) = outlook(
        ["kent"], Cost(Rho(1), 1), ALICE, None, replace(known, domains={"kent": "stops"}), members.manifest
    )
    assert row["declines"] is False


def test_what_is_foreseen_from_the_register_is_what_real_ledgers_decide(members):
    """After a question, what is left is each ledger's own figure; what is foreseen to be declined is declined."""
    taken = members.ask(COUNT, "1")
    client = members.client()
    with open_library(client) as library:
        shown = with_shares(client, library, members.manifest, taken, pytest.fail)
        (period,) = {
            members.members[f].gate.policy.limits("nominal_records", members.manifest).period for f in taken["answered"]
        }
        assert shown["budget"]["unknown"] == []
        assert shown["budget"]["year"]["largest"]["share"] == float(Fraction(taken["rho"]) * 10**9 / period.nano)
        question = parse_sql(COUNT, members.federation.versions, list(members.manifest.by_id)).question
        foreseen = {
            epsilon: budget_facts(
                library, question, cost_of_epsilon(Fraction(epsilon), members.manifest, 1), client.signer.key_id,
                "research", members.manifest,
            )["forces"]
            for epsilon in ("1", "1/10")
        }  # fmt: skip
    assert all(row["declines"] and "this year's budget" in row["why"] for row in foreseen["1"])
    assert not any(row["declines"] for row in foreseen["1/10"])
    with pytest.raises(QueryFailed, match="5 declined, budget"):
        members.ask(COUNT, "1")
    members.ask(COUNT, "1/10")
    for row in foreseen["1/10"]:
        ledger = members.members[row["force"]].ledger
        assert row["year"]["left_rho"] == str(
            Rho(
                period.nano
                - ledger.spending.in_period("nominal_records", ledger.spending.period("nominal_records")).nano
            )
        )


# Vintages

OLD = {"contract": "aa", "as_at": "2020-04-01", "first_month": "2019-04", "last_month": "2020-03", "load_id": "01"}


def test_vintages_count_only_where_they_were_declared_before_and_after():
    """A force that loaded other records in between, or was not there, may have answered with either."""
    first, second = {"kent": OLD, "essex": OLD, "surrey": OLD}, {"kent": OLD, "essex": {**OLD, "load_id": "02"}}
    assert agreed(first, second) == {"kent": OLD}


def test_the_same_vintage_is_wanted_of_every_force_that_answered():
    """Of the others nothing is wanted."""
    assert same({"kent": OLD}, {"kent": OLD, "essex": OLD}, ["kent"])
    assert not same({"kent": OLD}, {"kent": OLD, "essex": OLD}, ["essex", "kent"])
    assert not same({"kent": OLD}, {}, ["kent"])
    for part in ("contract", "as_at", "load_id"):
        assert not same({"kent": OLD}, {"kent": {**OLD, part: "03"}}, ["kent"])
