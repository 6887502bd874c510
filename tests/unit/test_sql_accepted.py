"""What each statement of the subset is read as: the typed question, and how its answer is shown."""

from datetime import date
from fractions import Fraction

import pytest
from examples import person_contract, row_contract

from cordon.contract import days
from cordon.query.expression import Arithmetic, Constant, Part
from cordon.query.model import All, Grain, Key, Measure, MeasureKind, Member, Missing, Predicate, Question, Range, Some
from cordon.query.sql import parse_sql
from cordon.query.statement import Order, Output

CONTRACTS = {"events": row_contract(), "persons": person_contract()}
FORCES = ("essex", "kent", "surrey")
COUNT = Measure(MeasureKind.COUNT)
UNITS = Measure(MeasureKind.COUNT_UNIT)
LOSS = Measure(MeasureKind.SUM, "loss")
BY_MONTH = Key("day", Grain.MONTH)


def read(sql):
    """A statement as it is read; forces are given in another order than theirs."""
    return parse_sql(sql, CONTRACTS, FORCES[::-1])


def on(month, day=1):
    """Days since 1970-01-01 of a day of 2025."""
    return days(date(2025, month, day))


def test_a_whole_question():
    """Data set, version, measures, condition, keys and forces, each in the order asked."""
    statement = read(
        "SELECT force, MONTH(day) AS month, COUNT(*), COUNT(DISTINCT person), SUM(loss) AS lost FROM persons "
        "WHERE role = 'suspect' AND force <> 'kent' GROUP BY force, MONTH(day)"
    )
    assert statement.question == Question(
        "persons", 1, (COUNT, UNITS, LOSS), Member("role", ("suspect",)), (Key("force"), BY_MONTH), ("essex", "surrey")
    )
    assert statement.outputs == (
        Output("force", key=0), Output("month", key=1),
        Output("count(*)", expression=Part(0)), Output("count(distinct person)", expression=Part(1)),
        Output("lost", expression=Arithmetic("*", Constant(Fraction(1, 2)), Part(2))),
    )  # fmt: skip
    assert [output.is_measure for output in statement.outputs] == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("select", "group", "keys"),
    [
        ("COUNT(*)", "", ()),
        ("role, COUNT(*)", "role", (Key("role"),)),
        ("role, COUNT(*)", "1", (Key("role"),)),
        ("COUNT(*), role", "2", (Key("role"),)),
        ("role AS part, COUNT(*)", "part", (Key("role"),)),
        ("COUNT(*)", "role", (Key("role"),)),
        ("MONTH(day), COUNT(*)", "1", (BY_MONTH,)),
        ("MONTH(day) AS m, role, COUNT(*)", "m, 2", (BY_MONTH, Key("role"))),
        ("DATE_TRUNC('month', day), COUNT(*)", "DATE_TRUNC('month', day)", (BY_MONTH,)),
        ("MONTH(day), COUNT(*)", "DATE_TRUNC('month', day)", (BY_MONTH,)),
        ("COUNT(*), force", "force", (Key("force"),)),
        ("role, force, COUNT(*)", "force, role", (Key("force"), Key("role"))),
    ],
)
def test_keys(select, group, keys):
    """Ordinals, aliases and both ways of writing a month are keys, in GROUP BY's order."""
    statement = read(f"SELECT {select} FROM persons" + (f" GROUP BY {group}" if group else ""))
    assert statement.question.keys == keys
    assert statement.question.measures == (COUNT,)


@pytest.mark.parametrize(
    ("select", "measures"),
    [
        ("COUNT(*), COUNT(*)", (COUNT,)),
        ("SUM(loss), COUNT(*)", (LOSS, COUNT)),
        ("COUNT(DISTINCT person) AS people", (UNITS,)),
        ("count(*), sum(loss)", (COUNT, LOSS)),
    ],
)
def test_measures(select, measures):
    """A measure that is selected twice is paid for once."""
    assert read(f"SELECT {select} FROM persons").question.measures == measures


