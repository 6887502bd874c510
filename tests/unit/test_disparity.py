"""From an answer to a disparity: what is computed, what is said, and what is drawn."""

import gc
import json
import math
from dataclasses import replace
from fractions import Fraction
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from statistical.disparities import asked_again, asked_for, planned, stops
from statistical.releases import CONTRACTS

from cordon.errors import Refused
from cordon.estimate.interval import REACH_95
from cordon.workbench import frames
from cordon.workbench.answer import Answer
from cordon.workbench.disparity.adjust import adjusted, joint_reach
from cordon.workbench.disparity.asking import compared_in
from cordon.workbench.disparity.drawing import drawn
from cordon.workbench.disparity.effects import (
    Side,
    alike_by_chance,
    deviations_from_equal,
    difference_ends,
    p_value,
    rate_ends,
    ratio,
    ratio_ends,
    with_chance,
)
from cordon.workbench.disparity.finding import disparity_of
from cordon.workbench.disparity.reading import about, conclusions, limits
from cordon.workbench.disparity.result import ALL, Verdict
from cordon.workbench.disparity.showing import COLUMNS, sheet_of
from cordon.workbench.disparity.statement import Adjust, wanted

SIGMA = 7.0

BY = "officer_defined_ethnicity"


@pytest.fixture(scope="module", autouse=True)
def _little_garbage():
    """The library that adjusts p-values collects garbage each time, which takes long where much is loaded."""
    stops()
    gc.freeze()
    yield
    gc.unfreeze()


def array(*values):
    """Floats."""
    return np.array(values, dtype=float)


def per_resident(hits, residents, off=SIGMA):
    """One side whose rate is per resident."""
    return Side(array(hits), array(off), residents=array(residents))


def share(hits, rest, off=SIGMA, rest_off=SIGMA):
    """One side whose rate is a share of records."""
    return Side(array(hits), array(off), array(rest), array(rest_off))


# Rates, ratios and their tests


