"""The exact cells of every kind of measure, against plain DuckDB over the made-up records of persons.

The plain statements read the force's own file and were written by hand: they share no code with the node.
"""

import csv
from collections import Counter
from dataclasses import replace
from datetime import date
from fractions import Fraction

import duckdb
import pytest
from examples import PERSON_CONTRACT

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
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
from demo.nominals import FIELDS, write_nominals
from node import aggregate
from node.aggregate import Snapshot
from node.compile import compile_plan, scans
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

CONTRACT = next(c for c in map(Contract.from_toml, bundled_contracts()) if c.dataset == "nominals")
FORCES = ("essex", "kent")
COUNT = Measure(MeasureKind.COUNT)
UNITS = Measure(MeasureKind.COUNT_UNIT)
ROLE, QUARTER, BINS, BY_FORCE = Key("role"), Key("recorded", Grain.QUARTER), Key("age", Grain.BIN, 25), Key("force")
SUSPECT = Member("role", ("suspect",))
DEAR = Range("loss_gbp", 1000, None)

PLAIN = """
    CREATE TABLE records AS SELECT
        coalesce(nullif(person_ref, ''), 'row ' || row_number() OVER ()) AS who,
        CASE WHEN age > '' THEN least(110, age::BIGINT) END AS age,
        CASE WHEN loss <> 'much' THEN least(5000, round(loss::DOUBLE))::BIGINT END AS loss,
        CASE role WHEN 'SUS' THEN 'suspect' WHEN 'VIC' THEN 'victim' WHEN 'MIS' THEN 'missing_person'
                  WHEN 'WIT' THEN 'witness' ELSE 'unknown' END AS role,
        try_cast(recorded AS DATE) AS recorded
    FROM read_csv('{}', all_varchar = true)
"""
Q = "year(recorded) || '-Q' || quarter(recorded)"
A = "(age - age % 25)::VARCHAR"
KNOWN = "recorded IS NOT NULL AND age IS NOT NULL"


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A snapshot of persons with at most three rows, some of whose values are unknown, and the same file as a table."""
    folder = tmp_path_factory.mktemp("nominals")
    path = folder / "nominals.csv"
    write_nominals(path, number=0, forces=2, persons=400)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    of = Counter(row["person_ref"] for row in rows)
    kept = [row for row in rows if not row["person_ref"] or of[row["person_ref"]] <= 3]
    for at, row in enumerate(kept):
        row["age"] = row["age"] if at % 7 else ""
        row["loss"] = row["loss"] if at % 5 else "much"
        row["recorded"] = row["recorded"] if at % 11 else "2023-12-31x"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(kept)
    mapping = Mapping(
        dataset="nominals", version=1, domain="persons", source=path, as_at=date(2025, 1, 31),
        first_month="2024-01", last_month="2024-12",
        columns={
            "person": {"source": "person_ref"}, "recorded": {"source": "recorded"}, "age": {"source": "age"},
            "loss_gbp": {"source": "loss"},
            "role": {
                "source": "role",
                "codes": {"SUS": "suspect", "VIC": "victim", "MIS": "missing_person", "WIT": "witness"},
            },
        },
    )  # fmt: skip
    load(mapping, CONTRACT, folder, progress=lambda _: None)
    database = duckdb.connect()
    database.execute(PLAIN.format(path))
    snapshot = Snapshot(snapshot_path(folder, "nominals", 1), CONTRACT)
    yield snapshot, database
    snapshot.close()
    database.close()


def asked(measures, where=None, keys=(), groupings=(), contract=CONTRACT):
    """The plan of a question."""
    tables = tuple(Grouping(keys) for keys in groupings)
    question = Question(contract.dataset, 1, tuple(measures), where, tuple(keys), FORCES, tables)
    blocks = len(outline(question, contract, most_cells=10**5).parts)
    return make_plan(question, split_evenly(Rho(10**13), blocks), contract, colluders=0, most_cells=10**5)


def cells_of(plan, cells):
    """Each block's cells that are not zero, by key values, and by number of the bin where it has bins."""
    found = []
    for block in plan.blocks:
        rows = plan.rows_of(block.keys)
        bins = block.cells // len(rows)
        names = [(*row, at) if block.width else row for row in rows for at in range(bins)]
        values = cells[block.start : block.start + block.cells]
        found.append({name: value for name, value in zip(names, values, strict=True) if value})
    return found


