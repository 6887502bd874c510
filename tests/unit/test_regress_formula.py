"""A regression's formula, and the one statement that asks for its sums."""

import math
import re

import pytest
from regressions import CONTRACT, CONTRACTS, FORCES, Asked

from cordon.contract import Contract, Number
from cordon.errors import QuestionRefused
from cordon.query.model import MOST_MEASURES, MeasureKind
from cordon.query.sensitivity import largest_value
from cordon.query.sql import parse_sql
from cordon.workbench.regress.formula import read_model
from cordon.workbench.regress.model import Condition, Quantity
from cordon.workbench.regress.statement import largest, statement_of
from cordon.workbench.regress.weighing import weights_of


def test_a_formula_of_numbers_asks_for_counts_sums_squares_and_products():
    """One table by the category, over rows in which every variable is known; numbers from the middle of their bounds."""
    assert Asked("loss_gbp ~ age + gender", where="role = 'victim' OR age > 60").sql == (
        "SELECT gender, COUNT(*) AS row_count, SUM(age - 55) AS sum_age, SUM(loss_gbp - 2500) AS sum_loss_gbp, "
        "SUM((age - 55) * (age - 55) - 1512) AS squares_age, "
        "SUM((loss_gbp - 2500) * (loss_gbp - 2500) - 3125000) AS squares_loss_gbp, "
        "SUM((age - 55) * (loss_gbp - 2500)) AS products_age_loss_gbp FROM nominals "
        "WHERE (role = 'victim' OR age > 60) AND age IS NOT NULL AND loss_gbp IS NOT NULL AND gender <> 'unknown' "
        "GROUP BY gender"
    )


def test_a_response_of_two_values_asks_for_counts_and_filtered_sums():
    """A condition's sums are counts of the rows that meet it, and sums over them."""
    assert Asked("role = Suspect ~ age").sql == (
        "SELECT COUNT(*) AS row_count, SUM(age - 55) AS sum_age, SUM((age - 55) * (age - 55) - 1512) AS squares_age, "
        "COUNT_IF(role = 'suspect') AS case_count, "
        "SUM(age - 55) FILTER (WHERE role = 'suspect') AS sum_age_in_cases FROM nominals "
        "WHERE age IS NOT NULL AND role <> 'unknown'"
    )


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("loss_gbp~age", "loss_gbp ~ age"),
        ("(role = 'suspect') ~ gender+offence", "role = 'suspect' ~ gender + offence"),
        ('role="Missing person" ~ age', "role = 'missing_person' ~ age"),
        ("role = victim ~ force + age", "role = 'victim' ~ force + age"),
    ],
)
def test_formulas_are_read_in_one_form(formula, said):
    """Blanks, quotes, parentheses and labels say the same."""
    assert read_model(formula, CONTRACT, forces=FORCES).formula == said


def test_a_reference_is_asked_for_by_code_or_label():
    """The level that others are compared with stands first; without one it is the contract's first."""
    for reference in ("gender=female", "gender = 'Female'"):
        (group,) = read_model("loss_gbp ~ gender", CONTRACT, [reference]).groups
        assert (group.levels, group.chosen) == (("Female", "Male", "Other"), True)
    (group,) = read_model("loss_gbp ~ force", CONTRACT, ["force=kent"], FORCES).groups
    assert group.levels[:2] == ("kent", "cumbria")
    assert read_model("loss_gbp ~ gender", CONTRACT).groups[0].levels == ("Male", "Female", "Other")


