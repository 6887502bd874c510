"""What each measure is read as: what every cell must hold, and how the column follows from it."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
from examples import PERSON_CONTRACT, person_contract, row_contract

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.errors import QuestionRefused
from cordon.query.expression import Arithmetic, Bounded, Constant, Part, Quantile, Residents, Root, evaluate, leaves
from cordon.query.model import All, Measure, MeasureKind, Member, Range
from cordon.query.sql import parse_sql
from cordon.query.sql.functions import FUNCTIONS
from cordon.query.statement import Comparison, Either, Every, Opposite

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {"events": row_contract(), "persons": person_contract()}
FORCES = ("essex", "kent", "surrey")
VICTIMS = Member("role", ("victim",))
KNOWN = Range("loss", None, None)
COUNT = Measure(MeasureKind.COUNT)
LOSS = Measure(MeasureKind.SUM, "loss")
CENTRED = Measure(MeasureKind.SUM, "loss", centre=40)
"""Losses of -10 to 50 GBP in steps of a half lie around 40 steps, and at most 60 steps from it."""
SQUARES = Measure(MeasureKind.SQUARES, "loss", centre=40, offset=1800)
KNOWN_LOSSES = Measure(MeasureKind.COUNT, where=KNOWN)
HISTOGRAM = Measure(MeasureKind.HISTOGRAM, "loss", widths=(1, 12))


def read(select, rest=""):
    """The statement of a SELECT list over persons."""
    return parse_sql(f"SELECT {select} FROM persons {rest}", CONTRACTS, FORCES)


def number(value):
    """A constant."""
    return Constant(Fraction(value))


@pytest.mark.parametrize(
    ("select", "measures"),
    [
        ("COUNT(loss)", (KNOWN_LOSSES,)),
        ("COUNT(role)", (Measure(MeasureKind.COUNT, where=Member("role", ("suspect", "victim"))),)),
        ("COUNT(day)", (Measure(MeasureKind.COUNT, where=Range("day", None, None)),)),
        ("AVG(loss)", (CENTRED, KNOWN_LOSSES)),
        ("AVG(loss), VAR_POP(loss), STDDEV(loss), COUNT(loss)", (CENTRED, KNOWN_LOSSES, SQUARES)),
        ("SUM(loss), AVG(loss)", (LOSS, CENTRED, KNOWN_LOSSES)),
        ("MEDIAN(loss), QUANTILE(loss, 0.9), MIN(loss), MAX(loss)", (HISTOGRAM,)),
        ("MEDIAN(loss), MEDIAN(loss) FILTER (WHERE role = 'victim')", (HISTOGRAM, Measure(MeasureKind.HISTOGRAM, "loss", VICTIMS, widths=(1, 12)))),
        ("COUNT_IF(role = 'victim')", (Measure(MeasureKind.COUNT, where=VICTIMS),)),
        ("COUNTIF(role = 'victim'), COUNT(*) FILTER (WHERE role = 'victim')", (Measure(MeasureKind.COUNT, where=VICTIMS),)),
        ("SUM(CASE WHEN role = 'victim' THEN 1 ELSE 0 END)", (Measure(MeasureKind.COUNT, where=VICTIMS),)),
        ("COUNT_IF(loss IS NOT NULL) FILTER (WHERE role = 'victim')", (Measure(MeasureKind.COUNT, where=All((VICTIMS, KNOWN))),)),
        ("COUNT(DISTINCT person) FILTER (WHERE role = 'victim')", (Measure(MeasureKind.COUNT_UNIT, where=VICTIMS),)),
        ("SUM(loss) FILTER (WHERE role = 'victim')", (Measure(MeasureKind.SUM, "loss", VICTIMS),)),
        (
            "AVG(loss) FILTER (WHERE role = 'victim')",
            (Measure(MeasureKind.SUM, "loss", VICTIMS, centre=40), Measure(MeasureKind.COUNT, where=All((VICTIMS, KNOWN)))),
        ),
        ("PER_1000(COUNT(*)), COUNT(*) / RESIDENTS()", (COUNT,)),
    ],
)  # fmt: skip
def test_each_function_asks_for_what_it_needs_once(select, measures):
    """Measures that several functions need are asked for, and paid for, once."""
    assert read(select).question.measures == measures


def test_rows_that_a_condition_makes_known_are_counted_once():
    """Where WHERE or FILTER leaves known values only, COUNT(*), COUNT(x) and the count of AVG(x) are one measure."""
    assert read("COUNT(*), COUNT(loss), AVG(loss)", "WHERE loss > 3 AND role = 'victim'").question.measures == (
        COUNT,
        CENTRED,
    )
    some = Measure(MeasureKind.COUNT, where=Range("loss", 7, None))
    assert read("COUNT_IF(loss > 3), COUNT(loss) FILTER (WHERE loss > 3)").question.measures == (some,)
    assert read("COUNT(*), COUNT(loss)", "WHERE loss > 3 OR role = 'victim'").question.measures == (COUNT, KNOWN_LOSSES)


def value(select):
    """A column's value where every cell holds the truth about four losses."""
    statement = read(select)
    # In steps of the column's resolution.
    losses = (-20, -10, 0, -7)
    truth = {
        MeasureKind.COUNT: lambda _: len(losses),
        MeasureKind.SUM: lambda m: sum(loss - m.centre for loss in losses),
        MeasureKind.SQUARES: lambda m: sum((loss - m.centre) ** 2 - m.offset for loss in losses),
    }
    measures = statement.question.measures
    expression = statement.outputs[0].expression
    given = {leaf: float(truth[measures[leaf.measure].kind](measures[leaf.measure])) for leaf in leaves(expression)}
    return evaluate(expression, given).value


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("SUM(loss)", -18.5), ("AVG(loss)", -4.625), ("VAR_POP(loss)", 12.921875 ), ("VARIANCE(loss)", 17.229166666666668),
        ("STDDEV_POP(loss)", 12.921875**0.5), ("STDDEV(loss)", 17.229166666666668**0.5), ("STDDEV_SAMP(loss)", 17.229166666666668**0.5),
        ("VAR_SAMP(loss)", 17.229166666666668), ("100.0 * COUNT_IF(role = 'victim') / COUNT(*)", 100), ("-COUNT(*) - 3 * (SUM(loss) + 1)", 48.5),
        ("1 / 2 + COUNT(*) / 8", 1.0),
    ],
)  # fmt: skip
def test_a_column_is_worth_what_sql_says(select, expected):
    """Computed from true cells, each function has the value that the same function has over the records."""
    assert value(select) == pytest.approx(expected, rel=1e-12)


