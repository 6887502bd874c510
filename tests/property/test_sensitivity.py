"""One unit's rows never move a block of the integer vector by more than its sensitivity D, in L2.

Neighbours are two sources that differ by one unit: all its rows, up to twice the bound k, or none. A load
draws anew which k rows of a unit remain, so two loads of a unit with more than k rows differ even where the
source does not. The rows that both sources share belong therefore to units of at most k rows, which every load
keeps whole; only the unit that differs may exceed the bound, and any of its rows may be the ones that remain.

Each example loads two snapshots from files, which is why forty of them take ten to twenty seconds.
"""

import csv
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from cordon.contract import Contract
from cordon.errors import QuestionRefused
from cordon.query.model import All, Grain, Key, Measure, MeasureKind, Member, Missing, Question, Range, Some
from cordon.query.plan import make_plan, split_evenly
from cordon.units import Rho
from node.aggregate import Snapshot
from node.load import load, snapshot_path
from node.mapping import Mapping

FORCES = ("essex", "kent")
FIELDS = ("ref", "role", "loss", "seen")
ROLES = ("suspect", "Suspect", "V", "missing", "", " victim ")
LOSSES = ("-10", "50", "49.75", "-0.25", "1e9", "-1e300", "nan", "inf", "much", "")
DAYS = ("2025-01-05", "2025-01-31T23:30", "2025-02-28", "2024-12-31", "2025-13-40", "2025-03", "")
MEASURES = (Measure(MeasureKind.COUNT), Measure(MeasureKind.COUNT_UNIT), Measure(MeasureKind.SUM, "loss"))


def make_contract(k, kind, unnamed, low):
    """A contract over persons or rows, with a bound of k rows a unit."""
    person = '[[column]]\nkind = "identifier"\nname = "person"\ntitle = "Person"\nuse = "unit"\n'
    return Contract.from_toml(
        f"""
        dataset = "persons"
        version = 1
        title = "Persons"
        description = "For tests"
        source = "none"
        licence = "none"
        [unit]
        kind = "{kind}"
        words = "one unit"
        max_rows_per_unit = {k}
        max_rows_per_force = 1000
        rows_without_unit = "{unnamed}"
        caveat = "for tests"
        {person if kind == "person" else ""}
        [[column]]
        kind = "category"
        name = "role"
        title = "Role"
        codes = [{{ code = "suspect", label = "Suspect" }}, {{ code = "victim", label = "Victim" }},
                 {{ code = "unknown", label = "Unknown" }}]
        [[column]]
        kind = "number"
        name = "loss"
        title = "Loss"
        unit = "GBP"
        min = "{low}"
        max = "50"
        resolution = "1/2"
        [[column]]
        kind = "date"
        name = "day"
        title = "Day"
        grain = "day"
        min = 2025-01-01
        max = 2025-03-31
    """.encode()
    )


@dataclass(frozen=True)
class Case:
    """A question, a source, and the rows of the one unit that its neighbour has besides."""

    contract: Contract
    looser: Contract
    """The same but for a bound of k + 1."""
    question: Question
    shared: list[tuple[str, ...]]
    unit: list[tuple[str, ...]]
    suffix: str


def facts():
    """What a row says besides whose it is."""
    return st.tuples(st.sampled_from(ROLES), st.sampled_from(LOSSES), st.sampled_from(DAYS))


def predicates():
    """Predicates with every kind of atom, nested up to two deep."""
    bounds = st.none() | st.integers(-30, 110)
    days = st.none() | st.integers(20_080, 20_190)
    atom = st.one_of(
        st.sets(st.sampled_from(["suspect", "unknown", "victim"]), min_size=1).map(
            lambda codes: Member("role", tuple(sorted(codes)))
        ),
        st.builds(Range, st.just("loss"), bounds, bounds),
        st.builds(Range, st.just("day"), days, days),
        st.sampled_from([Missing("loss"), Missing("day")]),
    )
    several = st.lists(atom, min_size=2, max_size=3).map(tuple)
    inner = atom | several.map(All) | several.map(Some)
    return st.none() | inner | st.tuples(inner, inner).map(Some)


@st.composite
def cases(draw, kinds=("person", "row"), measures=None):
    """Draw a case; `measures` fixes what is asked."""
    kind = draw(st.sampled_from(kinds))
    k = 1 if kind == "row" else draw(st.integers(1, 4))
    settings_of = (kind, draw(st.sampled_from(["own unit", "leave out"])), draw(st.sampled_from(["-60", "-10", "0"])))
    contract = make_contract(k, *settings_of)
    looser = make_contract(k + 1, *settings_of) if kind == "person" else contract
    if measures is None:
        allowed = [m for m in MEASURES if kind == "person" or m.kind is not MeasureKind.COUNT_UNIT]
        measures = tuple(draw(st.lists(st.sampled_from(allowed), min_size=1, unique=True)))
    keys = draw(st.lists(st.sampled_from([Key("role"), Key("day", Grain.MONTH), Key("force")]), unique=True))
    where = draw(predicates())
    question = Question("persons", 1, measures, where, tuple(keys), FORCES)
    shared = [
        (name, *draw(facts())) for name in draw(st.lists(st.sampled_from(["p1", "p2", "p3"]), unique=True))
        for _ in range(draw(st.integers(1, k)))
    ]  # fmt: skip
    shared += [("", *draw(facts())) for _ in range(draw(st.integers(0, 3)))]
    # A row that names nobody is a unit by itself, so such a unit has one row; so has every unit that is a row.
    named = kind == "person" and draw(st.integers(0, 4)) > 0
    rows = draw(st.lists(facts(), min_size=1, max_size=2 * k if named else 1))
    # Often all rows of the unit are the same, which is where a count or sum moves furthest.
    if draw(st.booleans()):
        rows = [rows[0]] * (2 * k if named else 1)
    unit = [("p9" if named else "", *row) for row in rows]
    return Case(contract, looser, question, shared, unit, draw(st.sampled_from(["csv", "parquet"])))