def test_a_ratio_of_rates_has_fiellers_interval():
    """The closed form of Fieller (1954), for counts with equal noise over 1,000 and 8,000 residents."""
    side, reference = per_resident(120, 1000), per_resident(900, 8000)
    a, b, va, vb = 0.12, 0.1125, (7 / 1000) ** 2, (7 / 8000) ** 2
    z2 = 1.959963984540054**2
    root = math.sqrt((a * b) ** 2 - (a**2 - z2 * va) * (b**2 - z2 * vb))
    expected = [(a * b + sign * root) / (b**2 - z2 * vb) for sign in (-1, 1)]
    assert [float(end[0]) for end in ratio_ends(side, reference)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("side", "reference"),
    [
        (per_resident(150, 1000), per_resident(900, 8000)),
        (per_resident(50, 1000), per_resident(13, 1000)),
        (share(120, 900), share(900, 8000, 5.0, 9.0)),
    ],
)
def test_an_interval_leaves_out_one_exactly_where_the_test_rejects(side, reference):
    """At the reach that the test measures, the interval's nearer end is 1."""
    reach = float(deviations_from_equal(side, reference)[0])
    assert float(ratio_ends(side, reference, reach=reach).low[0]) == pytest.approx(1.0, abs=1e-6)
    assert float(difference_ends(side, reference, reach=reach).low[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(p_value(array(1.959963984540054))[0]) == pytest.approx(0.05)


def test_equal_shares_are_as_far_away_as_the_smallest_singular_value():
    """Of both groups' records with and without the outcome, in units of their noise."""
    generator = np.random.default_rng(3)
    for scale in (1.0, 30.0, 1e4):
        hits, rest, their_hits, their_rest = scale * generator.standard_normal(4)
        found = deviations_from_equal(share(hits, rest, 3.0, 5.0), share(their_hits, their_rest, 3.0, 5.0))
        matrix = np.array([[hits / 3, rest / 5], [their_hits / 3, their_rest / 5]])
        assert float(found[0]) == pytest.approx(np.linalg.svd(matrix)[1][-1], rel=1e-6, abs=1e-9)


def test_residents_that_may_be_off_widen_everything():
    """Within 10 %, a ratio's ends reach from 0.9/1.1 to 1.1/0.9 times as far, and a rate of 1.1 is none."""
    side, reference = per_resident(900, 1000), per_resident(800, 1000)
    plain, wide = ratio_ends(side, reference), ratio_ends(side, reference, within=0.1)
    assert float(wide.low[0]) == pytest.approx(float(plain.low[0]) * 0.9 / 1.1)
    assert float(wide.high[0]) == pytest.approx(float(plain.high[0]) * 1.1 / 0.9)
    assert float(deviations_from_equal(side, reference)[0]) > 5
    assert float(deviations_from_equal(side, reference, within=0.1)[0]) == 0
    assert float(deviations_from_equal(side, reference, within=0.01)[0]) > 0
    assert float(rate_ends(side, within=0.1).low[0]) < float(rate_ends(side).low[0])


def test_chance_adds_the_variance_of_a_poisson_count():
    """At 400 records and noise of 7 the deviation is the root of 49 + 400 + 2; where there are none, that of 51."""
    assert float(with_chance(per_resident(400, 1)).hits_off[0]) == pytest.approx(math.sqrt(451))
    assert float(with_chance(per_resident(-9, 1)).hits_off[0]) == pytest.approx(math.sqrt(51))


def test_chance_adds_as_much_more_as_one_person_may_have_records():
    """Three records a person: three times the variance, of intervals and of the test; taken from the contract."""
    three = [replace(side, rows=3.0) for side in (share(400, 100), share(300, 200))]
    assert float(with_chance(three[0]).hits_off[0]) == pytest.approx(math.sqrt(49 + 3 * 402))
    assert float(with_chance(three[0]).rest_off[0]) == pytest.approx(math.sqrt(49 + 3 * 102))
    one, other = alike_by_chance(*three)
    assert float(one.hits_off[0]) == pytest.approx(math.sqrt(49 + 3 * 351))
    assert float(other.rest_off[0]) == pytest.approx(math.sqrt(49 + 3 * 151))
    people = wanted(CONTRACTS["nominals"], "nominals", by="gender", outcome="role=suspect", reference="male")
    assert (people.rows, asked_for(by="ethnicity").rows) == (3, 1)
    found = exact(where="force = 'nottinghamshire'")
    asked = replace(found.asked, rows=3)
    apart = [
        each.process_high - each.process_low
        for each in (*found.comparisons, *disparity_of(found.answer, asked).comparisons)
    ]
    assert apart[4] > 1.5 * apart[0]
    assert any("people, each with up to 3 records in a force" in line for line in limits(replace(found, asked=asked)))
    assert any("Chance takes each record as independent; one operation" in line for line in limits(found))


def test_a_reference_that_may_be_nought_leaves_no_upper_end():
    """A rate that the noise does not tell from nought says how much higher another is at least; none is below nought."""
    low, high = (float(end[0]) for end in ratio_ends(per_resident(500, 10), per_resident(5, 10)))
    turned = float(ratio_ends(per_resident(5, 10), per_resident(500, 10)).high[0])
    assert (low, high) == (pytest.approx(1 / turned), math.inf)
    assert low > 500 / (5 + 14)
    assert [float(end[0]) for end in ratio_ends(per_resident(6, 10), per_resident(5, 10))] == [0.0, math.inf]
    assert float(ratio_ends(per_resident(-30, 10), per_resident(500, 10)).low[0]) == 0.0
    assert np.isnan(ratio(per_resident(5, 1), per_resident(0, 1)))


def test_adjustment_is_holms_and_benjamini_and_hochbergs():
    """The textbook values of four p-values; one comparison is left as it is."""
    p = array(0.01, 0.02, 0.03, 0.04)
    assert adjusted(p, Adjust.HOLM) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert adjusted(p, Adjust.FDR) == pytest.approx([0.04, 0.04, 0.04, 0.04])
    assert adjusted(p[:1], Adjust.HOLM) == pytest.approx([0.01])
    assert joint_reach(1) == pytest.approx(1.959964)
    assert joint_reach(168) == pytest.approx(3.6174, abs=1e-3)


# Answers


@cache
def exact(by_force=False, outcome=None, where="", absent=()):
    """The bundle's own disparity: an answer whose noise happens to be nought, with the deviations that it has."""
    asked = asked_for(by="ethnicity", by_force=by_force, outcome=outcome, where=where)
    plan = planned(asked, Fraction(1))
    return disparity_of(plan.answer(plan.exact, absent), asked)


def counted(condition="true", by=BY):
    """The bundle's records that a condition holds for, by group."""
    return dict(stops().execute(f"SELECT {by}, count(*) FROM stops WHERE {condition} GROUP BY ALL").fetchall())


def test_shares_are_those_of_the_records():
    """Arrests per 100 records and their ratios, against plain SQL over the bundle; unknown outcomes are no arrests."""
    found = exact(outcome="arrest")
    arrests, records = counted("outcome = 'arrest'"), counted()
    shares = {group: 100 * arrests[group] / records[group] for group in records}
    rates = {rate.group.lower(): rate for rate in found.rates}
    assert {group: rate.rate.estimate for group, rate in rates.items()} == pytest.approx(
        {group: value for group, value in shares.items() if group != "unknown"}
    )
    assert [each.ratio.estimate for each in found.comparisons] == pytest.approx(
        [shares[group] / shares["white"] for group in ("black", "asian", "mixed", "other")]
    )
    assert found.comparisons[0].difference.estimate == pytest.approx(shares["black"] - shares["white"])
    assert sum(rate.over for rate in found.rates) == sum(records.values()) - records["unknown"]


def test_records_of_unknown_groups_bound_each_ratio():
    """If all were White, and if all were of the group: what plain arithmetic says, per resident and per record."""
    found = exact(where="force = 'nottinghamshire'")
    counts = counted("force = 'nottinghamshire'")
    black = found.comparisons[0]
    times = found.rates[0].over / found.rates[1].over
    assert black.unknown_low == pytest.approx(counts["black"] / (counts["white"] + counts["unknown"]) * times)
    assert black.unknown_high == pytest.approx((counts["black"] + counts["unknown"]) / counts["white"] * times)
    assert found.unknown[0].share.estimate == pytest.approx(100 * counts["unknown"] / sum(counts.values()))
    shares = exact(outcome="arrest", where="force = 'nottinghamshire'").comparisons[0]
    assert shares.unknown_low < shares.ratio.estimate < shares.unknown_high


def test_forces_add_up_to_all_that_answered_and_absent_ones_are_named():
    """The last place is the sum of the others, with the noise of all; a force that did not answer is in neither."""
    found = exact(by_force=True, absent=("kent",))
    black = [rate for rate in found.rates if rate.group == "Black"]
    assert black[-1].force == ALL
    assert black[-1].records.estimate == pytest.approx(sum(rate.records.estimate for rate in black[:-1]))
    assert black[-1].over == sum(rate.over for rate in black[:-1])
    arm = black[0].records.high - black[0].records.estimate
    assert black[-1].records.high - black[-1].records.estimate == pytest.approx(arm * math.sqrt(len(black) - 1))
    assert "kent" not in {rate.force for rate in found.rates}
    assert found.absent == {"kent": "did not answer"}
    assert any("kent, btp, northern-ireland" in line for line in limits(found))


def test_a_group_that_a_force_never_records_is_no_finding():
    """Thames Valley's officers have no code for Mixed, West Midlands publishes no White: neither is a disparity."""
    found = exact(by_force=True)
    verdicts = {(each.force, each.group): each.verdict for each in found.comparisons}
    assert verdicts["thames-valley", "Mixed"] is Verdict.UNSEEN
    assert verdicts["west-midlands", "Asian"] is Verdict.UNSEEN
    assert verdicts["gwent", "Black"] is Verdict.UNCLEAR
    assert verdicts["thames-valley", "Black"] is Verdict.HIGHER
    assert not Verdict.UNSEEN.stands_out
    said = " ".join(limits(found))
    assert "how a force records groups may be behind those too" in said
    assert any(
        "of these findings rest on records that the noise does not tell from none" in line
        for line in conclusions(found)
    )
    assert "a matter of how a force records groups" in said
    assert "gwent 100 %, cambridgeshire 99 %, west-midlands 74 %" in said


def test_what_chance_may_make_is_told_from_what_stands_out():
    """Asian arrest shares differ by more than the noise and by less than chance: higher, perhaps by chance."""
    found = exact(outcome="arrest")
    verdicts = {each.group: each.verdict for each in found.comparisons}
    assert verdicts["Asian"] is Verdict.PERHAPS_HIGHER
    assert verdicts["Black"] is Verdict.HIGHER
    asian = next(each for each in found.comparisons if each.group == "Asian")
    assert asian.process_low < 1 < asian.ratio.low


def test_the_reading_says_what_can_and_cannot_be_concluded():
    """Times, interval and finding; how wrong the residents would have to be; why nothing is shown about causes."""
    found = exact(where="force = 'nottinghamshire'")
    first = conclusions(found)[0]
    assert first.startswith(
        "Black: 7.39 times the rate of White (95 %: 7.27 to 7.51 by the noise alone, 6.8 to 8.0 with chance): higher; for"
    )
    assert "at least 6.80 times what the census counted" in first
    said = " ".join(limits(found))
    for part in ("neither proves nor rules out", "census of 2011", "who is there to be met", "officer perceived"):
        assert part in said
    assert "mixes their rates" not in said, "of one force alone"
    assert any("protected: one stop and search record" in line for line in about(found))
    shares = " ".join(limits(exact(outcome="arrest")))
    assert "infra-marginality" in shares
    assert "census" not in shares


def test_the_sheet_the_table_and_the_dictionary_agree():
    """One row a rate with its comparison; JSON takes everything; people see the same figures."""
    found = exact(where="force = 'nottinghamshire'")
    sheet = sheet_of(found)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in sheet.rows]
    assert [row["finding"] for row in rows] == ["reference", "higher", "higher", "higher", "higher"]
    assert rows[1]["ratio"] == found.comparisons[0].ratio.estimate
    assert json.loads(json.dumps({**sheet.about}))["comparisons_made"] == 4
    assert json.loads(json.dumps(found.as_dict()))["comparisons"][0]["ratio"]["estimate"] == rows[1]["ratio"]
    table = frames.sheet_of(sheet.columns, sheet.rows, sheet.about)
    assert table.column("ratio").to_pylist() == [row["ratio"] for row in rows]
    text = str(compared_in(found.answer, found.asked))
    assert "7.39" in text
    assert "What they do not show" in text


def test_the_forest_draws_ratios_beside_one():
    """Under each group its forces and all together, with chance; what is no number on a logarithmic scale is left out."""
    forest = drawn(exact(by_force=True))
    assert forest.none == 1.0
    assert forest.ratio
    assert [name for name, _ in forest.groups] == ["Black", "Asian", "Mixed", "Other"]
    for _, effects in forest.groups:
        assert effects[-1].mark.label == ALL
        for effect in effects:
            assert effect.mark.is_absent or effect.mark.estimate > 0
            assert effect.mark.is_absent or effect.mark.low != 0
            assert effect.mark.is_absent == bool(effect.mark.note)
    black = {effect.mark.label: effect for effect in forest.groups[0][1]}
    assert black["thames-valley"].stands_out
    assert not black["gwent"].stands_out
    mixed = {effect.mark.label: effect for effect in forest.groups[2][1]}
    assert mixed["thames-valley"].mark.note == "hardly recorded"
    assert "share of records with Arrest" in drawn(exact(outcome="arrest")).captions.title
    kent = next(e for e in exact(by_force=True).comparisons if (e.force, e.group) == ("kent", "Black"))
    assert (black["kent"].mark.low, black["kent"].mark.high) == (kent.process_low, kent.process_high)
    assert "records per resident," in forest.captions.title


def test_an_answer_of_nobody_is_refused():
    """There is nothing to compare."""
    nobody = Answer({**exact().answer.document, "rows": []})
    with pytest.raises(Refused, match="no force answered"):
        disparity_of(nobody, exact().asked)


def test_an_answer_by_outcome_serves_any_one_outcome():
    """The same stored answer gives arrests and warnings, at no further cost."""
    arrests = exact(outcome="arrest")
    again = disparity_of(arrests.answer, asked_again(arrests.answer, by="ethnicity", outcome="summons"))
    summons, records = counted("outcome = 'summons'"), counted()
    assert again.rates[0].rate.estimate == pytest.approx(100 * summons["white"] / records["white"])


def test_an_answer_under_conditions_of_its_own_names_them():
    """In the picture, in the notes, and for programs."""
    kept = exact(where="force = 'nottinghamshire'")
    again = disparity_of(kept.answer, asked_again(kept.answer, by="ethnicity"))
    assert again.comparisons == kept.comparisons
    assert again.asked.left_out == ()
    assert "only where (force = 'nottinghamshire')" in drawn(again).captions.lines
    assert again.as_dict()["where"] == "(force = 'nottinghamshire')"
    assert "the earlier answer is about records for which (force = 'nottinghamshire') only" in about(again)


def test_records_of_forces_without_residents_have_a_reason_of_their_own():
    """A question that somebody typed, with transport police in it: not the noise, but residents, are what is missing."""
    columns = "COUNT(*) AS records, RESIDENTS() AS residents FROM stop_search"
    answer = _typed(f"SELECT {BY}, {columns} GROUP BY {BY}")
    together = disparity_of(answer, asked_again(answer, by="ethnicity"))
    answer = _typed(f"SELECT force, {BY}, {columns} GROUP BY force, {BY}")
    apart = disparity_of(answer, asked_again(answer, by="ethnicity", by_force=True))
    (said,) = conclusions(together)
    assert said == (
        "No group can be compared: nobody has counted residents of btp, northern-ireland, whose records are in the "
        "answer; ask where force NOT IN ('btp', 'northern-ireland')."
    )
    assert "residents not counted" in str(compared_in(together.answer, together.asked))
    assert conclusions(apart)[0].startswith("All that answered cannot be compared together: nobody has counted")
    assert {each.force for each in apart.comparisons}.isdisjoint({ALL, "btp", "northern-ireland"})
    assert any(each.verdict is Verdict.HIGHER for each in apart.comparisons)


def _typed(sql):
    """The exact answer to a statement that somebody typed."""
    plan = planned(SimpleNamespace(sql=sql), Fraction(1))
    return plan.answer(plan.exact)


def with_records(records, off, residents):
    """Nottinghamshire's answer with other records, noise and residents."""
    found = exact(where="force = 'nottinghamshire'")
    rows = [
        {
            "keys": [group], "note": "", "certainty": None,
            "values": [
                {"estimate": count, "low": count - REACH_95 * off, "high": count + REACH_95 * off, "raw": count},
                {"estimate": residents[group], "low": residents[group], "high": residents[group], "raw": residents[group]},
            ],
        }
        for group, count in records.items()
    ]  # fmt: skip
    return disparity_of(Answer({**found.answer.document, "rows": rows}), found.asked)


@pytest.mark.parametrize(
    ("records", "off", "residents", "verdict", "said"),
    [
        (
            {"White": 4000, "Mixed": 12},
            7,
            {"White": 1e6, "Mixed": 2e4},
            Verdict.LOWER,
            "lower; with fewer than 26 records of Mixed where White's rate would give 80, the ratio has no lower end",
        ),
        (
            {"White": 110, "Mixed": 2000},
            70,
            {"White": 3e4, "Mixed": 3e4},
            Verdict.HIGHER,
            "higher; with fewer than 248 records of White where Mixed's rate would give 2,000, the ratio has no upper end",
        ),
        (
            {"White": 4000, "Mixed": 1},
            1,
            {"White": 1e6, "Mixed": 2e4},
            Verdict.UNSEEN,
            "Mixed: lower, with fewer than 3 records of Mixed where White's rate would give 80; so few say more of how",
        ),
    ],
)
def test_few_records_are_told_from_none_recorded(records, off, residents, verdict, said):
    """A direction always; that groups are not recorded only where hardly any can be there."""
    found = with_records(records, off, residents)
    assert [each.verdict for each in found.comparisons] == [verdict]
    assert said in conclusions(found)[0]
    few = "" if verdict is Verdict.UNSEEN else ", few records"
    assert sheet_of(found).rows[-1][-1] == f"{verdict.value}{few}"
    (_, effects), *_ = drawn(found).groups
    assert effects[0].mark.is_absent == (verdict is Verdict.UNSEEN)


def test_a_ratio_that_noise_has_made_negative_is_not_drawn_but_said():
    """The reference's count is below nought: its interval has an end, and there is no estimate."""
    found = with_records({"White": -20, "Mixed": 900}, 70, {"White": 3e4, "Mixed": 3e4})
    assert math.isnan(found.comparisons[0].ratio.estimate)
    assert conclusions(found)[0].startswith("Mixed: at least 7.60 times the rate of White")
    (_, effects), *_ = drawn(found).groups
    assert effects[0].mark.note.startswith("higher: from ")


def test_tipping_is_told_by_the_census_whatever_residents_are_allowed_to_be():
    """What residents would have to be is not measured from residents that are off already."""
    found = exact(where="force = 'nottinghamshire'")
    allowed = disparity_of(found.answer, found.asked, within=0.1)
    assert allowed.comparisons[0].process_low < 0.9 * found.comparisons[0].process_low
    assert [each.tipping for each in allowed.comparisons] == [each.tipping for each in found.comparisons]


@pytest.mark.parametrize(
    ("force", "group", "said"),
    [
        (
            "thames-valley",
            "Mixed",
            "; so few say more of how groups are recorded",
        ),
        ("gwent", "Black", "cannot be told apart; the noise does not tell White's rate from nought."),
        ("kent", "Asian", "with chance): higher in these records, by no more than chance may make of one year."),
        ("merseyside", "Asian", "times the rate of White (95 %: 0.68 to 0.72 by the noise alone"),
    ],
)
def test_one_force_is_read_by_what_its_records_allow(force, group, said):
    """No records, nothing to be told, and a rate that is lower, each in a sentence of its own."""
    lines = conclusions(exact(where=f"force = '{force}'"))
    assert any(line.startswith(f"{group}: ") and said in line for line in lines), lines
