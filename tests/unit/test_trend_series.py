"""From options to a statement, and from an answer to series: what is asked, and which months can be compared."""

from __future__ import annotations

import math

import pytest
from trends import START, document

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.errors import CordonError, Refused
from cordon.query.sql import Versions, parse_sql
from cordon.workbench.trend.finding import find
from cordon.workbench.trend.periods import Grain, grain_of, label_of, months_of, number_of
from cordon.workbench.trend.reading import cautions
from cordon.workbench.trend.series import left_out, read_panel, spans
from cordon.workbench.trend.statement import Wanted, counts_rows, statement_of

CONTRACTS = [Contract.from_toml(payload) for payload in bundled_contracts()]
STOPS = next(contract for contract in CONTRACTS if contract.dataset == "stop_search")
PERSONS = next(contract for contract in CONTRACTS if (contract.dataset, contract.version) == ("nominals", 2))
FORCES = ["kent", "surrey", "essex"]


@pytest.mark.parametrize(
    ("wanted", "contract", "sql"),
    [
        (
            Wanted("stop_search", by="object"),
            STOPS,
            "SELECT MONTH(month) AS period, object, COUNT(*) AS records FROM stop_search GROUP BY MONTH(month), object",
        ),
        (
            Wanted("stop_search", by="force", grain=Grain.QUARTER, date="date", since="2019-Q3", until="2019-Q4"),
            STOPS,
            (
                "SELECT QUARTER(date) AS period, force, COUNT(*) AS records FROM stop_search "
                "WHERE date >= '2019-07' AND date <= '2019-12' GROUP BY QUARTER(date), force"
            ),
        ),
        (
            Wanted(
                "nominals.v2", by="BIN(age, 20)", measure="COUNT(DISTINCT person)", where="role = 'suspect' OR age < 9"
            ),
            PERSONS,
            (
                "SELECT MONTH(recorded) AS period, BIN(age, 20), COUNT(DISTINCT person) FROM nominals.v2 "
                "WHERE (role = 'suspect' OR age < 9) GROUP BY MONTH(recorded), BIN(age, 20)"
            ),
        ),
        (
            Wanted("stop_search", where="force <> 'kent' AND type <> 'unknown'", since="2019-05"),
            STOPS,
            (
                "SELECT MONTH(month) AS period, COUNT(*) AS records FROM stop_search "
                "WHERE (force <> 'kent' AND type <> 'unknown') AND month >= '2019-05' GROUP BY MONTH(month)"
            ),
        ),
    ],
)
def test_options_become_one_statement_that_can_be_asked(wanted, contract, sql):
    """A trend is one ordinary SELECT by month or quarter, and at most one column beside it."""
    assert statement_of(wanted, contract) == sql
    statement = parse_sql(sql, Versions.of(CONTRACTS), FORCES)
    assert counts_rows(statement, statement.outputs[-1].name)
    assert statement.question.forces == tuple(sorted(set(FORCES) - ({"kent"} if "kent" in sql else set())))


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        (Wanted("stop_search", by="ethnicity"), "no column 'ethnicity'", "did you mean self_defined_ethnicity?"),
        (Wanted("stop_search", by="month"), "month is no category", "by time already"),
        (Wanted("nominals", by="age"), "age is no category", "BIN(age, 10)"),
        (Wanted("stop_search", date="day"), "no date 'day'", "there are: month, date"),
        (Wanted("stop_search", since="April"), "'April' is no month", "2019-04"),
        (Wanted("stop_search", where="1 = 1; DROP"), "no part of one SELECT", "without ;"),
        (Wanted("stop_search", measure="COUNT(*) -- x"), "no part of one SELECT", "comments"),
    ],
)
def test_an_option_that_names_nothing_is_refused_with_what_was_meant(wanted, message, hint):
    """What is wrong is said before anything is asked."""
    contract = PERSONS if wanted.dataset == "nominals" else STOPS
    with pytest.raises(CordonError) as refused:
        statement_of(wanted, contract)
    assert message in str(refused.value)
    assert hint in refused.value.hint


