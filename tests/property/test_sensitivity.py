"""One unit's rows never move a block of the integer vector by more than its sensitivity D, in L2.

Neighbours are two sources that differ by one unit: all its rows, up to twice the bound k, or none. A load
draws anew which k rows of a unit remain, so two loads of a unit with more than k rows differ even where the
source does not. The rows that both sources share belong therefore to units of at most k rows, which every load
keeps whole; only the unit that differs may exceed the bound, and any of its rows may be the ones that remain.

Loading the two snapshots of an example is what takes time, so several questions are asked of each pair.
"""

import csv
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cordon.contract import Contract
from cordon.errors import QuestionRefused
from cordon.query.model import (
    All,
    Grain,
    Grouping,
    Key,
    Measure,
    MeasureKind,
    Member,
    Missing,
    Question,
    Range,
    Some,
)
from cordon.query.plan import make_plan, outline, split_evenly
from cordon.units import Rho
from node.aggregate import Snapshot
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

FORCES = ("essex", "kent")
FIELDS = ("ref", "role", "loss", "seen", "toll")
ROLES = ("suspect", "Suspect", "V", "missing", "", " victim ")
LOSSES = ("-10", "50", "49.75", "-0.25", "1e9", "-1e300", "nan", "inf", "much", "")
TOLLS = ("1e9", "-1e9", "3", "0", "")
DAYS = ("2025-01-05", "2025-01-31T23:30", "2025-02-28", "2024-12-31", "2025-13-40", "2025-03", "")
MOST_CELLS = 20_000
COUNT, UNITS = Measure(MeasureKind.COUNT), Measure(MeasureKind.COUNT_UNIT)
BY_MONTH = Key("day", Grain.MONTH)


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
        kind = "number"
        name = "toll"
        title = "Toll"
        unit = "GBP"
        min = "-9"
        max = "4"
        resolution = "1"
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
    """Questions, a source, and the rows of the one unit that its neighbour has besides."""

    contract: Contract
    looser: Contract
    """The same but for a bound of k + 1."""
    questions: tuple[Question, ...]
    shared: list[tuple[str, ...]]
    unit: list[tuple[str, ...]]
    suffix: str


def facts():
    """What a row says besides whose it is."""
    return st.tuples(st.sampled_from(ROLES), st.sampled_from(LOSSES), st.sampled_from(DAYS), st.sampled_from(TOLLS))


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
def measures_of(draw, kind, number):
    """Any measure of a kind, with or without a filter; `number` is the contract's."""
    where = draw(predicates())
    if kind in (MeasureKind.COUNT, MeasureKind.COUNT_UNIT):
        return Measure(kind, where=where)
    if kind is MeasureKind.HISTOGRAM:
        finest = draw(st.integers(1, 40))
        factors = draw(st.sampled_from([(), (2,), (3, 2), (7,), (1000,)]))
        widths = [finest]
        for factor in factors:
            widths.append(widths[-1] * factor)
        return Measure(kind, "loss", where=where, widths=tuple(widths))
    centre = draw(st.just(0) | st.integers(number.low, number.high))
    # Also offsets that are larger than any square, which only make the noise larger.
    offset = draw(st.sampled_from([0, 1, 700, 10**6])) if kind is MeasureKind.SQUARES else 0
    if kind is MeasureKind.PRODUCTS:
        other = draw(st.just(0) | st.integers(-9, 4))
        return Measure(kind, "loss", where=where, centre=centre, other="toll", other_centre=other)
    return Measure(kind, "loss", where=where, centre=centre, offset=offset)


def keys_of():
    """Up to three keys, one on each column at most, at any grain."""
    day = st.sampled_from([Grain.DAY, Grain.MONTH, Grain.QUARTER, Grain.YEAR]).map(lambda grain: Key("day", grain))
    loss = st.sampled_from([7, 30, 2**53]).map(lambda width: Key("loss", Grain.BIN, width))
    key = st.one_of(st.just(Key("role")), day, loss, st.just(Key("force")))
    return st.lists(key, unique_by=lambda key: key.column, max_size=3)


@st.composite
def groupings_of(draw, keys):
    """No groupings, or some that name every key between them."""
    if not keys or draw(st.booleans()):
        return ()
    every = tuple(range(len(keys)))
    some = draw(st.lists(st.sets(st.sampled_from(every)).map(lambda table: tuple(sorted(table))), max_size=3))
    tables = dict.fromkeys([*some, every])
    return tuple(map(Grouping, tables)) if len(tables) > 1 else ()