def test_bounds_hold_whatever_the_noise():
    """An average lies within its column's bounds, a variance within what such a column can have, at any cells."""
    average, population, sample, deviation = (
        o.expression for o in read("AVG(loss), VAR_POP(loss), VARIANCE(loss), STDDEV(loss)").outputs
    )
    for count in (-3.0, 0.5, 0.999, 1.5, 40.0):
        for total, squares in ((-900.0, 5e4), (700.0, -5e4), (0.0, 0.0)):
            given = {Part(0): total, Part(1): count, Part(2): squares}
            assert -10 <= evaluate(average, given).value <= 50
            assert 0 <= evaluate(population, given).value <= 900
            assert 0 <= evaluate(sample, given).value <= 1800
            assert 0 <= evaluate(deviation, given).value <= 1800**0.5


def test_expressions_are_built_as_documented():
    """Parts are in the measure's own integers; resolution, centre and bounds are public constants around them."""
    mean = Arithmetic("/", Part(0), Part(1))
    outputs = read("AVG(loss), VAR_POP(loss), STDDEV_POP(loss), MEDIAN(loss), PER_1000(COUNT(*))").outputs
    variance = Arithmetic(
        "-", Arithmetic("+", number(1800), Arithmetic("/", Part(2), Part(1))), Arithmetic("*", mean, mean)
    )
    bounded = Bounded(Arithmetic("*", number("1/4"), variance), Fraction(0), Fraction(900))
    assert [output.expression for output in outputs] == [
        Bounded(Arithmetic("*", number("1/2"), Arithmetic("+", number(40), mean)), Fraction(-10), Fraction(50)),
        bounded,
        Root(bounded),
        Arithmetic("*", number("1/2"), Quantile(3, Fraction(1, 2))),
        Arithmetic("/", Arithmetic("*", number(1000), Part(4)), Residents()),
    ]
    assert [output.name for output in outputs] == ["avg(loss)", "var_pop(loss)", "stddev_pop(loss)", "median(loss)", "per_1000(count(*))"]  # fmt: skip


@pytest.mark.parametrize(
    ("select", "q"),
    [
        ("MEDIAN(loss)", "1/2"), ("QUANTILE(loss, 0.25)", "1/4"), ("QUANTILE_CONT(loss, .9)", "9/10"), ("QUANTILE_DISC(loss, 1e-2)", "1/100"),
        ("PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY loss)", "1/2"), ("PERCENTILE_DISC(0.75) WITHIN GROUP (ORDER BY loss ASC)", "3/4"),
        ("MIN(loss)", "1/100"), ("MAX(loss)", "99/100"),
    ],
)  # fmt: skip
def test_quantiles(select, q):
    """Every way of writing a quantile is a share of one histogram."""
    statement = read(select)
    assert statement.question.measures == (HISTOGRAM,)
    assert statement.outputs[0].expression == Arithmetic("*", number("1/2"), Quantile(0, Fraction(q)))


