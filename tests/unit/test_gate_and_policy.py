"""The gate's steps that no attack reaches, their order, and each rule of a force's policy both ways.

What whoever forges, alters or replays a query meets at the gate is in tests/attack/test_query.py.
"""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from members import FORCES, PURPOSE, Analyst, Members
from pydantic import ValidationError

from cordon.accounting import rho_for_epsilon
from cordon.errors import Declined
from cordon.query.model import All, Grain, Grouping, Key, Measure, MeasureKind, Member, Question, Range, Some
from cordon.register.leaf import DeclineCode
from cordon.register.spending import Limits, Room, Spender
from cordon.sealing.seed import seed_hash
from cordon.units import Rho
from node.gate import Holding, State
from node.policy import Policy

FORCE = "essex"
AS_AT = date(2025, 1, 31)
BUDGET = {"nominal_records": {"epsilon_per_year": "10", "epsilon_lifetime": "100"}}


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Five forces; nothing in this module changes them."""
    made = Members(tmp_path_factory.mktemp("gate") / "federation")
    yield made
    made.close()


@pytest.fixture(scope="module")
def composed(members):
    """A query that Alice signed, which every force may admit."""
    return Analyst(members).compose(attempts=2)


@pytest.fixture(scope="module")
def holdings(members):
    """What the force holds: the synthetic persons."""
    return {("nominals", 1): Holding(members.catalogue["nominals", 1][0], "nominal_records", AS_AT)}


def policy(**rules):
    """A force's rules, read as from its file."""
    return Policy.model_validate({"budget": BUDGET} | rules)


PLENTY = Rho(2**60)


def examine(members, envelope, *, holdings, rules=None, left=PLENTY, ask_left=None, paused=False, now=None):
    """Pass a signed query through the gate of a force with these rules, in this state, at this time."""
    gate = replace(members.members[FORCE].gate, policy=policy(**rules or {}))
    asked = gate.identify(envelope, Analyst(members).certificate, int(members.now))
    room = ask_left or (lambda _spender, _limits: Room(left, "this year's budget"))
    return gate.examine(asked, State(holdings, room, paused, int(members.now) if now is None else now))


def declined(members, envelope, **changes):
    """The code that the gate declines with, and its text."""
    with pytest.raises(Declined) as error:
        examine(members, envelope, **changes)
    return error.value.code, str(error.value)


# The gate