@st.composite
def questions_of(draw, contract, kinds):
    """A question that the contract has cells for."""
    measured = [draw(measures_of(draw(st.sampled_from(kinds)), contract.column("loss")))]
    measured += [draw(measures_of(draw(st.sampled_from(kinds)), contract.column("loss")))] * draw(st.integers(0, 1))
    keys = draw(keys_of())
    where, groupings = draw(predicates()), draw(groupings_of(keys))
    return Question("persons", 1, tuple(dict.fromkeys(measured)), where, tuple(keys), FORCES, groupings)


@st.composite
def cases(draw, units=("person", "row"), kinds=tuple(MeasureKind), most=4):
    """Draw a case; `kinds` are those of the measures that are asked for."""
    kind = draw(st.sampled_from(units))
    k = 1 if kind == "row" else draw(st.integers(1, 4))
    settings_of = (kind, draw(st.sampled_from(["own unit", "leave out"])), draw(st.sampled_from(["-60", "-10", "0"])))
    contract = make_contract(k, *settings_of)
    looser = make_contract(k + 1, *settings_of) if kind == "person" else contract
    allowed = [of for of in kinds if kind == "person" or of is not MeasureKind.COUNT_UNIT]
    question = questions_of(contract, allowed).filter(lambda question: has_cells(question, contract))
    asked = tuple(draw(st.lists(question, min_size=min(2, most), max_size=most)))
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
    return Case(contract, looser, asked, shared, unit, draw(st.sampled_from(["csv", "parquet"])))


