"""SUM of products, squares and numbers less constants: what is asked, how far a unit moves it, who declines it."""

from dataclasses import replace
from fractions import Fraction

import pytest
from examples import PERSON_CONTRACT
from google.protobuf.descriptor import FieldDescriptor

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.errors import Malformed, QuestionRefused
from cordon.estimate.tables import Tables
from cordon.query.expression import Arithmetic, Constant, Part, evaluate, leaves
from cordon.query.model import Grouping, Key, Measure, MeasureKind, Question
from cordon.query.plan import make_plan, outline, split_evenly
from cordon.query.split import split
from cordon.query.sql import parse_sql
from cordon.units import Rho
from cordon.wire.v1 import query_pb2

TWO = Contract.from_toml(
    PERSON_CONTRACT
    + b"""
[[column]]
kind = "number"
name = "age"
title = "Age"
unit = "years"
min = "0"
max = "100"
resolution = "1"
"""
)
CONTRACTS = {"persons": TWO}
NOMINALS = {c.dataset: c for c in map(Contract.from_toml, bundled_contracts()) if c.version == 1}
FORCES = ("essex", "kent", "surrey")
PAIR = Measure(MeasureKind.PRODUCTS, "age", other="loss")


def read(select, rest=""):
    """The statement of a SELECT list over persons."""
    return parse_sql(f"SELECT {select} FROM persons {rest}", CONTRACTS, FORCES)


@pytest.mark.parametrize(
    ("select", "measure", "unit"),
    [
        ("SUM(loss - 3.5)", Measure(MeasureKind.SUM, "loss", centre=7), "1/2"),
        ("SUM(loss + 1)", Measure(MeasureKind.SUM, "loss", centre=-2), "1/2"),
        ("SUM((age))", Measure(MeasureKind.SUM, "age"), "1"),
        ("SUM(age * loss)", PAIR, "1/2"),
        ("SUM(loss * (age - 50))", replace(PAIR, centre=50), "1/2"),
        ("SUM((loss - 20) * (age - 50))", replace(PAIR, centre=50, other_centre=40), "1/2"),
        ("SUM((loss - -1) * age)", replace(PAIR, other_centre=-2), "1/2"),
        ("SUM(loss * loss)", Measure(MeasureKind.SQUARES, "loss"), "1/4"),
        ("SUM((loss - 20) * (loss - 20))", Measure(MeasureKind.SQUARES, "loss", centre=40), "1/4"),
        ("SUM((loss - 20) * (loss - 20) - 450)", Measure(MeasureKind.SQUARES, "loss", centre=40, offset=1800), "1/4"),
    ],
)  # fmt: skip
def test_a_sum_of_products_is_one_measure_in_one_form(select, measure, unit):
    """Constants are centres and offsets in resolutions, and the two numbers of a product stand in one order."""
    statement = read(select)
    assert statement.question.measures == (measure,)
    scaled = Part(0) if unit == "1" else Arithmetic("*", Constant(Fraction(unit)), Part(0))
    assert statement.outputs[0].expression == scaled


@pytest.mark.parametrize(
    "select",
    [
        "SUM(age * loss)", "SUM((age - 50) * (loss - 20))", "SUM(loss * loss)", "SUM((age - 50) * (age - 50) - 1250)",
        "SUM(age - 7) FILTER (WHERE loss > 3)",
    ],
)  # fmt: skip
def test_a_column_is_worth_what_sql_says(select):
    """From true cells the column has the value that SQL gives over the records, unknown values adding nothing."""
    records = [(30, -7), (41, 25), (0, 100), (None, 3), (17, None)]
    statement = read(select)
    (measure,) = statement.question.measures
    kept = [(age, loss) for age, loss in records if measure.where is None or (loss or 0) >= measure.where.low]
    known = [{"age": age, "loss": loss} for age, loss in kept]
    total = 0
    for row in known:
        values = [row[name] for name, _ in measure.numbers]
        if None in values:
            continue
        distances = [value - centre for value, (_, centre) in zip(values, measure.numbers, strict=True)]
        product = distances[0] * distances[-1] if measure.kind is not MeasureKind.SUM else distances[0]
        total += product - measure.offset
    expression = statement.outputs[0].expression
    found = evaluate(expression, dict.fromkeys(leaves(expression), float(total))).value
    plain = {
        "SUM(age * loss)": 30 * -3.5 + 41 * 12.5,
        "SUM((age - 50) * (loss - 20))": -20 * -23.5 + -9 * -7.5 + -50 * 30,
        "SUM(loss * loss)": 3.5**2 + 12.5**2 + 50**2 + 1.5**2,
        "SUM((age - 50) * (age - 50) - 1250)": 400 + 81 + 2500 + 33**2 - 4 * 1250,
        "SUM(age - 7) FILTER (WHERE loss > 3)": 34 - 7,
    }
    assert found == plain[select]


