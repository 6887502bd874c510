"""What an analyst types, and what comes back, over real processes."""

from __future__ import annotations

import csv
import io
import json

import pytest
from live import (
    FORCES,
    NO_CRIMES,
    NO_STOPS,
    ONE_PURPOSE,
    PURPOSE,
    Asking,
    Live,
    call_cordon,
    run_cordon,
    sigmas_off,
    wait_until,
)

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract

pytestmark = pytest.mark.xdist_group("federation")

MOST_SIGMAS = 6
HOLD_STOPS = sorted(set(FORCES) - {NO_STOPS})
HOLD_CRIMES = sorted(set(FORCES) - {NO_CRIMES})


def labels(dataset: str, column: str) -> dict[str, str]:
    """Labels of a category's codes, by the position that a snapshot stores."""
    contracts = {c.dataset: c for c in (Contract.from_toml(payload) for payload in bundled_contracts())}
    codes = contracts[dataset].column(column).codes
    return {str(at): code.label for at, code in enumerate(codes)}


def position(dataset: str, column: str, code: str) -> int:
    """The position that a snapshot stores for a code."""
    contracts = {c.dataset: c for c in (Contract.from_toml(payload) for payload in bundled_contracts())}
    return contracts[dataset].column(column).positions[code]


def test_a_national_count_is_close_to_the_truth_and_says_who_is_in_it(live: Live) -> None:
    """A count is within six sigma, and names its unit, who answered, and who declined with which reason."""
    answer = live.ask("SELECT COUNT(*) FROM stop_search")
    assert answer["answered"] == HOLD_STOPS
    assert [(item["force"], item["code"]) for item in answer["declined"]] == [(NO_STOPS, "not held")]
    assert answer["did_not_answer"] == answer["lost"] == []
    assert answer["protected_unit"] == "one stop and search record"
    true = sum(live.true(HOLD_STOPS, "stop_search", "count(*)").values())
    assert sigmas_off(answer["rows"][0]["values"][0], true) < MOST_SIGMAS
    assert all(live.charges(force, answer["query"]) == [1] for force in HOLD_STOPS)
    assert live.charges(NO_STOPS, answer["query"]) == []


def test_where_and_group_by_count_what_they_say(live: Live) -> None:
    """Each line of a filtered table is within six sigma of the same filter over the records."""
    answer = live.ask("SELECT object, COUNT(*) FROM stop_search WHERE gender = 'male' GROUP BY object")
    male = position("stop_search", "gender", "male")
    true = live.true(HOLD_STOPS, "stop_search", "count(*)", f"gender = {male}", "object")
    expected = {label: true.get(at, 0) for at, label in labels("stop_search", "object").items()}
    assert {row["keys"][0] for row in answer["rows"]} == set(expected)
    for row in answer["rows"]:
        assert sigmas_off(row["values"][0], expected[row["keys"][0]]) < MOST_SIGMAS


def test_a_table_by_month_of_one_civil_year_has_every_month(live: Live) -> None:
    """GROUP BY MONTH(date) gives twelve months, and each is within six sigma of the records' dates."""
    answer = live.ask("SELECT MONTH(date), COUNT(*) FROM stop_search GROUP BY MONTH(date)")
    rows = {row["keys"][0]: row["values"][0] for row in answer["rows"]}
    assert list(rows) == [f"2019-{month:02}" for month in range(4, 13)] + ["2020-01", "2020-02", "2020-03"]
    total = sum(value["estimate"] for value in rows.values())
    dated = live.true(HOLD_STOPS, "stop_search", "count(*) FILTER (date IS NOT NULL)")
    sigma_of_one = max((value["high"] - value["low"]) / 4 for value in rows.values())
    assert abs(total - sum(dated.values())) < MOST_SIGMAS * sigma_of_one * len(rows) ** 0.5


