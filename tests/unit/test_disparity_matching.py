"""Which earlier answers `cordon disparity --from-query` takes: by what they measure, whatever their columns are called."""

import pytest
from statistical.disparities import asked_again, asked_for

from cordon.analyst.federation import Federation
from cordon.catalogue import read_catalogue
from cordon.errors import Refused
from cordon.manifest import read_manifest
from cordon.workbench.answer import Answer
from cordon.workbench.disparity.asking import understood
from cordon.workbench.disparity.finding import disparity_of
from cordon.workbench.disparity.statement import Per
from demo.layout import Design, lay_out

BY = "officer_defined_ethnicity"
RESIDENT = "force NOT IN ('btp', 'northern-ireland')"


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Three forces and the bundled contracts, verified as an analyst's client does."""
    layout = lay_out(tmp_path_factory.mktemp("matching") / "federation", Design(forces=("btp", "essex", "kent")))
    manifest, _ = read_manifest(layout.root / "manifest.json", layout.governance_keys)
    return Federation(manifest, read_catalogue(manifest, layout.root / "contracts"), {})


def answer(sql, dataset="stop_search v1"):
    """An earlier answer, of which only the statement is looked at."""
    return Answer({"query": "d15a" * 16, "sql": sql, "dataset": dataset, "columns": [{"name": "x", "measure": True}]})


def per_resident(records="COUNT(*)", key=BY, where=f" WHERE {RESIDENT}", by=BY, residents="RESIDENTS()"):
    """A statement of the columns that rates per resident need."""
    return f"SELECT {key}, {records} AS records, {residents} AS residents FROM stop_search{where} GROUP BY {by}"


def with_and_without(one="outcome IN ('arrest', 'summons', 'caution')", other=None):
    """A statement of the columns that shares need."""
    other = other or f"NOT {one}"
    return (
        f"SELECT {BY}, COUNT_IF({one}) AS with_outcome, COUNT_IF({other}) AS without_outcome "
        f"FROM stop_search GROUP BY {BY}"
    )


THREE = {"outcome": "arrest,summons,caution"}


@pytest.mark.parametrize(
    ("sql", "options"),
    [
        (per_resident("COUNT_IF(outcome = 'arrest')"), {}),
        (per_resident("COUNT(*) FILTER (WHERE gender = 'male')"), {}),
        (per_resident("COUNT(*) / RESIDENTS()"), {}),
        (per_resident("2 * COUNT(*)"), {}),
        (per_resident(residents="RESIDENTS() / 2"), {}),
        (per_resident(residents="COUNT_IF(gender = 'male')"), {}),
        (per_resident(key=f"gender AS {BY}", by="gender"), {}),
        (per_resident(by=f"{BY}, gender"), {}),
        (with_and_without(), {"outcome": "arrest"}),
        (with_and_without(), {"outcome": "gender=female,male"}),
        (with_and_without("outcome IN ('arrest', 'summons')"), THREE),
        (with_and_without(other="outcome = 'no_further_action'"), THREE),
        (with_and_without(one="NOT outcome IN ('arrest', 'summons', 'caution')", other="outcome = 'arrest'"), THREE),
    ],
)
def test_an_answer_that_measures_something_else_is_refused_whatever_its_columns_are_called(sql, options):
    """Filters, arithmetic, aliases and other outcomes under the right names."""
    with pytest.raises(Refused, match="does not ask what this needs") as refusal:
        asked_again(answer(sql), by="ethnicity", **options)
    assert "this would do: SELECT" in refusal.value.hint


@pytest.mark.parametrize(
    ("sql", "options", "where"),
    [
        (per_resident() + " ORDER BY 2", {}, ""),
        (per_resident("COUNT(*)", where=f" WHERE gender = 'male' AND {RESIDENT}"), {"where": "gender = 'male'"}, None),
        (per_resident(where=f" WHERE gender = 'male' AND {RESIDENT}"), {}, f"gender = 'male' AND {RESIDENT}"),
        (per_resident(where=f" WHERE outcome = 'arrest' AND {RESIDENT}"), {"outcome": "arrest", "per": Per.POPULATION}, ""),
        (with_and_without(), THREE, ""),
        (with_and_without(), {"outcome": "caution,arrest,summons"}, ""),
        (f"SELECT {BY}, outcome, COUNT(*) AS records FROM stop_search GROUP BY {BY}, outcome ORDER BY 3", {"outcome": "penalty"}, ""),
    ],
)  # fmt: skip
def test_an_answer_that_measures_the_same_is_taken_with_its_own_conditions(sql, options, where):
    """However it was typed; conditions that nobody asked for are named."""
    found = asked_again(answer(sql), by="ethnicity", **options)
    assert found.read_from == sql
    assert found.where == (options["where"] if where is None else where)
    assert any("earlier answer is about records" in note for note in found.notes) == bool(where)


@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("", {"where": "gender = 'male'"}),
        (" WHERE gender = 'female'", {"where": "gender = 'male'"}),
        (f" WHERE gender = 'male' AND outcome = 'arrest' AND {RESIDENT}", {"where": "gender = 'male'"}),
        (" WHERE gender = 'male'", {"where": "gender = 'male'"}),
        (f" WHERE {RESIDENT}", {"outcome": "arrest", "per": Per.POPULATION}),
        (" WHERE force = 'kent'", {"where": "force = 'essex'"}),
    ],
)
def test_an_answer_under_conditions_that_are_not_those_asked_for_is_refused(where, options):
    """Other records, other forces, and more conditions than were asked for."""
    with pytest.raises(Refused, match="was asked under other conditions"):
        asked_again(answer(per_resident(where=where)), by="ethnicity", **options)


@pytest.mark.parametrize("rest", [" HAVING COUNT(*) > 100", " LIMIT 3", ""])
def test_an_answer_without_all_its_rows_is_refused(federation, rest):
    """HAVING and LIMIT leave groups out, which would be read as groups without records."""
    sql = per_resident(where="") + rest
    if rest:
        with pytest.raises(Refused, match="HAVING or LIMIT"):
            understood(federation, "stop_search", by="ethnicity", answer=answer(sql))
    else:
        assert understood(federation, "stop_search", by="ethnicity", answer=answer(sql)).read_from == sql


def test_an_answer_with_totals_is_refused(federation):
    """Their rows were made to agree, so that their intervals do not tell the noise."""
    sql = per_resident(key=f"force, {BY}", where="", by=f"ROLLUP({BY}, force)")
    with pytest.raises(Refused, match="totals"):
        understood(federation, "stop_search", by="ethnicity", by_force=True, answer=answer(sql))


def test_an_answer_by_a_contract_that_its_words_do_not_mean_any_more_is_refused():
    """A name without a version follows the version that most forces offer."""
    with pytest.raises(Refused, match="answered by stop_search v2, and its words mean stop_search v1"):
        asked_again(answer(per_resident(where=""), "stop_search v2"), by="ethnicity")


def test_nothing_is_compared_in_an_answer_that_was_not_read_for_it():
    """The reader itself takes an answer to its own question, or one that was found to serve."""
    with pytest.raises(Refused, match="does not ask what this needs"):
        disparity_of(answer(per_resident(where="")), asked_for(by="ethnicity"))