def test_only_counts_vary_as_counts():
    """An average has noise, and no variance of a Poisson number beside it."""
    sql = "SELECT MONTH(recorded) AS period, AVG(age), COUNT(*) AS n FROM nominals.v2 GROUP BY MONTH(recorded)"
    statement = parse_sql(sql, Versions.of(CONTRACTS), FORCES)
    assert [counts_rows(statement, output.name) for output in statement.outputs[1:]] == [False, True]


def test_periods_count_on_and_back():
    """Months and quarters are numbers in order, and their labels come back."""
    assert number_of("2020-01") - number_of("2019-12") == 1
    assert number_of("2020-Q1") - number_of("2019-Q4") == 1
    assert [label_of(number_of(label), grain_of(label)) for label in ("2019-04", "2020-Q4")] == ["2019-04", "2020-Q4"]
    assert months_of(number_of("2019-Q2"), Grain.QUARTER) == ("2019-04", "2019-06")
    assert grain_of("Drugs") is None
    assert spans([START, START + 1, START + 3], Grain.MONTH) == "2019-04 to 2019-05, 2019-07"


def test_a_month_that_a_force_does_not_cover_is_no_fall():
    """A force whose records end early takes its share away; the months are named and compared with nothing."""
    level = [1000.0 + (-1) ** at for at in range(33)] + [500.0, 501.0, 499.0]
    early = {"kent": ("2019-04", "2024-03"), "surrey": ("2019-04", "2021-12")}
    covered = find(read_panel(document({"red": level}, 5.0, vintages=early)), counts=True)
    (red,) = covered.groups
    assert not red.steps
    assert not red.drift.stands_out
    assert not red.year_before.tested.stands_out
    assert [point.missing for point in red.points[-4:]] == [(), ("surrey",), ("surrey",), ("surrey",)]
    assert any("2022-01 to 2022-03: not wholly covered by surrey" in caution for caution in cautions(covered))
    assert (
        list(left_out(read_panel(document({"red": level}, 5.0, vintages=early)).groups).values()) == [("surrey",)] * 3
    )

    # Believed to be whole, the same figures are a fall.
    (fallen,) = find(read_panel(document({"red": level}, 5.0)), counts=True).groups
    assert [step.at for step in fallen.steps] == ["2022-01"]
    assert fallen.year_before.tested.stands_out


def test_a_force_by_itself_lacks_only_its_own_months():
    """By force, each series is judged by its own force's months; what a force has not declared is said."""
    answer = document(
        {"kent": [100.0] * 12, "surrey": [100.0] * 12}, 1.0, by="force", vintages={"surrey": ("2019-07", "2020-03")}
    )
    panel = read_panel(answer)
    kent, surrey = panel.groups
    assert all(place.is_usable for place in kent.places)
    assert [place.number - START for place in surrey.places if not place.is_usable] == [0, 1, 2]
    assert panel.undeclared == ("kent",)


def test_a_force_that_did_not_answer_says_so():
    """A series without values says why."""
    answer = document({"kent": [100.0] * 12, "surrey": [math.nan] * 12}, 1.0, by="force")
    kent, surrey = find(read_panel(answer), counts=True).groups
    assert surrey.note == "did not answer"
    assert not kent.note


def test_a_column_without_an_end_to_its_noise_is_not_compared():
    """A value whose interval has no end says nothing."""
    answer = document({"red": [100.0] * 14}, 1.0)
    answer.document["rows"][3]["values"][0]["high"] = None
    (red,) = read_panel(answer).groups
    assert [place.is_usable for place in red.places].count(False) == 1


def test_an_answer_without_time_is_refused():
    """An answer of another shape has no series."""
    answer = document({"red": [1.0] * 12}, 1.0)
    for row in answer.document["rows"]:
        row["keys"][0] = "Drugs"
    with pytest.raises(Refused, match="has no series in it"):
        read_panel(answer)
    with pytest.raises(Refused, match="no column 'cost'"):
        read_panel(document({"red": [1.0] * 12}, 1.0), "cost")
