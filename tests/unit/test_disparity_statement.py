"""What `cordon disparity` asks, and what it refuses to ask."""

import pytest
from statistical.releases import CONTRACTS

from cordon.errors import QuestionRefused, Refused
from cordon.query.sql import parse_sql
from cordon.workbench.disparity.statement import Per, wanted, without_residents

STOPS = CONTRACTS["stop_search"]
CRIMES = CONTRACTS["street_crime"]
FORCES = ["cumbria", "essex", "kent"]


def sql(**options):
    """The statement for a set of options, which the parser must be able to read."""
    found = wanted(STOPS, "stop_search", **options).sql
    parse_sql(found, CONTRACTS, FORCES)
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"by": "ethnicity"},
            ("SELECT officer_defined_ethnicity, COUNT(*) AS records, RESIDENTS() AS residents FROM stop_search "
            "GROUP BY officer_defined_ethnicity"),
        ),
        (
            {"by": "ethnicity", "outcome": "arrest", "by_force": True},
            ("SELECT force, officer_defined_ethnicity, outcome, COUNT(*) AS records FROM stop_search "
            "GROUP BY force, officer_defined_ethnicity, outcome"),
        ),
        (
            {"by": "gender", "reference": "male", "outcome": "object=drugs, firearms"},
            ("SELECT gender, COUNT_IF(object IN ('drugs', 'firearms')) AS with_outcome, "
            "COUNT_IF(object NOT IN ('drugs', 'firearms')) AS without_outcome FROM stop_search GROUP BY gender"),
        ),
        (
            {"by": "officer_defined_ethnicity", "outcome": "arrest", "per": Per.POPULATION, "where": "gender = 'male'"},
            ("SELECT officer_defined_ethnicity, COUNT(*) AS records, RESIDENTS() AS residents FROM stop_search "
            "WHERE (gender = 'male') AND outcome IN ('arrest') GROUP BY officer_defined_ethnicity"),
        ),
    ],
)  # fmt: skip
def test_one_question_of_cells_that_no_two_records_share(options, expected):
    """Per resident by group; one outcome by its column; several as records with and without them."""
    assert sql(**options) == expected


def test_one_outcome_of_many_is_asked_by_its_column_and_half_of_them_by_conditions():
    """The form with the least noise: cells of the column where one code of eight counts, conditions where four do."""
    one = wanted(STOPS, "stop_search", by="ethnicity", outcome="arrest")
    seven = wanted(
        STOPS, "stop_search", by="ethnicity",
        outcome="arrest,community,drugs_warning,summons,caution,penalty,no_further_action",
    )  # fmt: skip
    four = wanted(STOPS, "stop_search", by="ethnicity", outcome="arrest,summons,caution,penalty")
    assert "outcome, COUNT(*)" in one.sql
    assert "outcome, COUNT(*)" in seven.sql
    assert "COUNT_IF" in four.sql


def test_an_unclear_column_is_the_one_with_residents_and_that_is_said():
    """`ethnicity` is what officers perceived; the note names the other column, which works for outcomes."""
    found = wanted(STOPS, "stop_search", by="ethnicity")
    assert found.by.name == "officer_defined_ethnicity"
    assert found.notes == (
        "--by ethnicity: by officer_defined_ethnicity, whose groups have residents, not self_defined_ethnicity",
    )
    own = wanted(STOPS, "stop_search", by="self_defined", outcome="arrest")
    assert (own.reference, own.notes) == ("white_british", ())
    assert "not_stated" not in own.groups


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"by": "ethnicty"}, "stop_search has no category 'ethnicty'", "did you mean ethnicity? there are: type"),
        ({"by": "gendr"}, "stop_search has no category 'gendr'", "did you mean gender?"),
        ({"by": "outcome"}, "there are no residents by outcome", "officer_defined_ethnicity only"),
        ({"by": "cl", "outcome": "outcome_lnk=yes"}, "no category 'outcome_lnk'", "did you mean outcome_linked?"),
        ({"by": "link", "outcome": "arrest", "reference": "maybe"}, "outcome_linked has no code 'maybe'", "yes"),
        ({"by": "i", "outcome": "arrest"}, "--by i may be any of", "name one of them"),
        ({"by": "ethnicity", "outcome": "arest"}, "outcome has no code 'arest'", "did you mean arrest?"),
        ({"by": "ethnicity", "outcome": "c"}, "'c' may be any of", "name one of them"),
        ({"by": "ethnicity", "outcome": "outcome_linked=yes,no,unknown"}, "every record has one", "name fewer"),
        ({"by": "gender"}, "there are no residents by gender", "--outcome arrest"),
        ({"by": "self_defined", "reference": "white_british"}, "no residents by self_defined_ethnicity", "broad groups"),
        ({"by": "ethnicity", "per": Per.RECORDS}, "a share of records needs an outcome", "--per population"),
        ({"by": "gender", "outcome": "arrest"}, "say which group of gender", "--reference, of: male, female, other"),
        ({"by": "ethnicity", "reference": "unknown"}, "unknown is no group", ""),
        ({"by": "outcome", "outcome": "arrest"}, "cannot be both", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_what_would_work(options, message, hint):
    """A sentence says what is wrong, and a hint what to do."""
    with pytest.raises((QuestionRefused, Refused)) as refusal:
        wanted(STOPS, "stop_search", **options)
    assert message in str(refusal.value)
    assert hint in refusal.value.hint


def test_a_data_set_without_outcomes_says_so():
    """Where there is no column `outcome`, the categories that there are stand in the hint."""
    with pytest.raises(QuestionRefused, match="street_crime has no category 'outcome'") as refusal:
        wanted(CRIMES, "street_crime", by="crime_type", outcome="arrest")
    assert "last_outcome" in refusal.value.hint


def test_forces_without_residents_are_known():
    """The census has none for transport police and Northern Ireland."""
    assert without_residents(["kent", "btp", "northern-ireland"]) == ("btp", "northern-ireland")