def write_source(rows, path):
    """Write rows as a force's CSV or Parquet file."""
    table = path.with_suffix(".csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([FIELDS, *rows])
    if path.suffix == ".parquet":
        with duckdb.connect() as database:
            database.execute(f"COPY (SELECT * FROM read_csv('{table}', all_varchar = true)) TO '{path}'")


def vector(rows, case, plan, contract, folder):
    """What a force with these rows computes for the plan."""
    source = folder / f"records.{case.suffix}"
    write_source(rows, source)
    columns = {
        "role": {"source": "role", "codes": {"V": "victim"}},
        "loss": {"source": "loss"},
        "day": {"source": "seen"},
    }
    if contract.unit_column is not None:
        columns["person"] = {"source": "ref"}
    mapping = Mapping.model_validate({
        "dataset": "persons", "version": 1, "domain": "records", "source": source, "as_at": "2025-04-30",
        "first_month": "2025-01", "last_month": "2025-03", "columns": columns,
    })  # fmt: skip
    load(mapping, contract, folder, progress=lambda _: None)
    snapshot = Snapshot(snapshot_path(folder, "persons", 1), contract)
    try:
        return snapshot.aggregate(plan, "kent")
    finally:
        snapshot.close()


def planned(case):
    """The plan of a case."""
    shares = split_evenly(Rho(10**7), len(case.question.measures))
    return make_plan(case.question, shares, case.contract, colluders=1, most_cells=1000)


def has_cells(case):
    """Whether WHERE leaves something to group by."""
    try:
        planned(case)
    except QuestionRefused as error:
        if "nothing is left" not in str(error):
            raise
        return False
    return True


def moves(case, plan, contract):
    """By how much the unit's rows move each block, squared."""
    with tempfile.TemporaryDirectory() as name:
        without = vector(case.shared, case, plan, contract, Path(name))
        whole = vector([*case.shared, *case.unit], case, plan, contract, Path(name))
    steps = [after - before for before, after in zip(without, whole, strict=True)]
    return [sum(step * step for step in steps[block.start : block.start + block.cells]) for block in plan.blocks]


def overstepped(case, plan, contract):
    """Whether the unit's rows move any block by more than the plan's D."""
    return any(moved > block.d_squared for moved, block in zip(moves(case, plan, contract), plan.blocks, strict=True))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases().filter(has_cells))
def test_no_unit_moves_a_block_by_more_than_its_sensitivity(case):
    """With and without one unit, every block of the vector lies within D in L2."""
    assert not overstepped(case, planned(case), case.contract)


@pytest.mark.parametrize(
    ("low", "losses"), [("-60", ["-1e9"] * 6), ("0", ["50"] * 6)], ids=["far below zero", "above zero"]
)
def test_the_sensitivity_is_reached(low, losses):
    """Six rows alike, of which three remain, move a count and a sum by exactly D; rows in three months do a unit."""
    contract = make_contract(3, "person", "own unit", low)
    alike = [("p9", "V", loss, "2025-01-05") for loss in losses]
    apart = [("p9", "V", "0", f"2025-0{month}-05") for month in (1, 2, 3)]
    together = Question("persons", 1, (MEASURES[0], MEASURES[2]), None, (), FORCES)
    by_month = Question("persons", 1, (MEASURES[1],), None, (Key("day", Grain.MONTH),), FORCES)
    for question, unit in [(together, alike), (by_month, apart)]:
        case = Case(contract, contract, question, [("p1", "V", "7", "2025-02-01")], unit, "csv")
        plan = planned(case)
        assert moves(case, plan, contract) == [block.d_squared for block in plan.blocks]


SEARCH = settings(
    max_examples=300, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.kind.name)
def test_a_sensitivity_too_small_would_be_noticed(measure):
    """With D² halved, the same search finds a unit that moves a block further."""

    def is_found(case):
        plan = planned(case)
        halved = tuple(replace(block, d_squared=block.d_squared / 2) for block in plan.blocks)
        return overstepped(case, replace(plan, blocks=halved), case.contract)

    assert find(cases(("person",), (measure,)).filter(has_cells), is_found, settings=SEARCH)


def test_a_bound_too_large_would_be_noticed():
    """With one row more kept of each unit than the plan counts on, the same search finds the difference."""
    strategy = cases(("person",), MEASURES[:1]).filter(has_cells)
    assert find(strategy, lambda case: overstepped(case, planned(case), case.looser), settings=SEARCH)
