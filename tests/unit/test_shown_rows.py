"""What a person is shown of an opened answer: order, HAVING, labels, certainty, and what cannot be foreseen before."""

import json
import math
from fractions import Fraction

import pytest
from examples import PERSON_CONTRACT, person_contract
from pydantic import ValidationError

from cordon.analyst.compose import cost_of_half_width, plan_statement
from cordon.analyst.document import _Value
from cordon.analyst.explain import facts_of
from cordon.analyst.forecast import expected, outlook, widest
from cordon.analyst.render import too_noisy
from cordon.analyst.rows import make_rows
from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.errors import QuestionRefused
from cordon.manifest import read_manifest
from cordon.query.sql import parse_sql
from cordon.units import Rho, exact_text
from demo.layout import Design, lay_out

FORCES = ("essex", "kent", "norfolk", "suffolk", "surrey")
RHO = Rho(500_000_000)
PERSONS = person_contract()
STOPS = next(c for c in map(Contract.from_toml, bundled_contracts()) if c.dataset == "stop_search")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Five forces, one tolerated colluder."""
    layout = lay_out(tmp_path_factory.mktemp("federation") / "root", Design(forces=FORCES, colluders=1))
    return read_manifest(layout.root / "manifest.json", layout.governance_keys)[0]


def planned(sql, manifest, contract=PERSONS, weights=(), rho=RHO):
    """A statement and its plan."""
    statement = parse_sql(sql, {contract.dataset: contract}, FORCES)
    return statement, plan_statement(statement, rho, contract, manifest, weights)


def rows(sql, cells, manifest, contract=PERSONS):
    """Rows and notes of an answer that opened to these cells, in the measures' integer units."""
    statement, plan = planned(sql, manifest, contract)
    opened = [cells[at] * block.scale for block in plan.blocks for at in range(block.start, block.start + block.cells)]
    return make_rows(opened, statement, plan, contract, answered=FORCES, absent=lambda _: "absent")


def keys(sql, cells, manifest, contract=PERSONS):
    """The keys of its rows."""
    return [row.keys for row in rows(sql, cells, manifest, contract)[0]]


BY_ROLE = "SELECT role, COUNT(*) AS n FROM persons GROUP BY role"


@pytest.mark.parametrize(
    ("having", "kept"),
    [
        ("COUNT(*) > 150", ["Suspect", "Victim"]),
        ("NOT COUNT(*) > 150", ["Unknown"]),
        ("COUNT(*) BETWEEN 150 AND 250", ["Suspect"]),
        ("COUNT(*) < 150 OR n > 250", ["Victim", "Unknown"]),
        ("NOT (COUNT(*) < 150 OR n > 250)", ["Suspect"]),
        ("100 <> COUNT(*)", ["Suspect", "Victim"]),
    ],
)
def test_having_keeps_rows_by_their_noised_values(manifest, having, kept):
    """Comparisons, AND, OR and NOT over what was opened."""
    found = keys(f"{BY_ROLE} HAVING {having}", [200, 300, 100], manifest)
    assert [key for (key,) in found] == kept


@pytest.mark.parametrize("having", ["AVG(loss) > 5", "NOT AVG(loss) > 5", "AVG(loss) <> 5", "NOT AVG(loss) = 5"])
def test_what_has_no_value_meets_no_condition_and_not_its_opposite(manifest, having):
    """An average over no rows is neither above nor not above anything, as NULL in SQL."""
    sql = f"SELECT role, AVG(loss) FROM persons GROUP BY role HAVING {having}"
    statement, plan = planned(sql, manifest)
    kinds = [measure.kind.name for measure in statement.question.measures]
    by_kind = {"COUNT": [0, 1000, 1000], "SUM": [0, 0, 0]}
    opened = [cell * block.scale for block in plan.blocks for cell in by_kind[block.measure.kind.name]]
    found, _ = make_rows(opened, statement, plan, PERSONS, answered=FORCES, absent=lambda _: "")
    assert sorted(kinds) == ["COUNT", "SUM"]
    assert "Suspect" not in [row.keys[0] for row in found]


def test_how_many_rows_may_stand_on_the_wrong_side_is_said(manifest):
    """A count of the threshold itself may as well be below it; far ones are not counted."""
    _, notes = rows(f"{BY_ROLE} HAVING COUNT(*) >= 200", [200, 30_000, 1], manifest)
    assert any("HAVING: noise may well have put 1 rows on the wrong side" in note for note in notes)


