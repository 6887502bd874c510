"""Lies about charges and budgets, each found from receipts and statements alone, with its leaf."""

from __future__ import annotations

import pytest
from lies import lie, read, ready
from registers import RHO, YEAR, Register, digest

from cordon.reading.mirror import Mirror
from cordon.register.merkle import Frontier
from cordon.units import Rho
from cordon.wire.codec import decode_envelope


@pytest.fixture
def register():
    """A register in which two queries were answered, so far honestly."""
    made = Register()
    made.round()
    made.round("bob")
    return made


# Charges


def test_a_receipt_of_another_query_is_found(register):
    """A receipt is replayed for the transcript of another query."""
    first, second = ready(register), ready(register)
    leaf = register.receipt(second, 1, "kent", transcript_hash=first.rosters[1].transcript_hash)
    assert lie(register)[0] == leaf


def test_a_receipt_that_is_replayed_is_found(register):
    """The very same receipt stands in the register twice."""
    asked = ready(register)
    register.receipt(asked, 1, "kent")
    register.leaves.append(register.leaves[-1])
    found, what = lie(register)
    assert (found, "second receipt" in what) == (len(register.leaves) - 1, True)


def test_a_second_receipt_of_one_attempt_is_found(register):
    """A force charges twice for one attempt."""
    asked = ready(register)
    register.receipt(asked, 1, "kent")
    leaf = register.receipt(asked, 1, "kent")
    found, what = lie(register)
    assert (found, "second receipt" in what) == (leaf, True)


def test_two_receipts_of_one_number_are_found(register):
    """A force that was restored from a backup uses a number again."""
    first, second = ready(register), ready(register)
    register.receipt(first, 1, "kent")
    leaf = register.receipt(second, 1, "kent", number=register.spent["kent"].number)
    found, what = lie(register)
    assert (found, "two of one number" in what) == (leaf, True)


def test_a_missing_receipt_is_found(register):
    """A receipt is withheld; the next one of that force shows it."""
    first, second = ready(register), ready(register)
    register.receipt(first, 1, "kent", deposit=False)
    leaf = register.receipt(second, 1, "kent")
    found, what = lie(register)
    assert (found, "number 3" in what) == (leaf, True)


def test_a_broken_chain_is_found(register):
    """A receipt names another one before it."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", previous=digest())
    found, what = lie(register)
    assert (found, "chain is broken" in what) == (leaf, True)


@pytest.mark.parametrize("field", ["period_sum", "lifetime_sum"])
def test_wrong_sums_are_found(register, field):
    """A receipt states less than the force's receipts add up to."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", **{field: Rho(RHO)})
    found, what = lie(register)
    assert (found, "add up to" in what) == (leaf, True)


@pytest.mark.parametrize(
    "changes", [{"rho": Rho(1)}, {"purpose": "live"}, {"analyst_key_id": digest()}], ids=["rho", "purpose", "analyst"]
)
def test_a_receipt_for_something_else_is_found(register, changes):
    """A receipt charges another rho, purpose or analyst than the query's."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", **changes)
    assert lie(register)[0] == leaf


def test_a_period_that_goes_back_is_found(register):
    """A force whose clock was set back charges to a year before."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", period=YEAR - 1)
    assert lie(register)[0] == leaf


def test_a_period_far_ahead_is_found(register):
    """A force that charges to a later year would have a fresh budget for every query."""
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", period=YEAR + 2)
    assert lie(register)[0] == leaf


def test_a_period_long_past_is_found():
    """A force that charges to years gone by would have a fresh budget for each of them."""
    register = Register()
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", period=YEAR - 2)
    found, what = lie(register)
    assert (found, "not when its query was asked" in what) == (leaf, True)


def test_a_receipt_off_the_roster_is_found(register):
    """A force that is not on the roster charges."""
    asked = register.ask()
    register.roster(asked, 1, ("essex", "norfolk", "suffolk"))
    leaf = register.receipt(asked, 1, "kent")
    assert lie(register)[0] == leaf


# A register that was lost

REPLACES = f'[register]\norigin = "cordon/second"\nreplaces_size = 9\nreplaces_root = "{"1" * 64}"\n'


def lost(settings, **limits):
    """A register that begins anew, with the statements and receipts of a query of the one before."""
    register = Register(stated=False)
    asked = ready(register)
    for force in register.forces:
        register.receipt(asked, 1, force, deposit=False)
    register.leaves.clear()
    register.openings.clear()
    register.version, register._frontier = 0, Frontier()
    register.adopt(register=settings)
    for force in register.forces:
        register.state(force, after_receipt=0, **limits)
    return register, [register.append(asked.receipts[1, force]) for force in register.forces]


def test_receipts_of_a_lost_register_count_in_the_next():
    """Where the manifest names a lost register, receipts of unknown queries are no lie, and new ones add to them."""
    register, again = lost(REPLACES)
    register.round()
    result = read(register)
    assert result.discrepancies == ()
    assert (result.counts["queries"], result.counts["receipts"]) == (1, 2 * len(register.forces))

    unknown, leaves = lost("")
    assert [item.leaf for item in read(unknown).discrepancies] == leaves
    leaf = register.append(decode_envelope(register.leaves[again[0]]))
    found, what = lie(register)
    assert (found, "two of one number" in what) == (leaf, True)