@pytest.mark.parametrize(
    ("centre", "other", "largest"), [(0, 0, 100 * 100), (50, 0, 50 * 100), (50, 40, 50 * 60), (100, 100, 100 * 120)]
)
def test_a_unit_moves_products_by_k_times_the_largest_product(centre, other, largest):
    """Both numbers are furthest from their centres at once; ages to 100, losses of -20 to 100 halves, three rows a unit."""
    measure = replace(PAIR, centre=centre, other_centre=other)
    question = Question("persons", 1, (measure,), None, (Key("role"),), FORCES)
    plan = make_plan(question, (Rho(10**9),), TWO, colluders=1, most_cells=1000)
    assert (plan.blocks[0].d_squared, plan.blocks[0].bound) == ((3 * largest) ** 2, 1000 * largest)


def test_a_centre_outside_the_bounds_of_either_number_is_refused():
    """A node refuses what the analyst's own reading would have refused."""
    for measure in (replace(PAIR, centre=101), replace(PAIR, other_centre=-21)):
        question = Question("persons", 1, (measure,), None, (), FORCES)
        with pytest.raises(QuestionRefused, match="lies outside its bounds"):
            outline(question, TWO, most_cells=10)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Measure(MeasureKind.PRODUCTS, "age"),
        lambda: Measure(MeasureKind.PRODUCTS, "loss", other="age"),
        lambda: Measure(MeasureKind.PRODUCTS, "age", other="age"),
        lambda: Measure(MeasureKind.SUM, "age", other="loss"),
        lambda: Measure(MeasureKind.SUM, "age", other_centre=3),
        lambda: Measure(MeasureKind.PRODUCTS, "age", other="loss", offset=3),
        lambda: Measure(MeasureKind.PRODUCTS, "age", other="loss", other_centre=2**53 + 1),
    ],
)  # fmt: skip
def test_products_have_one_form(made):
    """Two numbers in order, no offset, and nothing but PRODUCTS has a second one."""
    with pytest.raises(Malformed):
        made()


def test_a_column_that_only_a_product_names_is_checked_as_the_questions():
    """Both numbers of a product are columns that the question touches."""
    assert Question("persons", 1, (PAIR,), None, (), FORCES).columns == ("age", "loss")


def test_what_a_version_before_did_not_know_is_a_field_of_its_own():
    """Kind 6 and fields 7 and 8 are new: a node without them refuses the question, and others keep their bytes."""
    fields = query_pb2.Measure.DESCRIPTOR.fields_by_name
    assert (fields["other"].number, fields["other_centre"].number) == (7, 8)
    assert fields["other_centre"].type == FieldDescriptor.TYPE_SINT64
    assert query_pb2.Measure.Kind.Name(6) == "PRODUCTS"


def test_a_share_of_the_cost_follows_from_both_numbers():
    """Beside AVG, SUM of a product is given a share, and every nano-rho is spent."""
    statement = read("SUM(age * loss), AVG(age)")
    outlined = outline(statement.question, TWO, most_cells=10)
    columns = [output.expression for output in statement.outputs]
    shares = split(Rho(10**8), outlined, columns, [1, 1], TWO)
    assert sum(share.nano for share in shares) == 10**8 - 1
    assert all(share.nano > 10**7 for share in shares)


def test_tables_of_products_add_up():
    """Released in two tables, they are made to agree; only a product that cannot be negative is kept from it."""
    for select, negative in (("SUM(age * loss)", True), ("SUM(age * (loss + 10))", False)):
        statement = read(f"role, {select}", "GROUP BY ROLLUP(role)")
        question = statement.question
        assert question.groupings == (Grouping((0,)), Grouping(()))
        shares = split_evenly(Rho(10**9), len(outline(question, TWO, most_cells=10).parts))
        plan = make_plan(question, shares, TWO, colluders=0, most_cells=10)
        scale = [block.scale for block in plan.blocks for _ in range(block.cells)]
        opened = [cell * by for cell, by in zip([-4000, 5000, 9000, 12_000], scale, strict=True)]
        tables = Tables(opened, plan, TWO, FORCES)
        fine, total = (tables.cells(keys, statement.outputs[1].expression) for keys in ((0,), ()))
        assert fine.value.sum() == pytest.approx(total.value[0])
        assert bool(fine.value.min() < 0) is negative
