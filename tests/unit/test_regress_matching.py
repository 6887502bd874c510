"""Which answer a regression is fitted from: one that was asked for the model's sums, whatever its columns are called."""

import io
from dataclasses import replace

import pytest
from regressions import Asked, federation_in
from rich.console import Console

from cordon.errors import Refused
from cordon.workbench.answer import Answer
from cordon.workbench.regress.asking import Wanted, fitted
from cordon.workbench.regress.matching import narrowed
from cordon.workbench.rereading import statement_of

BY_GENDER = Asked("role = 'suspect' ~ gender")
LOSSES = Asked("loss_gbp ~ age")
COUNTED = [("male", 1000, 300), ("female", 900, 500), ("other", 100, 20)]


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """A federation with the bundled contracts."""
    return federation_in(tmp_path_factory.mktemp("matching"))


@pytest.fixture
def only(federation):
    """What narrows an answer to a statement, beyond the formula."""
    return lambda sql, formula: narrowed(typed(sql), Asked(formula).model, federation)


def typed(sql):
    """An answer without rows to a statement."""
    return Answer({**LOSSES.answer([]).document, "sql": sql})


@pytest.mark.parametrize(
    "formula", ["role = 'victim' ~ gender", "offence = 'fraud' ~ gender", "role = suspect ~ offence"]
)
def test_another_conditions_answer_is_refused(formula, federation):
    """Its columns have the same names, and would be read with the sign reversed."""
    answer, other = BY_GENDER.answer(COUNTED), Asked(formula)
    wanted = Wanted(other.model, other.sql, federation)
    with pytest.raises(Refused, match=r"has no (case_count|offence) as "):
        fitted(answer, wanted)
    assert fitted(answer, Wanted(BY_GENDER.model, BY_GENDER.sql, federation)).found.terms[0].level == "Female"


def test_a_sum_from_another_middle_is_refused(only):
    """A sum that was typed by hand is not taken less the middle of the bounds, and would be read as if it were."""
    assert only(LOSSES.sql, "loss_gbp ~ age") == ()
    with pytest.raises(Refused, match="has no sum_age as loss_gbp ~ age needs it"):
        only(LOSSES.sql.replace("SUM(age - 55)", "SUM(age)"), "loss_gbp ~ age")
    with pytest.raises(Refused, match="has no sum_age as"):
        only(LOSSES.sql.replace("SUM(age - 55)", "2 * SUM(age - 55)"), "loss_gbp ~ age")
    with pytest.raises(Refused, match="has no squares_age as"):
        only(LOSSES.sql.replace(" - 1512", " - 1000"), "loss_gbp ~ age")


def test_a_category_under_another_ones_name_is_refused(only):
    """What a column is called is the analyst's choice."""
    sql = BY_GENDER.sql.replace("SELECT gender", "SELECT offence AS gender").replace("BY gender", "BY offence")
    with pytest.raises(Refused, match="has no gender as"):
        only(sql, "role = suspect ~ gender")


def test_records_with_unknown_values_are_refused(only):
    """They are in the count and in no sum."""
    with pytest.raises(Refused, match="does not hold that loss_gbp is known"):
        only(LOSSES.sql.replace(" AND loss_gbp IS NOT NULL", ""), "loss_gbp ~ age")
    with pytest.raises(Refused, match="does not hold that gender is known"):
        only(
            BY_GENDER.sql.replace(" AND role <> 'unknown'", "").replace("gender <>", "offence <>"),
            "role = suspect ~ gender",
        )


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("gender = 'female'", ("gender is Female",)),
        ("gender <> 'unknown' AND age >= 18", ("age is at least 18", "gender is known")),
        (
            "age BETWEEN 18 AND 30 OR role IN ('victim', 'suspect')",
            ("((age is at least 18 and age is at most 30) or role is one of Suspect, Victim)",),
        ),
        ("age = 18", ("age is 18",)),
        ("force IN ('kent', 'essex')", ("force is one of essex, kent",)),
    ],
)
def test_what_narrows_the_records_is_said(only, where, said):
    """In words, so that nobody reads them as all records."""
    assert sorted(only(Asked("loss_gbp ~ age", where=where).sql, "loss_gbp ~ age")) == sorted(said)


def test_an_answer_of_more_terms_leaves_out_what_these_do_not_know(federation):
    """A smaller model can be fitted from it, of fewer records: the output, the picture and the sheet say of which."""
    larger = Asked("role = suspect ~ gender + offence")
    rows = [(gender, offence, count, cases) for gender, count, cases in COUNTED for offence in ("burglary", "fraud")]
    finding = fitted(larger.answer(rows), Wanted(BY_GENDER.model, BY_GENDER.sql, federation))
    assert finding.found.only == ("offence is known",)
    text = " ".join(str(finding).split())
    assert "only records for which offence is known" in text
    assert "says nothing of others" in text
    assert "only records for which offence is known" in finding.drawing().captions.lines
    document = finding.as_dict()
    assert document["only"] == ("offence is known",)
    assert document["sql"] == larger.sql
    assert f"asked: {larger.sql}" in document["about"]
    out = Console(width=1000, file=io.StringIO())
    finding.notes(out)
    assert f"asked: {larger.sql}" in out.file.getvalue()


def test_cells_are_not_added_up_over_what_is_no_category(only):
    """Bins leave out the records whose number is unknown."""
    sql = BY_GENDER.sql.replace("SELECT gender", "SELECT gender, BIN(age, 10) AS bin")
    with pytest.raises(Refused, match="is by age, which is no category"):
        only(f"{sql}, BIN(age, 10)", "role = suspect ~ gender")


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT gender, COUNT(*) AS n FROM nominals GROUP BY gender HAVING n > 10", "HAVING or LIMIT"),
        ("SELECT gender, COUNT(*) AS n FROM nominals GROUP BY gender LIMIT 2", "HAVING or LIMIT"),
        ("SELECT gender, COUNT(*) FROM nominals GROUP BY ROLLUP (gender)", "has totals in it"),
        ("SELECT gender, role, COUNT(*) FROM nominals GROUP BY CUBE (gender, role)", "has totals in it"),
        ("SELECT colour, COUNT(*) FROM nominals GROUP BY colour", "cannot be read any more"),
    ],
)
def test_an_answer_without_all_rows_cannot_be_computed_from(federation, sql, why):
    """Rows that HAVING and LIMIT took away would be read as zeros, and totals change their rows' noise."""
    with pytest.raises(Refused, match=why):
        statement_of(typed(sql), federation)


def test_a_bare_name_is_read_as_the_version_that_was_asked(federation):
    """Another version may be the one that most forces offer today; one that is gone is refused."""
    (contract, digest) = federation.catalogue["nominals", 1]
    newer = contract.model_copy(update={"version": 2})
    both = replace(federation, catalogue={**federation.catalogue, ("nominals", 2): (newer, digest)})
    sql = "SELECT COUNT(*) FROM nominals"
    assert statement_of(typed(sql), both).question.contract_version == 1
    gone = Answer({**typed(sql).document, "dataset": "nominals v3"})
    with pytest.raises(Refused, match="nominals v3, which the federation does not list any more"):
        statement_of(gone, both)