@pytest.mark.parametrize(
    ("formula", "references", "message", "hint"),
    [
        ("loss_gbp", (), "needs a formula", "formulas:"),
        ("loss_gbp ~ age ~ gender", (), "needs a formula", "formulas:"),
        ("loss_gbp ~ ", (), "needs a formula", "formulas:"),
        ("loss_gbp ~ age * gender", (), "'age * gender' is no column", "columns joined by +"),
        ("loss_gbp ~ agee", (), "nominals has no column 'agee'", "did you mean age?"),
        ("los ~ age", (), "nominals has no column 'los'", "there are: "),
        ("loss_gbp ~ recorded", (), "recorded is a date and no variable", "there are: age, loss_gbp, role"),
        ("loss_gbp ~ person", (), "person is an identifier and no variable", "there are: age"),
        ("loss_gbp ~ age + age", (), "stands there twice", "formulas:"),
        ("age ~ age", (), "age stands on both sides", "leave it out"),
        ("role ~ age", (), "role is a category: say which of its codes", "\"role = 'suspect' ~ …\""),
        ("role = suspekt ~ age", (), "role has no code 'suspekt'", "did you mean suspect?"),
        ("role = unknown ~ age", (), "rows of unknown role are left out", ""),
        ("age = 3 ~ gender", (), "age is a number", "age ~ …"),
        ("COUNT(*) ~ age", (), "cannot be explained", "formulas:"),
        ("force ~ age", (), "force is no property", "force can be a term"),
        ("loss_gbp ~ gender", ("gender",), "takes column=code", "--reference gender=male"),
        ("loss_gbp ~ gender", ("role=suspect",), "role is no term", "there are: gender"),
        ("loss_gbp ~ gender", ("gender=unknown",), "rows of unknown gender are left out", ""),
        ("loss_gbp ~ age", ("age=3",), "age is a number and has no reference", "references are of categories"),
        ("loss_gbp ~ force", ("force=kend",), "there is no force 'kend'", "did you mean kent?"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused_with_what_would_do(formula, references, message, hint):
    """Every refusal names the word, and the nearest thing that would work."""
    with pytest.raises(QuestionRefused, match=re.escape(message)) as refusal:
        read_model(formula, CONTRACT, references, FORCES)
    assert refusal.value.hint.startswith(hint)


def test_more_numbers_than_one_question_holds_are_refused():
    """Three numbers fit beside a number or a condition, four do not."""
    text = (
        'dataset = "d"\nversion = 1\ntitle = "T"\ndescription = "D"\nsource = "s"\nlicence = "l"\n'
        '[unit]\nkind = "row"\nwords = "one record"\nmax_rows_per_unit = 1\nmax_rows_per_force = 100\ncaveat = "For tests."\n'
        'rows_without_unit = "own unit"\n[[column]]\nkind = "category"\nname = "kind"\ntitle = "K"\n'
        'codes = [{ code = "a", label = "A" }, { code = "unknown", label = "U" }]\n'
    )
    for name in "vwxyz":
        text += f'[[column]]\nkind = "number"\nname = "{name}"\ntitle = "T"\nunit = "u"\nmin = "0"\nmax = "9"\nresolution = "1"\n'
    contract = Contract.from_toml(text.encode())
    for response in ("v", "kind = a"):
        assert len(read_model(f"{response} ~ w + x + y", contract).moments) <= MOST_MEASURES
        with pytest.raises(QuestionRefused, match="more sums than one question holds") as refusal:
            read_model(f"{response} ~ w + x + y + z", contract)
        assert refusal.value.hint.startswith("at most 3 numbers")
    with pytest.raises(QuestionRefused, match="kind has one known level only"):
        read_model("v ~ kind", contract)


@pytest.mark.parametrize(
    "formula",
    ["loss_gbp ~ age", "age ~ loss_gbp + gender + role", "role = victim ~ age + loss_gbp + gender", "role = victim ~ gender"],
)  # fmt: skip
def test_the_statement_is_what_can_be_asked(formula):
    """Every sum is one measure of its own, as large for one row as the weights are told, and the split sums to the cost."""
    asked = Asked(formula)
    question = asked.statement.question
    assert len(question.measures) == len(asked.model.moments)
    units = {number.name: float(number.column.resolution) for number in asked.model.quantities}
    for measure, moment in zip(question.measures, asked.model.moments, strict=True):
        unit = math.prod(units[name] for name, _ in measure.numbers) if measure.numbers else 1.0
        if measure.kind is MeasureKind.SQUARES:
            unit **= 2
        assert largest(moment, asked.model) == pytest.approx(unit * largest_value(measure, CONTRACT), rel=1e-3)
    weights = weights_of(asked.model)
    assert len(weights) == len(question.measures)
    assert max(weights) == 1
    assert min(weights) >= 0.01


def test_a_resolution_without_decimals_is_not_centred():
    """SQL has no word for a third: such a number is summed as it is."""
    thirds = CONTRACT.column("age").model_copy(update={"resolution": CONTRACT.column("age").resolution / 3})
    assert isinstance(thirds, Number)
    assert (Quantity(thirds).centre, Quantity(thirds).offset) == (0, 0)


def test_conditions_are_of_codes_and_shown_by_labels():
    """A code in the statement, a label for people."""
    assert read_model("role = missing_person ~ age", CONTRACT).response == Condition(
        "role", "missing_person", "Missing person"
    )


def test_every_bundled_contract_can_be_asked():
    """Categories alone make a model of shares, also where there is no number."""
    contract = CONTRACTS["stop_search"]
    model = read_model("outcome = 'arrest' ~ gender + officer_defined_ethnicity", contract)
    statement = parse_sql(statement_of(model, "stop_search.v1"), CONTRACTS, FORCES)
    assert {measure.kind for measure in statement.question.measures} == {MeasureKind.COUNT}