def test_a_condition_over_residents_alone_is_read(manifest):
    """RESIDENTS() is public; a condition on it needs no measure and no noise."""
    sql = "SELECT force, COUNT(*) FROM stop_search GROUP BY force HAVING RESIDENTS() > 1000000"
    found = keys(sql, [1, 2, 3, 4, 5], manifest, STOPS)
    assert found == [("essex",), ("kent",), ("surrey",)]


def test_bins_are_ordered_as_numbers_and_totals_stand_last(manifest):
    """Also below zero, and in either direction."""
    sql = "SELECT BIN(loss, 10) AS b, COUNT(*) FROM persons GROUP BY ROLLUP (BIN(loss, 10)) ORDER BY b"
    up = [key for (key,) in keys(sql, [100] * 7 + [700], manifest)]
    assert up == ["-10 to -0.5", "0 to 9.5", "10 to 19.5", "20 to 29.5", "30 to 39.5", "40 to 49.5", "50", None]
    down = [key for (key,) in keys(f"{sql} DESC", [100] * 7 + [700], manifest)]
    assert down == [*up[-2::-1], None]


def test_bins_of_many_digits_keep_them():
    """Two bins never have one name."""
    assert exact_text(Fraction(1_234_561)) == "1234561"
    assert [exact_text(Fraction(text)) for text in ("1/2", "-1/4", "1/3", "-3")] == ["0.5", "-0.25", "1/3", "-3"]
    assert exact_text(Fraction(1, 1000)) == "0.001"


def test_places_of_an_ordered_answer_state_how_sure_they_are(manifest):
    """Two counts alike may each be the first; one that is far away stands where it stands."""
    found, _ = rows(f"{BY_ROLE} ORDER BY n DESC", [500, 500, 100], manifest)
    assert [row.certainty for row in found[:2]] == pytest.approx([0.5, 0.5], abs=0.05)
    assert found[2].certainty == 1


def test_rows_without_a_value_have_no_certainty(manifest):
    """What cannot be compared has no place that could be right."""
    sql = "SELECT role, AVG(loss) AS mean FROM persons GROUP BY role ORDER BY mean"
    statement, plan = planned(sql, manifest)
    by_kind = {"COUNT": [0, 900, 900], "SUM": [0, 300, 600]}
    opened = [cell * block.scale for block in plan.blocks for cell in by_kind[block.measure.kind.name]]
    found, _ = make_rows(opened, statement, plan, PERSONS, answered=FORCES, absent=lambda _: "")
    assert math.isnan(found[-1].values[0].value)
    assert [row.certainty is None for row in found] == [False, False, True]
    assert statement.order


# Before anything is asked


def test_the_forecast_of_a_count_is_its_interval(manifest):
    """Known to the digit: the noise does not depend on records."""
    statement, plan = planned("SELECT COUNT(*) FROM persons", manifest)
    (found,) = expected(statement, plan, PERSONS, rows=1000)
    (row,), _ = rows("SELECT COUNT(*) FROM persons", [1000], manifest)
    assert found.exact
    assert found.half_width == pytest.approx((row.values[0].high - row.values[0].low) / 2)
    assert found.readable_from == math.floor(2 * found.half_width) + 1


def test_rates_are_forecast_with_the_residents_that_they_are_divided_by(manifest):
    """The half-width of a rate is that of its count, divided by the residents of the forces asked."""
    statement, plan = planned("SELECT PER_1000(COUNT(*)), COUNT(*) FROM stop_search", manifest, STOPS)
    rate, count = expected(statement, plan, STOPS, rows=1000)
    residents = 1_724_950 + 1_727_665 + 857_888 + 728_163 + 1_132_390
    assert rate.half_width == pytest.approx(1000 * count.half_width / residents)


ODDS = "(COUNT_IF(role = 'victim') - COUNT_IF(role = 'suspect')) / (COUNT_IF(loss > 1) - COUNT_IF(loss > 2))"


def test_differences_of_counts_are_not_taken_for_zero(manifest):
    """The imagined cell has another number of rows behind each filter, so that odds have a forecast."""
    statement, plan = planned(f"SELECT {ODDS} FROM persons", manifest)
    assert math.isfinite(widest(statement, plan, PERSONS, rows=None))


