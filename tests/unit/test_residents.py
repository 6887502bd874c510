"""What rates are divided by: the bundled table of residents, and the rows that it stands behind."""

import pytest

from cordon.analyst.residents import bundled_residents, check_residents, residents_of
from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.errors import QuestionRefused
from cordon.query.plan import make_plan, outline
from cordon.query.sql import parse_sql
from cordon.units import Rho

STOPS = next(c for c in map(Contract.from_toml, bundled_contracts()) if c.dataset == "stop_search")
FORCES = ("btp", "city-of-london", "essex", "kent")
PLACES = ("city-of-london", "essex", "kent")


def read(sql, forces=FORCES):
    """A statement about stops."""
    return parse_sql(sql, {"stop_search": STOPS}, forces)


def planned(statement):
    """Its plan, evenly split."""
    parts = len(outline(statement.question, STOPS, most_cells=10_000).parts)
    return make_plan(statement.question, (Rho(10**8),) * parts, STOPS, colluders=1, most_cells=10_000)


def test_the_table_adds_up_to_the_published_total():
    """56,075,912 usual residents of England and Wales on census day 2011, and a few forces' own published totals."""
    forces = bundled_residents().forces
    assert sum(sum(groups.values()) for groups in forces.values()) == 56_075_912
    assert len(forces) == 43
    assert [sum(forces[force].values()) for force in PLACES] == [7_375, 1_724_950, 1_727_665]


def test_every_listed_code_is_one_of_the_contracts():
    """The columns and codes that stand for groups exist, and so do the groups."""
    table = bundled_residents()
    groups = {group for residents in table.forces.values() for group in residents}
    for column, codes in table.columns.items():
        assert set(codes) <= set(STOPS.column(column).positions)
        assert set(codes.values()) <= groups
    assert all(STOPS.column(column) for column in table.other_columns)


@pytest.mark.parametrize(
    ("end", "residents"),
    [
        ("", [7_375 + 1_724_950 + 1_727_665]),
        ("WHERE force = 'essex'", [1_724_950]),
        ("GROUP BY force", [7_375, 1_724_950, 1_727_665]),
        ("WHERE officer_defined_ethnicity = 'black' GROUP BY force", [193, 34_679, 22_879]),
        ("WHERE force = 'essex' AND officer_defined_ethnicity IN ('black', 'mixed')", [34_679 + 27_635]),
    ],
)
def test_a_row_is_divided_by_the_residents_behind_it(end, residents):
    """Of its force or of all that answered, and of the ethnic groups that WHERE leaves."""
    statement = read(f"SELECT COUNT(*) / RESIDENTS() AS rate FROM stop_search {end}", PLACES)
    check_residents(statement)
    plan = planned(statement)
    answered = statement.question.forces
    assert residents_of(plan, plan.question.tables[0], answered).tolist() == residents


def test_a_row_of_an_ethnic_group_is_divided_by_that_groups_residents():
    """Codes without residents of their own, such as unknown, have no rate."""
    statement = read(
        "SELECT officer_defined_ethnicity, PER_1000(COUNT(*)) FROM stop_search WHERE force = 'essex' "
        "GROUP BY officer_defined_ethnicity"
    )
    found = residents_of(planned(statement), (0,), ("essex",)).tolist()
    assert found[:5] == [1_608_308, 34_679, 47_227, 27_635, 7_101]
    assert str(found[5]) == "nan"


def test_only_forces_that_answered_count():
    """A total over two of three forces is divided by the residents of the two."""
    statement = read("SELECT PER_1000(COUNT(*)) FROM stop_search", PLACES)
    assert residents_of(planned(statement), (), ("essex", "kent")).tolist() == [1_724_950 + 1_727_665]


@pytest.mark.parametrize(
    ("sql", "why", "hint"),
    [
        ("SELECT PER_1000(COUNT(*)) FROM stop_search", "none for btp", "force NOT IN ('btp')"),
        (
            "SELECT PER_1000(COUNT(*)) FROM stop_search WHERE force = 'kent' AND self_defined_ethnicity = 'arab'",
            "self_defined_ethnicity",
            "officer_defined_ethnicity",
        ),
        (
            (
                "SELECT PER_1000(COUNT(*)) FROM stop_search "
                "WHERE force = 'kent' AND (officer_defined_ethnicity = 'black' OR gender = 'male')"
            ),
            "joined by AND",
            "WHERE",
        ),
        (
            (
                "SELECT COUNT(*) FROM stop_search WHERE force <> 'btp' "
                "HAVING COUNT_IF(officer_defined_ethnicity = 'black') / RESIDENTS() > 0.1"
            ),
            "joined by AND",
            "GROUP BY officer_defined_ethnicity",
        ),
        (
            (
                "SELECT PER_1000(COUNT(*)) FROM stop_search "
                "WHERE force = 'kent' AND officer_defined_ethnicity IN ('white', 'unknown')"
            ),
            "nobody knows the residents",
            "leave unknown out",
        ),
        (
            "SELECT COUNT(*) FROM stop_search HAVING RESIDENTS() > 1",
            "none for btp",
            "force NOT IN",
        ),
    ],
)
def test_what_the_table_cannot_answer_is_refused_before_anything_is_spent(sql, why, hint):
    """The refusal says what is missing, and what would work."""
    with pytest.raises(QuestionRefused, match=why) as refusal:
        check_residents(read(sql))
    assert hint in refusal.value.hint


def test_a_table_by_force_may_have_forces_without_residents():
    """Their rows have no rate; the others' have."""
    statement = read("SELECT force, PER_1000(COUNT(*)) FROM stop_search GROUP BY force")
    check_residents(statement)
    found = residents_of(planned(statement), (0,), FORCES).tolist()
    assert str(found[0]) == "nan"
    assert found[1:] == [7_375, 1_724_950, 1_727_665]