def test_notes_say_what_an_extreme_is_and_how_exact_a_quantile():
    """MIN and MAX are said to be quantiles, and bins wider than a resolution are said, once each."""
    notes = read("MIN(loss), MAX(loss), MAX(loss) AS again").notes
    assert notes == (
        "MIN(loss) is its 1 % quantile: the least value itself would tell of a single record.",
        "MAX(loss) is its 99 % quantile: the largest value itself would tell of a single record.",
    )
    assert read("MEDIAN(loss)").notes == ()
    nominals = {contract.dataset: contract for contract in map(Contract.from_toml, bundled_contracts())}
    statement = parse_sql(
        "SELECT MEDIAN(loss_gbp), QUANTILE(loss_gbp, 0.9), MEDIAN(age) FROM nominals", nominals, FORCES
    )
    assert statement.notes == ("Quantiles of loss_gbp are exact to 10 GBP.",)
    assert [measure.widths for measure in statement.question.measures] == [(10, 80, 640), (1, 12)]


def test_a_histogram_is_coarser_in_many_groups():
    """The more groups an answer has, the wider a histogram's bins; where none are left, the quantile is refused."""
    groups = ("", "GROUP BY role, force, MONTH(day)", "GROUP BY day")
    widths = [read("MEDIAN(loss)", group).question.measures[0].widths for group in groups]
    assert widths == [(1, 12), (2, 16), (10,)]
    assert read("MEDIAN(loss)", "GROUP BY day").notes == ("Quantiles of loss are exact to 5 GBP.",)
    with pytest.raises(QuestionRefused, match="1460 groups are too many for a quantile of loss"):
        read("MEDIAN(loss)", "GROUP BY day, ROLLUP(role)")
    with pytest.raises(QuestionRefused, match="a quantile cannot be looked for in every group"):
        read("MEDIAN(loss)", "WHERE role = 'victim' AND role = 'suspect' GROUP BY role")


def test_squares_that_are_too_large_are_refused():
    """A variance whose cells could not travel exactly is refused, and what would do is said."""
    wide = Contract.from_toml(PERSON_CONTRACT.replace(b'max = "50"', b'max = "500000000000"'))
    with pytest.raises(QuestionRefused, match="too large to add up") as refusal:
        parse_sql("SELECT VARIANCE(loss) FROM persons", {"persons": wide}, FORCES)
    assert refusal.value.hint.startswith("AVG(loss), or QUANTILE")


SOLD = Arithmetic("*", number("1/2"), Part(1))


@pytest.mark.parametrize(
    ("having", "condition"),
    [
        ("COUNT(*) > 10", Comparison(">", Part(0), number(10))),
        ("n > 10", Comparison(">", Part(0), number(10))),
        ("10 <= n", Comparison("<=", number(10), Part(0))),
        ("SUM(loss) <> -3", Comparison("<>", SOLD, number(-3))),
        ("SUM(loss) / n >= 0.5", Comparison(">=", Arithmetic("/", SOLD, Part(0)), number("1/2"))),
        ("n = SUM(loss)", Comparison("=", Part(0), SOLD)),
        ("n BETWEEN 1 AND 2", Every((Comparison(">=", Part(0), number(1)), Comparison("<=", Part(0), number(2))))),
        ("NOT n < 3", Opposite(Comparison("<", Part(0), number(3)))),
        ("NOT (NOT n < 3)", Comparison("<", Part(0), number(3))),
        (
            "n > 1 AND n < 5 AND (n = 2 OR n = 3 OR n = 4)",
            Every((
                Comparison(">", Part(0), number(1)), Comparison("<", Part(0), number(5)),
                Either(tuple(Comparison("=", Part(0), number(x)) for x in (2, 3, 4))),
            )),
        ),
    ],
)  # fmt: skip
def test_having(having, condition):
    """HAVING compares measures, by their names or written out; what it needs beyond the SELECT list is asked for too."""
    statement = read("role, COUNT(*) AS n", f"GROUP BY role HAVING {having}")
    assert statement.having == condition
    assert statement.question.measures == ((COUNT, LOSS) if "SUM" in having else (COUNT,))
    assert len(statement.outputs) == 2


def test_having_may_call_a_measure_by_a_columns_name():
    """A measure that is named like its column is what HAVING means by that name."""
    statement = read("role, SUM(loss) AS loss", "GROUP BY role HAVING loss > 3 ORDER BY loss")
    assert statement.having == Comparison(">", Arithmetic("*", number("1/2"), Part(0)), number(3))


def test_every_measure_of_the_documentation_is_read():
    """Each function in the table of measures is read as it stands there, and each function that is read stands there."""
    text = (ROOT / "docs" / "query.md").read_text()
    table = text.split("| measure | of |")[1].split("\n\n")[0].splitlines()[2:]
    written = [form for row in table for form in re.findall("`([^`]+)`", row.split("|")[1])]
    letters = {"x": "loss", "p": "role = 'victim'", "q": "0.5", "unit": "person", "m": "COUNT(*)"}
    letters |= {"y": "loss", "c": "20", "d": "20", "o": "450"}
    for form in written:
        select = re.sub(rf"\b({'|'.join(letters)})\b", lambda letter: letters[letter[0]], form)
        assert "(" not in form or read(f"COUNT(*), {select}").outputs[1].is_measure, form
    named = {form.split("(")[0] for form in written} | set(
        re.findall(r"`(\w+)\(", text.split("| key |")[1].split("\n")[0])
    )
    assert named == set(FUNCTIONS)