def test_what_cannot_be_foreseen_is_said_and_never_bought(manifest):
    """A denominator that is always zero: no half-width, no number of rows, and --within refuses."""
    statement, plan = planned("SELECT COUNT(*), COUNT(*) / (COUNT(*) - COUNT(*)) FROM persons", manifest)
    found = expected(statement, plan, PERSONS, rows=1000)[1]
    assert not math.isfinite(found.half_width)
    assert (found.exact, found.readable_from) == (False, None)
    with pytest.raises(QuestionRefused, match="cannot be foreseen") as refusal:
        cost_of_half_width(Fraction(5), lambda _: widest(statement, plan, PERSONS, rows=None), 1, manifest, None)
    assert "--epsilon" in refusal.value.hint


def test_what_would_be_too_noisy_is_named_with_something_coarser(manifest):
    """Of 1,095 cells by day most are too noisy for 20,000 rows; by month, or without a key, fewer are."""
    statement, plan = planned("SELECT day, role, COUNT(*) FROM persons GROUP BY day, role", manifest)
    (found,) = outlook(statement, plan, PERSONS, total=20_000)
    assert found.noisy > 0.5
    assert "group by month" in found.suggestions
    assert "leave out day" in found.suggestions
    assert outlook(statement, plan, PERSONS, total=10**9)[0].suggestions == ()


def test_explain_says_blocks_shares_and_columns(manifest):
    """Shares add up to the whole, and what is printed as JSON is JSON."""

    class Known:
        """What explain reads of a federation."""

        paused = frozenset()

    Known.manifest = manifest
    sql = "SELECT role, AVG(loss), COUNT(*) FROM persons GROUP BY ROLLUP (role)"
    statement, plan = planned(sql, manifest, weights=(3, 1))
    cost = type("Cost", (), {"rho": RHO, "attempts": 1})()
    facts = facts_of(statement, plan, cost, PERSONS, Known(), rows=3000)
    assert sum(block["share"] for block in facts["blocks"]) == pytest.approx(1)
    assert [column["by"] if "by" in column else column["keys"] for column in facts["columns"]] == [
        ("role",), ("role",), (), (),
    ]  # fmt: skip
    assert json.loads(json.dumps(facts, allow_nan=False))


@pytest.mark.parametrize("weights", [(1e308, 1e308), (1e-300, 1.0)])
def test_weights_of_any_size_are_relative(manifest, weights):
    """Only their proportion counts."""
    _, plan = planned("SELECT COUNT(*), SUM(loss) FROM persons", manifest, weights=weights)
    assert sum(block.rho.nano for block in plan.blocks) == RHO.nano - 1


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, math.inf)])
def test_weights_that_do_not_fit_the_columns_are_refused(manifest, weights):
    """One number above zero for each column of estimates."""
    with pytest.raises(QuestionRefused, match="each of the 2 columns"):
        planned("SELECT COUNT(*), SUM(loss) FROM persons", manifest, weights=weights)


# What somebody else has published


@pytest.mark.parametrize(
    "value",
    [
        {"estimate": 1.0, "low": 10.0, "high": 5.0},
        {"estimate": 1.0, "low": -1.7e308, "high": 1.7e308},
        {"estimate": 1e300, "low": None, "high": None},
    ],
)
def test_figures_that_no_answer_has_are_no_answer(value):
    """An interval that ends before it begins, or beyond all counting, never reaches a terminal."""
    with pytest.raises(ValidationError):
        _Value.model_validate(value)


def test_what_has_no_end_is_too_noisy():
    """Also where the estimate is missing."""
    assert too_noisy({"estimate": 5.0, "low": None, "high": 6.0})
    assert too_noisy({"estimate": None, "low": 1.0, "high": 2.0})
    assert not too_noisy({"estimate": 5.0, "low": 4.0, "high": 6.0})


def test_a_contract_in_steps_of_ten_names_its_bins_within_its_bounds(manifest):
    """The last bin ends where the contract does."""
    contract = Contract.from_toml(PERSON_CONTRACT.replace(b'resolution = "1/2"', b'resolution = "10"'))
    sql = "SELECT BIN(loss, 20), COUNT(*) FROM persons GROUP BY BIN(loss, 20)"
    assert keys(sql, [1, 2, 3, 4], manifest, contract) == [("-10",), ("0 to 10",), ("20 to 30",), ("40 to 50",)]
