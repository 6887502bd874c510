"""What GROUP BY is read as: keys in order of appearance, and tables in SQL's order."""

import pytest
from examples import PERSON_CONTRACT, person_contract

from cordon.contract import Contract
from cordon.query.model import Grain, Grouping, Key
from cordon.query.sql import parse_sql

CONTRACTS = {"persons": person_contract()}
FORCES = ("essex", "kent")
ROLE, FORCE, MONTH = Key("role"), Key("force"), Key("day", Grain.MONTH)


def read(group, select="COUNT(*)", contracts=None):
    """The question of a GROUP BY over persons."""
    return parse_sql(f"SELECT {select} FROM persons GROUP BY {group}", contracts or CONTRACTS, FORCES).question


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("day", Key("day", Grain.DAY)),
        ("DATE_TRUNC('day', day)", Key("day", Grain.DAY)),
        ("DATE_TRUNC('MONTH', day)", MONTH),
        ("DATE_TRUNC('quarter', day)", Key("day", Grain.QUARTER)),
        ("DATE_TRUNC('year', day)", Key("day", Grain.YEAR)),
        ("MONTH(day)", MONTH),
        ("QUARTER(day)", Key("day", Grain.QUARTER)),
        ("YEAR(day)", Key("day", Grain.YEAR)),
        ("BIN(loss, 0.5)", Key("loss", Grain.BIN, 1)),
        ("BIN(loss, 10)", Key("loss", Grain.BIN, 20)),
        ("(role)", ROLE),
    ],
)
def test_keys(group, key):
    """Dates at each grain, numbers in bins of whole resolutions."""
    question = read(group)
    assert (question.keys, question.groupings) == ((key,), ())


def test_a_date_of_months_is_grouped_by_month():
    """A date column's own grain is what it is grouped by."""
    contracts = {"persons": Contract.from_toml(PERSON_CONTRACT.replace(b'grain = "day"', b'grain = "month"'))}
    assert read("day", contracts=contracts).keys == read("MONTH(day)", contracts=contracts).keys == (MONTH,)


@pytest.mark.parametrize(
    ("group", "keys", "tables"),
    [
        ("ROLLUP(role, force)", (ROLE, FORCE), [(0, 1), (0,), ()]),
        ("ROLLUP(role, (force, MONTH(day)))", (ROLE, FORCE, MONTH), [(0, 1, 2), (0,), ()]),
        ("role, force WITH ROLLUP", (ROLE, FORCE), [(0, 1), (0,), ()]),
        ("CUBE(role, force)", (ROLE, FORCE), [(0, 1), (0,), (1,), ()]),
        ("role, force WITH CUBE", (ROLE, FORCE), [(0, 1), (0,), (1,), ()]),
        ("GROUPING SETS ((role, force), (role), ())", (ROLE, FORCE), [(0, 1), (0,), ()]),
        ("GROUPING SETS (force, (MONTH(day), role))", (FORCE, MONTH, ROLE), [(0,), (1, 2)]),
        ("GROUPING SETS (force, ROLLUP(role, MONTH(day)))", (FORCE, ROLE, MONTH), [(0,), (1, 2), (1,), ()]),
        ("force, ROLLUP(role)", (FORCE, ROLE), [(0, 1), (0,)]),
        ("ROLLUP(role), force", (ROLE, FORCE), [(0, 1), (1,)]),
        ("ROLLUP(role), CUBE(force)", (ROLE, FORCE), [(0, 1), (0,), (1,), ()]),
        ("ROLLUP(role), ROLLUP(role)", (ROLE,), [(0,), ()]),
        ("role, CUBE(role, force)", (ROLE, FORCE), [(0, 1), (0,)]),
        ("role, ()", (ROLE,), []),
        ("role, role", (ROLE,), []),
        ("(role, force)", (ROLE, FORCE), []),
        ("GROUPING SETS ((role, force))", (ROLE, FORCE), []),
        ("GROUPING SETS (())", (), []),
    ],
)
def test_tables(group, keys, tables):
    """ROLLUP, CUBE, GROUPING SETS and their products, each table once; one table by all keys is no grouping."""
    question = read(group)
    assert question.keys == keys
    assert question.groupings == tuple(Grouping(table) for table in tables)


def test_positions_and_names_stand_within_rollup():
    """What the SELECT list calls a key is what ROLLUP may call it."""
    written = read("ROLLUP(role, MONTH(day))", "role AS part, MONTH(day), COUNT(*)")
    assert read("ROLLUP(part, 2)", "role AS part, MONTH(day), COUNT(*)") == written