CASES = {
    "filters": (
        asked(
            [
                replace(COUNT, where=SUSPECT), replace(COUNT, where=Some((SUSPECT, DEAR))), replace(UNITS, where=DEAR),
                Measure(MeasureKind.SUM, "loss_gbp", All((SUSPECT, Range("age", None, 40)))),
                replace(COUNT, where=Missing("loss_gbp")),
            ],
            where=Range("recorded", 19_750, None),
            keys=[QUARTER],
        ),
        [
            f"SELECT {Q}, count(*) FILTER ({condition}) FROM records WHERE recorded >= DATE '2024-01-28' GROUP BY 1"
            for condition in ("role = 'suspect'", "role = 'suspect' OR loss >= 1000")
        ]
        + [
            f"SELECT {Q}, count(DISTINCT who) FROM records WHERE recorded >= DATE '2024-01-28' AND loss >= 1000 GROUP BY 1",
            f"SELECT {Q}, sum(loss) FROM records WHERE recorded >= '2024-01-28' AND role = 'suspect' AND age <= 40 GROUP BY 1",
            f"SELECT {Q}, count(*) FROM records WHERE recorded >= '2024-01-28' AND loss IS NULL GROUP BY 1",
        ],
    ),
    "centres": (
        asked(
            [
                Measure(MeasureKind.SUM, "age", None, 55), Measure(MeasureKind.SQUARES, "age", None, 55, 1500),
                Measure(MeasureKind.SQUARES, "loss_gbp", SUSPECT),
                Measure(MeasureKind.PRODUCTS, "age", DEAR, 55, other="loss_gbp", other_centre=2500),
            ],
            keys=[ROLE],
        ),
        [
            "SELECT role, sum(age - 55) FROM records GROUP BY 1",
            "SELECT role, sum(pow(age - 55, 2) - 1500)::BIGINT FROM records GROUP BY 1",
            "SELECT role, sum(loss ** 2)::BIGINT FROM records WHERE role = 'suspect' GROUP BY 1",
            "SELECT role, sum((age - 55) * (loss - 2500)) FROM records WHERE loss >= 1000 GROUP BY 1",
        ],
    ),
    "histogram": (
        asked([Measure(MeasureKind.HISTOGRAM, "loss_gbp", DEAR, widths=(50, 200, 6000)), COUNT], keys=[ROLE]),
        [
            f"SELECT role, loss // {width}, count(*) FROM records WHERE loss >= 1000 GROUP BY 1, 2"
            for width in (50, 200)
        ]
        + [
            "SELECT role, 0, count(*) FROM records WHERE loss >= 1000 GROUP BY 1",
            "SELECT role, count(*) FROM records GROUP BY 1",
        ],
    ),
    "days": (
        asked([UNITS], where=All((SUSPECT, Range("recorded", 19_800, 19_890))), keys=[Key("recorded", Grain.DAY)]),
        [
            """SELECT recorded::VARCHAR, count(DISTINCT who) FROM records WHERE role = 'suspect'
               AND recorded BETWEEN DATE '1970-01-01' + 19800 AND DATE '1970-01-01' + 19890 GROUP BY 1"""
        ],
    ),
    "years": (
        asked([COUNT], keys=[Key("recorded", Grain.YEAR), Key("age", Grain.BIN, 1000)]),
        [f"SELECT year(recorded)::VARCHAR, '0', count(*) FROM records WHERE {KNOWN} GROUP BY 1"],
    ),
    "groupings": (
        asked(
            [COUNT, UNITS, Measure(MeasureKind.HISTOGRAM, "age", widths=(37,))],
            keys=[QUARTER, BY_FORCE, BINS],
            groupings=[(0, 1, 2), (1, 2), (0,), (1,), ()],
        ),
        [
            f"SELECT {names} {what} FROM records WHERE {KNOWN} GROUP BY ALL"
            for what in ("count(*)", "count(DISTINCT who)", "age // 37, count(*)")
            for names in (f"{Q}, 'kent', {A},", f"'kent', {A},", f"{Q},", "'kent',", "")
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cells_are_what_plain_sql_says(held, name):
    """Every cell of every block is the number that a statement written by hand finds, and no other cell is filled."""
    snapshot, database = held
    plan, statements = CASES[name]
    found = cells_of(plan, snapshot.aggregate(plan, "kent"))
    assert len(found) == len(statements)
    for block, statement in zip(found, statements, strict=True):
        rows = database.execute(statement).fetchall()
        assert block == {tuple(key): value for *key, value in rows if value}
        assert block


def test_tables_of_one_question_add_up(held):
    """Coarser counts and bins are sums of finer ones, rows without a known age or date included in none."""
    snapshot, database = held
    plan, _ = CASES["groupings"]
    found = cells_of(plan, snapshot.aggregate(plan, "kent"))
    ((total,),) = database.execute(f"SELECT count(*) FROM records WHERE {KNOWN}").fetchall()
    counts, histograms = found[:5], found[10:]
    assert {sum(block.values()) for block in (*counts, *histograms)} == {total}
    (everybody,) = database.execute("SELECT count(*) FROM records").fetchone()
    assert total < everybody


def test_another_forces_cells_stay_empty(held):
    """A force fills its own line only."""
    snapshot, _ = held
    plan = asked([COUNT], keys=[ROLE, BY_FORCE])
    kent, essex = (snapshot.aggregate(plan, force) for force in ("kent", "essex"))
    assert kent[1::2] == essex[0::2]
    assert not any(kent[0::2] + essex[1::2])


def test_where_nothing_is_left_every_cell_is_zero(held):
    """The result has the plan's shape also where no row counts, for every kind of measure."""
    snapshot, _ = held
    nothing = Range("age", 5, 4)
    measures = [
        COUNT, replace(UNITS, where=nothing), Measure(MeasureKind.SUM, "age", None, 7),
        Measure(MeasureKind.SQUARES, "age", None, 7, 9), Measure(MeasureKind.HISTOGRAM, "age", widths=(10,)),
        Measure(MeasureKind.PRODUCTS, "age", other="loss_gbp"),
    ]  # fmt: skip
    plan = asked(measures, where=nothing, keys=[ROLE, QUARTER], groupings=[(0, 1), (1,), ()])
    assert snapshot.aggregate(plan, "kent") == [0] * plan.cells


# Extremes


def extreme_contract(low, high):
    """Persons with one row each, whose losses have these bounds, in wholes."""
    assert PERSON_CONTRACT.count(b'min = "-10"') == PERSON_CONTRACT.count(b'max = "50"') == 1
    text = PERSON_CONTRACT.replace(b'min = "-10"', b'min = "%d"' % low).replace(b'max = "50"', b'max = "%d"' % high)
    text = text.replace(b"max_rows_per_force = 1000", b"max_rows_per_force = 4")
    return Contract.from_toml(text.replace(b'resolution = "1/2"', b'resolution = "1"'))


def vector_of(folder, contract, losses, plan):
    """The cells of one person for each loss."""
    source = folder / "records.csv"
    source.write_text("ref,loss\n" + "".join(f"p{at},{loss}\n" for at, loss in enumerate(losses)))
    mapping = Mapping(
        dataset="persons", version=1, domain="records", source=source, as_at=date(2026, 1, 31),
        first_month="2025-01", last_month="2025-12",
        columns={"person": {"source": "ref"}, "loss": {"source": "loss"}},
    )  # fmt: skip
    load(mapping, contract, folder, progress=lambda _: None)
    snapshot = Snapshot(snapshot_path(folder, "persons", 1), contract)
    try:
        return cells_of(plan, snapshot.aggregate(plan, "kent"))
    finally:
        snapshot.close()


def test_the_widest_bounds_that_a_plan_takes_overflow_nothing(tmp_path):
    """Squares up to 2^53 and bins of odd widths over 2^40 resolutions come out to the last unit."""
    wide, far = extreme_contract(1 - 2**26, 2**25), extreme_contract(-(2**40), 2**40)
    squares = asked([Measure(MeasureKind.SQUARES, "loss", None, 1 - 2**26, 1)], contract=wide)
    losses = [2**25, 2**25, 2**25 - 1]
    assert vector_of(tmp_path, wide, losses, squares) == [{(): sum((x + 2**26 - 1) ** 2 - 1 for x in losses)}]

    width = 2**35 + 1
    binned = asked(
        [Measure(MeasureKind.HISTOGRAM, "loss", widths=(width,))], keys=[Key("loss", Grain.BIN, width)], contract=far
    )
    losses = [-(2**40), -width - 1, -width, -1, 0, width - 1, width, 2**40]
    expected = Counter((str(Fraction(x, width).__floor__() * width), (x + 2**40) // width) for x in losses[:4])
    assert vector_of(tmp_path, far, losses[:4], binned) == [expected]
    expected = Counter((str(x // width * width), (x + 2**40) // width) for x in losses[4:])
    assert vector_of(tmp_path, far, losses[4:], binned) == [expected]


# Statements


def test_tables_that_differ_by_force_alone_share_a_statement():
    """Rows hold no force, so a table by role serves one by role and force too; a histogram has its own."""
    plan = asked(
        [COUNT, UNITS, Measure(MeasureKind.HISTOGRAM, "age", widths=(10, 20))],
        keys=[ROLE, BY_FORCE],
        groupings=[(0, 1), (0,), ()],
    )
    assert [(scan.keys, scan.measures, scan.width) for scan in scans(plan)] == [
        ((0,), (0, 1), 0), ((), (0, 1), 0), ((0,), (2,), 10), ((), (2,), 10),
    ]  # fmt: skip


def test_a_long_condition_is_written_once_however_many_tables():
    """Its length does not multiply in what a node keeps compiled."""
    keys = [ROLE, Key("gender"), QUARTER]
    long = Some(tuple(Range("age", at, at + 20) for at in range(30)))
    tables = [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,), ()]
    one = compile_plan(asked([COUNT], where=long, keys=keys), CONTRACT).length
    every = compile_plan(asked([COUNT], where=long, keys=keys, groupings=tables), CONTRACT).length
    assert one > 2000
    assert every < one + 8 * 200


def test_compiled_statements_are_kept_up_to_a_length(held, monkeypatch):
    """What is asked again is not compiled again, unless more was asked since than is kept."""
    snapshot, _ = held
    compiled = []

    def counted(plan, contract, place):
        compiled.append(plan.question)
        return compile_plan(plan, contract, place)

    monkeypatch.setattr(aggregate, "compile_plan", counted)
    questions = [asked([COUNT], where=Range("age", at, None)) for at in (11, 12)]
    answers = [snapshot.aggregate(plan, "kent") for plan in (questions[0], questions[0], questions[1], questions[0])]
    assert answers[0] == answers[1] == answers[3]
    assert len(compiled) == 2
    monkeypatch.setattr(aggregate, "MOST_TEXT", 0)
    for plan in (asked([COUNT], where=Range("age", 13, None)), questions[0]):
        snapshot.aggregate(plan, "kent")
    assert len(compiled) == 4