def test_what_passes_is_admitted_with_everything_later_phases_need(members, composed, holdings):
    """Contract, plan, domain, limits and the opened check seed follow from the signed query."""
    admission = examine(members, composed.envelope, holdings=holdings)
    assert admission.query_hash == composed.query_hash
    assert admission.plan.digest == composed.plan.digest
    assert admission.spender.domain == "nominal_records"
    assert admission.seed == composed.seed
    assert seed_hash(admission.seed) == admission.query.terms.seed_hash
    delta = float(members.manifest.delta)
    year, lifetime = rho_for_epsilon(10, delta), rho_for_epsilon(100, delta)
    assert admission.limits == Limits(year, lifetime, year, year, year, Rho(year.nano // 5))


def test_a_paused_node_declines(members, composed, holdings):
    """An officer's pause stops every query."""
    code, text = declined(members, composed.envelope, holdings=holdings, paused=True)
    assert code == DeclineCode.PAUSED.words
    assert "paused" in text


@pytest.mark.parametrize("version", [None, 2])
def test_a_data_set_that_is_not_held_is_declined(members, composed, holdings, version):
    """The federation lists it, but this force has no snapshot of it, or of another version only."""
    others = {} if version is None else {("nominals", version): holdings["nominals", 1]}
    code, text = declined(members, composed.envelope, holdings=others)
    assert code == DeclineCode.NOT_HELD.words
    assert text == "this force does not hold nominals v1"


@pytest.mark.parametrize("changes", [{"dataset": "intelligence"}, {"contract_version": 2}], ids=["data set", "version"])
def test_a_contract_that_the_manifest_does_not_list_is_unsupported(members, composed, holdings, changes):
    """A signed question about a contract that this force's manifest does not know."""
    query = replace(composed.query, question=replace(composed.query.question, **changes))
    code, _ = declined(members, Analyst(members).signed(query), holdings=holdings)
    assert code == DeclineCode.UNSUPPORTED.words


def test_the_budget_must_hold_one_attempt(members, composed, holdings):
    """What is left is compared with one attempt's rho, to the nano."""
    rho = composed.query.terms.rho
    assert examine(members, composed.envelope, holdings=holdings, left=rho)
    code, text = declined(members, composed.envelope, holdings=holdings, left=Rho(rho.nano - 1))
    assert code == DeclineCode.BUDGET.words
    assert text == "the query would cost more than is left of this year's budget"


def test_the_gate_asks_for_the_holdings_own_budget(members, composed, holdings):
    """Who the budget is asked for is the query's own; domain and limits are those of the data set and the policy."""
    seen = []

    def room(spender, limits):
        seen.append((spender, limits))
        return Room(PLENTY, "")

    examine(members, composed.envelope, holdings=holdings, ask_left=room)
    spender = Spender("nominal_records", Analyst(members).signer.key_id, PURPOSE, composed.query_hash)
    assert seen == [(spender, policy().limits("nominal_records", members.manifest))]


def test_a_domain_without_budget_has_none(members, composed, holdings):
    """Records whose domain the policy does not name can be asked nothing."""
    (holding,) = holdings.values()
    elsewhere = {("nominals", 1): replace(holding, domain="other_records")}
    code, _ = declined(members, composed.envelope, holdings=elsewhere)
    assert code == DeclineCode.BUDGET.words


@pytest.mark.parametrize(("late", "admitted"), [(-1, True), (0, False)])
def test_a_query_expires_the_tolerance_after_its_time(members, composed, holdings, late, admitted):
    """Clocks may differ by the manifest's tolerance, and not by a second more."""
    last = composed.query.terms.expires + members.manifest.timing.clock_tolerance_seconds
    if admitted:
        assert examine(members, composed.envelope, holdings=holdings, now=last + late)
    else:
        code, _ = declined(members, composed.envelope, holdings=holdings, now=last + late)
        assert code == DeclineCode.EXPIRED.words


def test_the_first_step_that_fails_gives_the_code(members, composed, holdings):
    """Time comes before pause, pause before holdings, holdings before policy, policy before budget."""
    wrong = {
        "now": composed.query.terms.expires + 10**6, "paused": True, "holdings": {},
        "rules": {"datasets": ["stop_search"]}, "left": Rho(0),
    }  # fmt: skip
    right = {"now": int(members.now), "paused": False, "holdings": holdings, "rules": {}, "left": PLENTY}
    found = []
    for name in wrong:
        found.append(declined(members, composed.envelope, **wrong)[0])
        wrong[name] = right[name]
    assert found == ["expired", "paused", "not held", "policy", "budget"]
    assert examine(members, composed.envelope, **wrong)


# Policy

COUNT_ALL = Question("nominals", 1, (Measure(MeasureKind.COUNT),), None, (), ("essex", "kent", "norfolk"))
OF_EVERY = replace(COUNT_ALL, forces=FORCES)
OWN_LINE = replace(COUNT_ALL, keys=(Key("force"),))
BY_ROLE = replace(COUNT_ALL, keys=(Key("role"),))
BY_MONTH = replace(COUNT_ALL, keys=(Key("recorded", Grain.MONTH),))
OF_ROLE = replace(COUNT_ALL, where=Member("role", ("suspect",)))
DEEP = replace(COUNT_ALL, where=Some((Range("age", 1, 2), All((Range("loss_gbp", 0, 9), Member("role", ("victim",)))))))
SUM_OF_AGE = replace(COUNT_ALL, measures=(Measure(MeasureKind.SUM, "age"),))
VICTIMS = Member("role", ("victim",))
FILTERED = replace(COUNT_ALL, measures=(Measure(MeasureKind.COUNT_UNIT, where=All((VICTIMS, Range("age", 1, 2)))),))
BINS_OF_AGE = replace(
    COUNT_ALL, keys=(Key("role"), Key("age", Grain.BIN, 10)), groupings=(Grouping((0,)), Grouping((1,)))
)
AGES = replace(COUNT_ALL, measures=(Measure(MeasureKind.HISTOGRAM, "age", where=VICTIMS, widths=(5, 20)),))


@pytest.mark.parametrize(
    ("rules", "question", "words"),
    [
        ({}, DEEP, None),
        ({"datasets": ["nominals"]}, COUNT_ALL, None),
        ({"datasets": ["stop_search"]}, COUNT_ALL, "does not answer questions about nominals"),
        ({"purposes": [PURPOSE]}, COUNT_ALL, None),
        ({"purposes": ["strategic_assessment"]}, COUNT_ALL, f"does not answer for the purpose {PURPOSE}"),
        ({"allow_by_force": True}, OWN_LINE, None),
        ({"allow_by_force": False}, BY_ROLE, None),
        ({"allow_by_force": False}, OWN_LINE, "does not show its own line"),
        ({"closed_columns": ["gender"]}, BY_ROLE, None),
        ({"closed_columns": ["role"]}, BY_ROLE, "does not let role be"),
        ({"closed_columns": ["recorded"]}, BY_MONTH, "does not let recorded be"),
        ({"closed_columns": ["role"]}, OF_ROLE, "does not let role be"),
        ({"closed_columns": ["role"]}, DEEP, "does not let role be"),
        ({"closed_columns": ["age"]}, SUM_OF_AGE, "does not let age be"),
        ({"closed_columns": ["role"]}, FILTERED, "does not let role be"),
        ({"closed_columns": ["age"]}, FILTERED, "does not let age be"),
        ({"closed_columns": ["age"]}, BINS_OF_AGE, "does not let age be"),
        ({"closed_columns": ["role"]}, BINS_OF_AGE, "does not let role be"),
        ({"closed_columns": ["age"]}, AGES, "does not let age be"),
        ({"closed_columns": ["role"]}, AGES, "does not let role be"),
        ({"closed_columns": ["recorded"]}, replace(FILTERED, keys=BINS_OF_AGE.keys), None),
        ({"closed_columns": ["force"]}, OF_EVERY, None),
        ({"closed_columns": ["force"]}, replace(OF_EVERY, keys=(Key("force"),)), "does not let force be"),
        ({"closed_columns": ["force"]}, COUNT_ALL, "questions that name every force"),
    ],
)
def test_each_rule_about_a_question(members, composed, rules, question, words):
    """A rule forbids what it names, with its own words, and nothing else."""
    check = policy(**rules).check
    if words is None:
        check(question, composed.query.terms, members.manifest)
        return
    with pytest.raises(Declined, match=words) as error:
        check(question, composed.query.terms, members.manifest)
    assert error.value.code == DeclineCode.POLICY.words


def test_the_cap_per_attempt_is_inclusive(members, composed):
    """Exactly the capped epsilon is answered, one nano-rho more is not, and without a cap anything is."""
    cap = rho_for_epsilon(2, float(members.manifest.delta))
    terms = composed.query.terms
    more = replace(terms, rho=cap + Rho(1))
    policy(most_epsilon_per_attempt="2").check(COUNT_ALL, replace(terms, rho=cap), members.manifest)
    policy().check(COUNT_ALL, more, members.manifest)
    with pytest.raises(Declined, match="epsilon 2 per attempt"):
        policy(most_epsilon_per_attempt="2").check(COUNT_ALL, more, members.manifest)


def test_the_cap_alone_counts_the_noise_of_one_force(members):
    """At a roster of five with one colluder, four honest shares of noise shrink to one: rho is four times as large."""
    manifest = members.manifest
    cap = rho_for_epsilon(2, float(manifest.delta))
    most = Rho(cap.nano // 4)
    rules = policy(most_epsilon_alone="2")
    rules.check_roster(5, COUNT_ALL, most, manifest)
    with pytest.raises(Declined, match="every other party colludes"):
        rules.check_roster(5, COUNT_ALL, most + Rho(1), manifest)
    rules.check_roster(4, COUNT_ALL, most + Rho(1), manifest)
    policy().check_roster(5, COUNT_ALL, most + Rho(1), manifest)


@pytest.mark.parametrize(
    ("rules", "named", "roster", "allowed"),
    [
        ({}, 5, 5, True),
        ({}, 5, 4, False),
        ({}, 1, 1, True),
        ({}, 5, 1, False),
        ({"allow_by_force": False}, 1, 1, False),
        ({}, 3, 3, False),
        ({"allow_small_roster": True}, 3, 3, True),
        ({"allow_small_roster": True}, 4, 3, True),
        ({"allow_small_roster": True}, 5, 3, False),
        ({"allow_small_roster": True}, 2, 2, False),
        ({"allow_small_roster": True}, 3, 2, False),
        ({"smallest_roster": 4}, 5, 5, True),
        ({"smallest_roster": 4}, 1, 1, False),
    ],
)
def test_each_rule_about_a_roster(members, rules, named, roster, allowed):
    """With three colluders, ordinary rosters have five forces; fewer are a force's own choice, and two never are."""
    manifest = members.manifest.model_copy(update={"tolerated_colluders": 3})
    question = replace(COUNT_ALL, forces=tuple(members.manifest.by_id)[:named])
    if allowed:
        policy(**rules).check_roster(roster, question, Rho(1), manifest)
    else:
        with pytest.raises(Declined, match="rosters of 5 or more") as error:
            policy(**rules).check_roster(roster, question, Rho(1), manifest)
        assert error.value.code == DeclineCode.POLICY.words


def test_a_force_may_ask_for_larger_rosters_than_the_federation(members):
    """With one colluder ordinary rosters have three forces; a rule of four declines three, and names four."""
    rules = policy(smallest_roster=4)
    rules.check_roster(4, COUNT_ALL, Rho(1), members.manifest)
    with pytest.raises(Declined, match="rosters of 4 or more") as error:
        rules.check_roster(3, COUNT_ALL, Rho(1), members.manifest)
    assert error.value.rule == "smallest_roster"


@pytest.mark.parametrize(("later", "admitted"), [(30, True), (31, False)])
def test_records_are_answered_from_until_they_are_too_old(members, composed, holdings, later, admitted):
    """Thirty days after the declared date is not older than thirty days; a day more is, and is declined as stale."""
    now = int(datetime(2025, 1, 31, tzinfo=UTC).timestamp()) + later * 86_400
    rules = policy(oldest_snapshot_days=30)
    if admitted:
        rules.check_age(AS_AT, now)
        return
    with pytest.raises(Declined, match="none older than 30 days"):
        rules.check_age(AS_AT, now)
    code, _ = declined(members, composed.envelope, holdings=holdings, rules={"oldest_snapshot_days": 30})
    assert code == DeclineCode.STALE.words


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({}, None),
        ({"approval": "manual"}, "approval"),
        ({"approval_datasets": ["nominals"]}, "approval_datasets"),
        ({"approval_datasets": ["stop_search"]}, None),
        ({"approval_purposes": [PURPOSE]}, "approval_purposes"),
        ({"approval_purposes": ["strategic_assessment"]}, None),
    ],
)
def test_each_rule_that_leaves_a_query_to_a_person(composed, rules, rule):
    """A person decides about what the rule names, and about nothing else."""
    found = policy(officer=OFFICERS, **rules).waits_for(COUNT_ALL, composed.query.terms)
    assert (found.rule if found else None) == rule


def test_sub_limits_are_the_years_where_they_are_not_given(members):
    """Analyst, purpose and query have the whole year unless the policy says less; failures have a fifth."""
    budget = {"epsilon_per_year": "10", "epsilon_lifetime": "100", "epsilon_per_query": "2", "failed_share": "1/4"}
    limits = policy(budget={"nominal_records": budget}).limits("nominal_records", members.manifest)
    year = rho_for_epsilon(10, float(members.manifest.delta))
    assert (limits.analyst, limits.purpose) == (year, year)
    assert limits.query == rho_for_epsilon(2, float(members.manifest.delta))
    assert limits.failed == Rho(year.nano // 4)


OFFICERS = [{"name": "A. Ames", "key": "0" * 62 + "a1"}, {"name": "B. Birch", "key": "0" * 62 + "a2"}]


@pytest.mark.parametrize(
    "rules",
    [
        {"budget": {}},
        {"budget": {"nominal_records": {"epsilon_per_year": 0.5, "epsilon_lifetime": "1"}}},
        {"budget": {"nominal_records": {"epsilon_per_year": "0", "epsilon_lifetime": "1"}}},
        {"budget": {"nominal_records": {"epsilon_per_year": "1"}}},
        {"approval": "none"},
        {"most_epsilon_per_attempt": "-1"},
        {"allow_everything": True},
        {"approval": "manual"},
        {"approval_datasets": ["nominals"], "officers_needed": 2, "officer": OFFICERS[:1]},
        {"officer": [OFFICERS[0], OFFICERS[0] | {"name": "C. Cole"}]},
        {"officer": [OFFICERS[0], OFFICERS[1] | {"name": "a. ames"}]},
        {"allow_small_roster": True, "smallest_roster": 9},
        {"budget": {"nominal_records": BUDGET["nominal_records"] | {"failed_share": "2"}}},
    ],
    ids=[
        "no budget",
        "float",
        "zero",
        "no lifetime",
        "approval",
        "negative",
        "unknown rule",
        "nobody to approve",
        "one officer for two",
        "one key twice",
        "one name twice",
        "small and large",
        "share",
    ],
)
def test_a_policy_that_says_nothing_clear_is_refused(rules):
    """A missing budget, an inexact or senseless number, or a rule that does not exist stops the node at its start."""
    with pytest.raises(ValidationError):
        policy(**rules)