@pytest.mark.parametrize(
    ("where", "predicate"),
    [
        # Categories
        ("role = 'suspect'", Member("role", ("suspect",))),
        ("role = 'Suspect'", Member("role", ("suspect",))),
        ("'suspect' = role", Member("role", ("suspect",))),
        ("role <> 'suspect'", Member("role", ("unknown", "victim"))),
        ("role != 'suspect'", Member("role", ("unknown", "victim"))),
        ("NOT role = 'suspect'", Member("role", ("unknown", "victim"))),
        ("NOT (NOT role = 'suspect')", Member("role", ("suspect",))),
        ("role IN ('victim', 'suspect', 'victim')", Member("role", ("suspect", "victim"))),
        ("role NOT IN ('victim', 'unknown')", Member("role", ("suspect",))),
        # Numbers: in resolutions of a half
        ("loss = 3", Range("loss", 6, 6)),
        ("loss = 0.5", Range("loss", 1, 1)),
        ("loss > 10", Range("loss", 21, None)),
        ("loss >= 10", Range("loss", 20, None)),
        ("10 < loss", Range("loss", 21, None)),
        ("10 >= loss", Range("loss", None, 20)),
        ("loss < -0.5", Range("loss", None, -2)),
        ("NOT loss < 10", Range("loss", 20, None)),
        ("loss > 0.3", Range("loss", 1, None)),
        ("loss < 0.3", Range("loss", None, 0)),
        ("loss <= 0.3", Range("loss", None, 0)),
        ("loss = 0.3", Range("loss", 1, 0)),
        ("loss <> 0.3", Range("loss", None, None)),
        ("loss <> 3", Some((Range("loss", None, 5), Range("loss", 7, None)))),
        ("loss BETWEEN 1 AND 2", All((Range("loss", 2, None), Range("loss", None, 4)))),
        ("loss NOT BETWEEN 1 AND 2", Some((Range("loss", None, 1), Range("loss", 5, None)))),
        ("loss IN (1, 2)", Some((Range("loss", 2, 2), Range("loss", 4, 4)))),
        ("loss > 9999999", Range("loss", 102, None)),
        ("loss > -1e300", Range("loss", -20, None)),
        # Dates: a month stands for all its days
        ("day = '2025-02'", Range("day", on(2), on(3) - 1)),
        ("day = DATE '2025-02-03'", Range("day", on(2, 3), on(2, 3))),
        ("day >= '2025-02'", Range("day", on(2), None)),
        ("day > '2025-02'", Range("day", on(3), None)),
        ("day <= '2025-02'", Range("day", None, on(3) - 1)),
        ("day < '2025-02'", Range("day", None, on(2) - 1)),
        ("day <> '2025-02'", Some((Range("day", None, on(2) - 1), Range("day", on(3), None)))),
        ("day BETWEEN '2025-02-03' AND '2025-03'", All((Range("day", on(2, 3), None), Range("day", None, on(4) - 1)))),
        ("day <> DATE '2025-02-03'", Some((Range("day", None, on(2, 3) - 1), Range("day", on(2, 3) + 1, None)))),
        # Unknown values
        ("role IS NULL", Member("role", ("unknown",))),
        ("role IS NOT NULL", Member("role", ("suspect", "victim"))),
        ("loss IS NULL", Missing("loss")),
        ("NOT loss IS NULL", Range("loss", None, None)),
        ("NOT (loss IS NOT NULL)", Missing("loss")),
        ("day IS NULL OR loss > 3", Some((Missing("day"), Range("loss", 7, None)))),
        # Combinations
        ("role = 'victim' AND loss = 3 AND day = '2025-02-03'", All((Member("role", ("victim",)), Range("loss", 6, 6), Range("day", on(2, 3), on(2, 3))))),
        ("role = 'victim' OR loss = 3", Some((Member("role", ("victim",)), Range("loss", 6, 6)))),
        ("NOT (role = 'victim' OR loss > 3)", All((Member("role", ("suspect", "unknown")), Range("loss", None, 6)))),
        ("NOT (role = 'victim' AND loss > 3)", Some((Member("role", ("suspect", "unknown")), Range("loss", None, 6)))),
        (
            "role = 'victim' OR (loss = 3 AND day = '2025-02-03')",
            Some((Member("role", ("victim",)), All((Range("loss", 6, 6), Range("day", on(2, 3), on(2, 3)))))),
        ),
    ],
)  # fmt: skip
def test_conditions(where, predicate: Predicate):
    """Each condition as atoms over the column's own integers, without NOT."""
    assert read(f"SELECT COUNT(*) FROM persons WHERE {where}").question.where == predicate


@pytest.mark.parametrize(
    ("where", "forces"),
    [
        ("force = 'kent'", ("kent",)),
        ("force <> 'kent'", ("essex", "surrey")),
        ("force IN ('surrey', 'essex')", ("essex", "surrey")),
        ("force NOT IN ('surrey', 'essex')", ("kent",)),
        ("NOT force = 'kent'", ("essex", "surrey")),
        ("force <> 'kent' AND force <> 'essex'", ("surrey",)),
        ("(force <> 'kent')", ("essex", "surrey")),
    ],
)
def test_forces_are_picked_and_leave_no_condition(where, forces):
    """Who is asked is no condition on records, and stands in the question in the order of bytes."""
    question = read(f"SELECT COUNT(*) FROM persons WHERE {where}").question
    assert (question.forces, question.where) == (forces, None)
    both = read(f"SELECT COUNT(*) FROM persons WHERE role = 'victim' AND {where}").question
    assert (both.forces, both.where) == (forces, Member("role", ("victim",)))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("2", (Order(1, descending=False),)),
        ("2 DESC", (Order(1, descending=True),)),
        ("n DESC, role", (Order(1, descending=True), Order(0, descending=False))),
        ("COUNT(*) ASC", (Order(1, descending=False),)),
        ("role", (Order(0, descending=False),)),
    ],
)
def test_order_and_limit_are_not_part_of_the_question(order, expected):
    """What is done with the answer travels nowhere."""
    base = "SELECT role, COUNT(*) AS n FROM persons GROUP BY role"
    statement = read(f"{base} ORDER BY {order} LIMIT 7")
    assert (statement.order, statement.limit) == (expected, 7)
    assert statement.question == read(base).question
    assert (read(base).order, read(base).limit) == ((), None)


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from persons",
        "SELECT COUNT(*) FROM persons;",
        "SELECT\n  COUNT(*) -- how many\nFROM persons /* of all */",
        'SELECT COUNT(*) FROM "persons"',
        "SELECT COUNT( * ) FROM persons",
    ],
)
def test_spelling_does_not_change_the_question(sql):
    """Case of words, comments, blanks and quotes are no part of a question."""
    assert read(sql).question == Question("persons", 1, (COUNT,), None, (), FORCES)