def write_source(rows, path):
    """Write rows as a force's CSV or Parquet file."""
    table = path.with_suffix(".csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([FIELDS, *rows])
    if path.suffix == ".parquet":
        with duckdb.connect() as database:
            database.execute(f"COPY (SELECT * FROM read_csv('{table}', all_varchar = true)) TO '{path}'")


def vectors(rows, case, plans, contract, folder):
    """What a force with these rows computes for each plan."""
    source = folder / f"records.{case.suffix}"
    write_source(rows, source)
    columns = {
        "role": {"source": "role", "codes": {"V": "victim"}},
        "loss": {"source": "loss"},
        "day": {"source": "seen"},
        "toll": {"source": "toll"},
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
        return [snapshot.aggregate(plan, "kent") for plan in plans]
    finally:
        snapshot.close()


def planned(question, contract):
    """The plan of a question."""
    parts = outline(question, contract, most_cells=MOST_CELLS).parts
    return make_plan(question, split_evenly(Rho(10**7), len(parts)), contract, colluders=1, most_cells=MOST_CELLS)


def has_cells(question, contract):
    """Whether WHERE leaves something to group by, and not too much."""
    try:
        planned(question, contract)
    except QuestionRefused as error:
        if "nothing is left" not in str(error) and "the federation allows" not in str(error):
            raise
        return False
    return True


def plans_of(case):
    """The plan of each question of a case."""
    return [planned(question, case.contract) for question in case.questions]


def both(case, plans, contract):
    """Each plan's vector without the unit, and with it."""
    with tempfile.TemporaryDirectory() as name:
        without = vectors(case.shared, case, plans, contract, Path(name))
        return without, vectors([*case.shared, *case.unit], case, plans, contract, Path(name))


def moves(plan, without, whole):
    """By how much the unit's rows move each block, squared."""
    steps = [after - before for before, after in zip(without, whole, strict=True)]
    return [sum(step * step for step in steps[block.start : block.start + block.cells]) for block in plan.blocks]


def overstepped(case, plans, contract):
    """Whether the unit's rows move any block by more than the plan's D."""
    return any(
        moved > block.d_squared
        for plan, *found in zip(plans, *both(case, plans, contract), strict=True)
        for moved, block in zip(moves(plan, *found), plan.blocks, strict=True)
    )


def totals(plan, cells):
    """The sum of each block's cells, by measure, of those that must add up."""
    found = {}
    for block in plan.blocks:
        if block.measure.kind is not MeasureKind.COUNT_UNIT:
            total = sum(cells[block.start : block.start + block.cells])
            found.setdefault(block.measure, set()).add(total)
    return found


def check(case):
    """No unit moves a block too far, and the tables of a question add up."""
    plans = plans_of(case)
    for plan, *found in zip(plans, *both(case, plans, case.contract), strict=True):
        for moved, block in zip(moves(plan, *found), plan.blocks, strict=True):
            assert moved <= block.d_squared
        assert all(len(sums) == 1 for cells in found for sums in totals(plan, cells).values())


QUIET = list(HealthCheck)


@settings(max_examples=8, deadline=None, suppress_health_check=QUIET)
@given(cases())
def test_no_unit_moves_a_block_by_more_than_its_sensitivity(case):
    """With and without one unit, every block lies within D in L2, and tables and widths of a measure sum to the same."""
    check(case)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=300, deadline=None, suppress_health_check=QUIET)
@given(cases(most=8))
def test_no_unit_moves_a_block_by_more_than_its_sensitivity_at_length(case):
    """The same over three hundred pairs of neighbours, with up to eight questions each."""
    check(case)


LOW, HIGH = -120, 100
"""The bounds of `loss` that is at least -60, in resolutions."""

FURTHEST = {
    "COUNT": (COUNT, (), "-1e9"),
    "COUNT with a filter": (Measure(MeasureKind.COUNT, where=Member("role", ("victim",))), (), "-1e9"),
    "SUM": (Measure(MeasureKind.SUM, "loss"), (), "-1e9"),
    "SUM from a centre": (Measure(MeasureKind.SUM, "loss", centre=-100), (), "1e9"),
    "SQUARES": (Measure(MeasureKind.SQUARES, "loss", centre=10), (), "-1e9"),
    "SQUARES less half": (Measure(MeasureKind.SQUARES, "loss", centre=-10, offset=6050), (), "1e9"),
    "SQUARES less all": (Measure(MeasureKind.SQUARES, "loss", centre=14, offset=20_000), (), "7"),
    "HISTOGRAM": (Measure(MeasureKind.HISTOGRAM, "loss", widths=(3, 12)), (), "7"),
    "PRODUCTS": (Measure(MeasureKind.PRODUCTS, "loss", other="toll"), (), "-1e9"),
    "PRODUCTS from centres": (Measure(MeasureKind.PRODUCTS, "loss", centre=-100, other="toll", other_centre=-2), (), "1e9"),
    "COUNT by bins": (COUNT, (Key("loss", Grain.BIN, 7),), "-1e9"),
    "COUNT by year": (COUNT, (Key("day", Grain.YEAR),), "7"),
}  # fmt: skip
"""A measure, keys, and the number of six rows alike of one unit that move each of its blocks by exactly D."""


def extremes():
    """The cases in which units move every block of every measure kind by exactly D, with a bound of three rows."""
    contract, looser = (make_contract(k, "person", "own unit", "-60") for k in (3, 4))
    shared = [("p1", "V", "7", "2025-02-01", "3")]
    for loss, toll in (("-1e9", "-1e9"), ("1e9", "-1e9"), ("7", "")):
        asked = [(measure, keys) for measure, keys, of in FURTHEST.values() if of == loss]
        questions = tuple(Question("persons", 1, (measure,), None, keys, FORCES) for measure, keys in asked)
        yield Case(contract, looser, questions, shared, [("p9", "V", loss, "2025-01-05", toll)] * 6, "csv")
    groupings = (Grouping((0, 1)), Grouping((0,)), Grouping(()))
    apart = [("p9", role, "0", f"2025-0{month}-05", "") for month, role in ((1, "V"), (2, "V"), (3, "suspect"))]
    questions = (
        Question("persons", 1, (UNITS,), None, (BY_MONTH,), FORCES),
        Question("persons", 1, (UNITS,), None, (BY_MONTH, Key("force")), FORCES, groupings),
    )
    yield Case(contract, contract, questions, shared, apart, "csv")


@pytest.mark.parametrize("case", list(extremes()), ids=["lowest", "highest", "between", "apart"])
def test_the_sensitivity_is_reached(case):
    """Six rows alike, of which three remain, move every other measure by exactly D; rows in three months do units."""
    plans = plans_of(case)
    for plan, *found in zip(plans, *both(case, plans, case.contract), strict=True):
        assert moves(plan, *found) == [block.d_squared for block in plan.blocks]


def test_a_bound_too_large_would_be_noticed():
    """With one row more kept of each unit than the plan counts on, every block at its furthest oversteps."""
    case = next(extremes())
    plans = plans_of(case)
    for plan, *found in zip(plans, *both(case, plans, case.looser), strict=True):
        assert all(moved > block.d_squared for moved, block in zip(moves(plan, *found), plan.blocks, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", MeasureKind, ids=lambda kind: kind.name)
def test_a_sensitivity_too_small_would_be_found(kind):
    """With D² halved, the random search finds a unit that moves a block further."""
    found = []

    # Not `find`: it takes what it found through another load, which may draw other rows of the unit.
    @settings(max_examples=400, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=QUIET)
    @given(cases(("person",), (kind,)))
    def search(case):
        if not found and overstepped(case, halved(case), case.contract):
            found.append(case)

    search()
    assert found


def halved(case):
    """The plans of a case, with half of D² in every block."""
    return [
        replace(plan, blocks=tuple(replace(block, d_squared=block.d_squared / 2) for block in plan.blocks))
        for plan in plans_of(case)
    ]