def test_a_hidden_query_is_not_taken_for_a_lost_one():
    """A receipt that names a checkpoint of this very register is for a query that was left out of it."""
    register, _ = lost(REPLACES)
    register.gossip = True
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", query_hash=digest())
    found, what = lie(register)
    assert (found, "was not submitted before" in what) == (leaf, True)


@pytest.mark.parametrize("limit", ["period_limit", "lifetime_limit", "analyst_limit", "purpose_limit"])
def test_receipts_of_a_lost_register_use_up_budgets(limit):
    """What was spent in a register that is lost leaves less for the next one."""
    register, _ = lost(REPLACES, **{limit: Rho(2 * RHO - 1)})
    assert read(register).discrepancies == ()
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent")
    found, what = lie(register)
    assert (found, "over its limit" in what) == (leaf, True)


# Budgets


@pytest.mark.parametrize("limit", ["period_limit", "lifetime_limit", "analyst_limit", "purpose_limit", "query_limit"])
def test_a_charge_over_its_budget_is_found(limit):
    """Each of the limits that a force states is held against what its receipts add up to."""
    register = Register(stated=False)
    allowed = 1 if limit == "query_limit" else 2
    for force in register.forces:
        register.state(force, **{limit: Rho(allowed * RHO)})
    for _ in range(2 if allowed == 2 else 0):
        register.round()
    assert read(register).discrepancies == ()
    asked = ready(register)
    if allowed == 1:
        register.receipt(asked, 1, "kent")
        register.fail(asked, 1, ("essex",))
        register.roster(asked, 2)
    leaf = register.receipt(asked, 2 if allowed == 1 else 1, "kent")
    found, what = lie(register)
    assert (found, "over its limit" in what) == (leaf, True)


def test_charges_beyond_any_sum_are_found_and_not_added_up(register):
    """Queries of so much rho that their charges cannot be added up are discrepancies, and never a crash."""
    asked = [register.ask(rho=2**61, attempts=1, opened=False) for _ in range(5)]
    for query in asked:
        register.roster(query)
        register.receipt(query, 1, "kent", period_sum=Rho(1), lifetime_sum=Rho(1))
    found, what = lie(register)
    assert (found, "costs more than the manifest allows" in what) == (asked[0].leaf, True)


def test_failures_over_their_limit_are_found():
    """A force takes part in a further attempt after failed ones have burnt what its policy allows."""
    register = Register(stated=False)
    for force in register.forces:
        register.state(force, failed_limit=Rho(RHO - 1))
    asked = ready(register)
    register.receipt(asked, 1, "kent")
    register.fail(asked, 1, ("essex",))
    assert read(register).discrepancies == ()
    register.roster(asked, 2)
    leaf = register.receipt(asked, 2, "kent")
    assert lie(register)[0] == leaf


def test_a_hidden_budget_statement_is_found(register):
    """A statement is withheld; the next one of that force shows it."""
    register.state("kent", deposit=False, period_limit=Rho(1))
    leaf = register.state("kent")
    found, what = lie(register)
    assert (found, "number 2" in what) == (leaf, True)


def test_two_budget_statements_of_one_number_are_found(register):
    """A force states two limits under one number."""
    leaf = register.state("kent", number=1)
    found, what = lie(register)
    assert (found, "two of one number" in what) == (leaf, True)


def test_a_charge_without_a_budget_is_found():
    """A force that has stated no budget for a domain charges to it."""
    register = Register()
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent", domain="other_records")
    found, what = lie(register)
    assert (found, "no budget statement" in what) == (leaf, True)


def test_a_statement_that_came_late_is_no_lie():
    """A statement that arrives after the receipts that it governs clears them."""
    register = Register(stated=False)
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent")
    mirror = Mirror(None)
    assert lie(register, mirror=mirror)[0] == leaf
    register.state("kent", after_receipt=0)
    assert read(register, mirror=mirror).discrepancies == ()


@pytest.mark.parametrize("quiet", [False, True])
def test_a_budget_that_is_stated_after_it_was_spent_is_found(quiet):
    """A force overspends, and states days later that it might have, whether or not anybody asked in between."""
    register = Register(stated=False)
    register.state("kent", period_limit=Rho(RHO - 1))
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent")
    register.now += 2 * 86_400
    if not quiet:
        register.ask()
    register.state("kent", after_receipt=0)
    found, what = lie(register)
    assert (found, "over its limit" in what) == (leaf, True)


def test_a_tighter_statement_that_came_late_is_held_against_receipts():
    """A limit that was stated before a receipt counts for it, though it arrived after it."""
    register = Register()
    asked = ready(register)
    leaf = register.receipt(asked, 1, "kent")
    register.state("kent", after_receipt=0, period_limit=Rho(RHO - 1))
    assert lie(register)[0] == leaf