def test_each_force_fills_its_own_line_and_a_missing_one_says_why(live: Live) -> None:
    """GROUP BY force shows each answering force's own value, and a note without a value for any other."""
    answer = live.ask("SELECT force, COUNT(*) AS crimes FROM street_crime GROUP BY force ORDER BY crimes DESC LIMIT 5")
    values = [row["values"][0]["estimate"] for row in answer["rows"] if row["values"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == len(HOLD_CRIMES)
    for row in answer["rows"]:
        (force,) = row["keys"]
        if force == NO_CRIMES:
            assert (row["values"], row["note"]) == ([], "declined: not held")
        else:
            true = live.true([force], "street_crime", "count(*)")
            assert sigmas_off(row["values"][0], sum(true.values())) < MOST_SIGMAS


def test_distinct_persons_and_sums_of_money_are_close_to_the_bounded_records(live: Live) -> None:
    """COUNT(DISTINCT person) and SUM(loss_gbp) are within six sigma of the bounded records, and say the unit."""
    answer = live.ask("SELECT COUNT(DISTINCT person) AS persons, SUM(loss_gbp) AS loss FROM nominals")
    assert answer["protected_unit"] == "one person's records in one force"
    persons, loss = answer["rows"][0]["values"]
    forces = answer["answered"]
    assert forces == sorted(FORCES)
    true = live.true(forces, "nominals", "count(DISTINCT unit_)")
    assert sigmas_off(persons, sum(true.values())) < MOST_SIGMAS
    true = live.true(forces, "nominals", "sum(loss_gbp)")
    assert sigmas_off(loss, sum(true.values())) < MOST_SIGMAS


def test_order_and_limit_keep_the_largest_lines(live: Live) -> None:
    """ORDER BY … DESC LIMIT 2 keeps two lines in falling order."""
    sql = "SELECT crime_type, COUNT(*) AS n FROM street_crime GROUP BY crime_type ORDER BY n DESC LIMIT 2"
    rows = live.ask(sql)["rows"]
    assert len(rows) == 2
    assert rows[0]["values"][0]["estimate"] >= rows[1]["values"][0]["estimate"]


def test_an_asked_half_width_is_met_and_contributions_are_added_again(live: Live) -> None:
    """--within 60 gives an interval no wider than that if all answer, and --re-add says that it was done."""
    sql = "SELECT COUNT(*) FROM nominals"
    answer = live.ask(sql, "--within", "60", "--attempts", "1", "--re-add", epsilon=None)
    value = answer["rows"][0]["values"][0]
    assert (value["high"] - value["low"]) / 2 <= 60
    assert "contributions added again" in answer["checked"]


def test_a_table_goes_to_standard_output_and_csv_leaves_notes_to_standard_error(live: Live) -> None:
    """A table prints rows and notes on standard output; CSV prints rows only there, and notes beside it."""
    sql = "SELECT crime_type, COUNT(*) AS n FROM street_crime GROUP BY crime_type"
    table = run_cordon("query", sql, "--epsilon", "1", "--purpose", PURPOSE, *live.profile)
    assert table.code == 0, table.err
    assert "sending the question" not in table.out
    assert "protected: one recorded crime or incident" in table.out
    assert f"answered ({len(HOLD_CRIMES)}): {', '.join(HOLD_CRIMES)}" in table.out
    assert f"declined, not held (1): {NO_CRIMES}" in table.out
    found = next(line for line in table.out.splitlines() if line.startswith("query "))
    again = run_cordon("follow", found.split()[1], "--format", "csv", *live.profile)
    assert again.code == 0, again.err
    rows = list(csv.reader(io.StringIO(again.out)))
    assert rows[0] == ["crime_type", "n", "n low", "n high", "note"]
    assert len(rows) == 1 + len(labels("street_crime", "crime_type"))
    assert "protected: " in again.err
    assert "protected: " not in again.out


def test_an_opened_answer_is_shown_again_without_any_charge(live: Live) -> None:
    """Following an opened query prints the same answer and charges nobody."""
    answer = live.ask("SELECT COUNT(*) FROM street_crime", epsilon="1/4")
    before = live.charged()
    again = live.cordon("follow", answer["query"][:16], "--format", "json")
    assert (again.code, json.loads(again.out)) == (0, answer)
    assert live.charged() == before


def test_explain_tells_the_cost_and_nobody_hears_of_it(live: Live) -> None:
    """Explain prints unit, cells and expected error; the coordinator's store has no new query."""
    before = live.store("SELECT count(*) FROM query")
    sql = "SELECT object, COUNT(*) FROM stop_search GROUP BY object"
    done = live.cordon("explain", sql, "--epsilon", "1", "--format", "json")
    facts = json.loads(done.out)
    assert (done.code, facts["protected unit"], facts["forces asked"]) == (0, "one stop and search record", len(FORCES))
    (block,), (column,) = facts["blocks"], facts["columns"]
    assert (block["measure"], block["cells"], block["share"]) == ("COUNT(*)", facts["cells"], 1)
    assert column["exact"]
    assert column["half_width"] == pytest.approx(1.96 * block["sigma"], rel=1e-3)
    assert "times as wide" in facts["a trusted central curator"]
    assert live.store("SELECT count(*) FROM query") == before


def test_datasets_lists_columns_codes_and_holders(live: Live) -> None:
    """Datasets says who holds what, and one data set's columns with their codes."""
    listed = json.loads(live.cordon("datasets", "--format", "json").out)
    assert listed["stop_search"]["held_by"] == HOLD_STOPS
    assert listed["street_crime"]["held_by"] == HOLD_CRIMES
    table = live.cordon("datasets", "stop_search")
    assert (table.code, table.err) == (0, "")
    assert "self_defined_ethnicity" in table.out


def test_a_policy_declines_with_its_public_text_and_charges_nothing(live: Live) -> None:
    """A force that does not answer for a purpose says so, and the others answer without it."""
    answer = Asking(live, "SELECT COUNT(*) FROM street_crime", purpose="research").ended()
    text = {item["force"]: item["text"] for item in answer["declined"]}[ONE_PURPOSE]
    assert text == "this force does not answer for the purpose research"
    assert ONE_PURPOSE not in answer["answered"]
    assert live.charges(ONE_PURPOSE, answer["query"]) == []


def test_pause_declines_and_resume_answers_again(live: Live) -> None:
    """A paused force declines as `paused`, is charged nothing, and answers after `resume`."""

    def seen_paused() -> bool:
        with live.client() as client:
            federation = client.federation()
        return "cumbria" in federation.paused if "cumbria" in federation.holdings else False

    assert live.node("pause", "cumbria").code == 0
    wait_until("analysts see that cumbria is paused", seen_paused)
    answer = Asking(live, "SELECT COUNT(*) FROM street_crime").ended()
    assert ("cumbria", "paused") in {(item["force"], item["code"]) for item in answer["declined"]}
    assert live.charges("cumbria", answer["query"]) == []
    assert live.node("resume", "cumbria").code == 0
    wait_until("cumbria has said that it goes on", lambda: "cumbria" in live.connected() and not seen_paused())
    assert "cumbria" in Asking(live, "SELECT COUNT(*) FROM street_crime").ended()["answered"]


def test_history_tells_a_force_what_it_was_asked_and_charged(live: Live) -> None:
    """History lists a query with its analyst, purpose, question and decision."""
    answer = Asking(live, "SELECT COUNT(*) FROM street_crime WHERE crime_type = 'robbery'").ended()
    done = live.node("history", "cumbria")
    line = next(line for line in done.out.splitlines() if answer["query"][:12] in line)
    assert all(word in line for word in ("alice", PURPOSE, "robbery", "admitted"))
    declined = live.node("history", NO_CRIMES)
    line = next(line for line in declined.out.splitlines() if answer["query"][:12] in line)
    assert "not held" in line


def test_a_spent_budget_is_refused_and_nothing_is_charged(live: Live) -> None:
    """A question above every force's yearly budget ends refused, with exit 3, and no ledger grows."""
    before = live.charged()
    sql = "SELECT COUNT(*) FROM nominals"
    done = run_cordon("query", sql, "--epsilon", "4", "--attempts", "1", "--purpose", PURPOSE, *live.profile)
    assert done.code == 3
    assert "5 declined, budget" in done.err
    assert "nothing was charged" in done.err
    assert done.out == ""
    assert live.charged() == before


MISTAKES = [
    (2, ["qeury"], "there is no command"),
    (2, ["query", "SELECT COUNT(*) FROM stop_search", "--no-such-option"], "No such option"),
    (3, ["explain", "SELECT COUNT(*) FROM stop_serch", "--epsilon", "1"], "there is no data set"),
    (3, ["explain", "DROP TABLE stop_search", "--epsilon", "1"], "error: "),
    (3, ["explain", "SELECT COUNT(*) FROM stop_search"], "say how exact"),
    (3, ["publish", "ffffffffffff"], "begins with"),
    (3, ["releases", "ffffffffffff"], "no published answer"),
    (3, ["query", "SELECT COUNT(*) FROM stop_search", "--epsilon", "1", "--purpose", "gossip"], "purpose"),
    (3, ["query", "SELECT COUNT(*) FROM stop_search", "--epsilon", "500", "--purpose", PURPOSE], "epsilon"),
    (3, ["datasets", "nothing"], "there is no data set"),
    (2, ["query", "SELECT COUNT(*) FROM stop_search", "--epsilon", "1"], "say why you ask; the federation lists"),
    (3, ["explain", "SELECT * FROM stop_search", "--epsilon", "1"], "error: "),
    (3, ["explain", "SELECT COUNT(*) FROM stop_search WHERE object = 'drgs'", "--epsilon", "1"], "has no code"),
    (3, ["explain", "SELECT COUNT(*) FROM stop_search", "--epsilon", "zero"], "takes a number above zero"),
    (3, ["explain", "SELECT COUNT(*) FROM stop_search", "--epsilon", "1", "--purpose", "gossip"], "no purpose"),
    (3, ["follow", "ffffffffffff"], "begins with"),
]
CASES = [pytest.param(*case, id=" ".join(case[1])[:40]) for case in MISTAKES]


@pytest.mark.parametrize(("code", "arguments", "words"), CASES)
def test_a_mistake_is_named_with_its_exit_code_and_no_traceback(
    live: Live, code: int, arguments: list[str], words: str
) -> None:
    """A wrong command exits with 2, a refused one with 3; neither prints a traceback or anything as an answer."""
    options = live.profile if arguments[0] != "qeury" else ()
    done = call_cordon(*arguments, *options)
    assert (done.code, done.out) == (code, ""), done.err
    assert words.lower() in done.err.lower()
    assert "Traceback" not in done.err
