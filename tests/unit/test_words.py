"""What officers and auditors read of a question is everything that it asks."""

from dataclasses import replace

import pytest

from cordon.query.model import All, Grain, Grouping, Key, Measure, MeasureKind, Member, Missing, Question, Range, Some
from cordon.query.words import describe

COUNT = Measure(MeasureKind.COUNT)
PLAIN = Question("nominals", 1, (COUNT,), None, (), ("essex", "kent"))
VICTIMS = Member("role", ("suspect", "victim"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "COUNT(*) of nominals v1, 2 forces (essex, kent)"),
        ({"where": VICTIMS}, "COUNT(*) of nominals v1 where role in (suspect, victim), 2 forces (essex, kent)"),
        (
            {"measures": (replace(COUNT, where=Some((VICTIMS, Missing("age")))), Measure(MeasureKind.COUNT_UNIT))},
            "COUNT(*) filter ((role in (suspect, victim) or age is unknown)), COUNT(DISTINCT unit) of nominals v1, 2 forces (essex, kent)",
        ),
        (
            {"measures": (Measure(MeasureKind.SUM, "age", where=Range("age", 18, None), centre=40),)},
            "SUM(age - 40) filter (18 ≤ age) of nominals v1, 2 forces (essex, kent)",
        ),
        (
            {"measures": (Measure(MeasureKind.SQUARES, "loss", centre=-40, offset=9), Measure(MeasureKind.SQUARES, "age"))},
            "SUM((loss + 40)² - 9), SUM((age)²) of nominals v1, 2 forces (essex, kent)",
        ),
        (
            {"measures": (Measure(MeasureKind.PRODUCTS, "age", centre=40, other="loss", other_centre=-9),)},
            "SUM((age - 40) × (loss + 9)) of nominals v1, 2 forces (essex, kent)",
        ),
        (
            {"measures": (Measure(MeasureKind.HISTOGRAM, "age", widths=(5, 20)),), "where": All((VICTIMS, Missing("loss")))},
            "HISTOGRAM(age in bins of 5, 20) of nominals v1 where (role in (suspect, victim) and loss is unknown), 2 forces (essex, kent)",
        ),
        (
            {"keys": (Key("role"), Key("age", Grain.BIN, 10), Key("recorded", Grain.QUARTER), Key("force"))},
            "COUNT(*) of nominals v1 by role, age in bins of 10, quarter of recorded, force, 2 forces (essex, kent)",
        ),
        (
            {
                "keys": (Key("recorded", Grain.DAY), Key("role")),
                "groupings": (Grouping((0, 1)), Grouping((1,)), Grouping(())),
            },
            "COUNT(*) of nominals v1 by day of recorded, role in tables (recorded, role), (role), (), 2 forces (essex, kent)",
        ),
    ],
)  # fmt: skip
def test_everything_that_is_asked_is_told(changes, words):
    """Filters, centres, bins, grains, tables and the number of forces all stand in the one line."""
    assert describe(replace(PLAIN, **changes)) == words
