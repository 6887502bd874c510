"""From a force's source to its snapshot and from there to exact cells, against plain DuckDB over the source."""

import csv
from collections import Counter
from dataclasses import replace
from random import Random

import duckdb
import pytest
from examples import PERSON_CONTRACT, person_contract, row_contract

from cordon.contract import Contract
from cordon.errors import Declined, Misconfigured
from cordon.query.model import All, Member, Missing, Range, Some
from cordon.query.plan import make_plan, split_evenly
from cordon.query.sql import parse_sql
from cordon.units import Rho
from node.aggregate import Snapshot
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

FIELDS = ("ref", "role", "loss", "seen")
COLUMNS = {
    "person": {"source": "ref"},
    "role": {"source": "role", "codes": {"S": "suspect", "V": "victim"}},
    "loss": {"source": "loss"},
    "day": {"source": "seen"},
}


@pytest.fixture
def folder(tmp_path):
    """A node's state folder."""
    return tmp_path


def fill(folder, rows, contract=None, **changes):
    """Load rows as a CSV file through a mapping; returns what the load reports."""
    source = folder / "records.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([FIELDS, *rows])
    contract = contract or person_contract()
    mapping = Mapping.model_validate(
        {
            "dataset": contract.dataset, "version": 1, "domain": "records", "source": source, "as_at": "2026-01-31",
            "first_month": "2025-01", "last_month": "2025-12", "columns": COLUMNS,
        }
        | changes
    )  # fmt: skip
    return load(mapping, contract, folder, progress=lambda _: None).quality


def opened(folder, contract=None):
    """The snapshot that a node would open now."""
    contract = contract or person_contract()
    return Snapshot(snapshot_path(folder, contract.dataset, 1), contract)


def person_plan(sql):
    """The plan of a question about persons."""
    question = parse_sql(sql, {"persons": person_contract()}, ["kent"]).question
    shares = split_evenly(Rho(10**9), len(question.measures))
    return make_plan(question, shares, person_contract(), colluders=0, most_cells=1000)


def ask(snapshot, sql, contract=None, where=None):
    """Exact cells of a question, by key values; `where` stands in for what the SQL has no words for."""
    contract = contract or person_contract()
    statement = parse_sql(sql, {contract.dataset: contract}, ["kent"])
    shares = split_evenly(Rho(10**9), len(statement.question.measures))
    question = replace(statement.question, where=where or statement.question.where)
    plan = make_plan(question, shares, contract, colluders=0, most_cells=1000)
    cells = snapshot.aggregate(plan, "kent")
    blocks = [cells[block.start : block.start + block.cells] for block in plan.blocks]
    return dict(zip(plan.rows, zip(*blocks, strict=True), strict=True))


def count(snapshot):
    """Rows that a snapshot serves."""
    return ask(snapshot, "SELECT COUNT(*) FROM persons")[()][0]


def stored(folder, statement):
    """Rows of the newest snapshot, read from its file."""
    path = snapshot_path(folder, "persons", 1).resolve()
    with duckdb.connect(str(path), read_only=True) as database:
        return database.execute(statement).fetchall()


# Replacing a snapshot


def test_an_open_snapshot_keeps_its_rows_while_a_new_load_serves_others(folder):
    """Within one process, what is open stays as it was, and what is opened after a load has the new rows."""
    fill(folder, [("p1", "S", "1", "2025-01-01")])
    before = opened(folder)
    fill(folder, [("p1", "S", "1", "2025-01-01"), ("p2", "V", "2", "2025-01-02")])
    after = opened(folder)
    assert (count(before), count(after)) == (1, 2)
    assert before.held.load_id != after.held.load_id
    before.close()
    assert count(after) == 2
    after.close()


def test_a_new_load_leaves_one_file(folder):
    """The rows of the load before are gone from the disk, and nothing half-made stays."""
    for _ in range(3):
        fill(folder, [("p1", "S", "1", "2025-01-01")])
    link = snapshot_path(folder, "persons", 1)
    assert {path.name for path in link.parent.iterdir()} == {link.name, link.resolve().name}


@pytest.mark.parametrize(
    "broken",
    [
        {"source": "missing.csv"},
        {"columns": COLUMNS | {"role": {"source": "no_such_column"}}},
        {"columns": COLUMNS | {"role": {"source": "role", "codes": {"S": "no_such_code"}}}},
        {"columns": {"role": {"source": "role"}}},
    ],
    ids=["no source", "no column", "no code", "no unit"],
)
def test_a_failed_load_leaves_the_one_before(folder, broken):
    """A load that cannot be made raises a typed error and changes nothing."""
    fill(folder, [("p1", "S", "1", "2025-01-01")])
    link = snapshot_path(folder, "persons", 1)
    before = (link.resolve(), sorted(link.parent.iterdir()))
    with pytest.raises(Misconfigured):
        fill(folder, [("p2", "V", "2", "2025-01-02")] * 2, **broken)
    assert (link.resolve(), sorted(link.parent.iterdir())) == before
    snapshot = opened(folder)
    assert count(snapshot) == 1
    snapshot.close()


def test_more_rows_than_the_contract_allows_are_not_loaded(folder):
    """The public bound on a force's rows holds for what remains after bounding each unit."""
    fill(folder, [("p1", "S", "1", "2025-01-01")] * 1001)
    with pytest.raises(Misconfigured, match="1001 rows"):
        fill(folder, [("", "S", "1", "2025-01-01")] * 1001)
    snapshot = opened(folder)
    assert count(snapshot) == 3
    snapshot.close()


def test_a_snapshot_of_another_contract_is_refused(folder):
    """One byte of the contract changed, and the node does not serve what was built for the one before."""
    fill(folder, [("p1", "S", "1", "2025-01-01")])
    with pytest.raises(Misconfigured, match="another contract"):
        opened(folder, Contract.from_toml(PERSON_CONTRACT + b"\n"))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vintage SET load_id = NULL",
        "UPDATE vintage SET as_at = 'soon'",
        "UPDATE vintage SET version = 7",
        "UPDATE vintage SET max_age_days = NULL",
        "DELETE FROM vintage",
        "ALTER TABLE vintage ADD COLUMN more VARCHAR",
        "ALTER TABLE snapshot DROP COLUMN role",
        "ALTER TABLE snapshot ALTER loss TYPE VARCHAR",
        "DROP TABLE snapshot",
        "CREATE TABLE elsewhere AS SELECT '{}' AS cluster, 'x' AS table_, '' AS before",
    ],
)
def test_a_snapshot_that_is_not_as_a_load_makes_it_is_refused(folder, change):
    """A label or rows of another form are refused when they are opened, and not met by a query."""
    fill(folder, [("p1", "S", "1", "2025-01-01")])
    with duckdb.connect(str(snapshot_path(folder, "persons", 1).resolve())) as database:
        database.execute(change)
    with pytest.raises(Misconfigured):
        opened(folder)


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_a_truncated_snapshot_is_refused(folder, kept):
    """A file that was cut off never opens as a smaller data set."""
    fill(folder, [(f"p{at}", "S", "1", "2025-01-01") for at in range(900)])
    path = snapshot_path(folder, "persons", 1).resolve()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Misconfigured, match="not a whole snapshot"):
        opened(folder)


@pytest.mark.parametrize("lost", [1, 4096, 100_000])
def test_a_snapshot_without_its_end_never_counts_less(folder, lost):
    """Where only the file's end is missing, opening it or computing from it fails; no smaller count comes out."""
    fill(folder, [(f"p{at}", "SV"[at % 2], str(at % 50), "2025-01-01") for at in range(900)])
    path = snapshot_path(folder, "persons", 1).resolve()
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises((Misconfigured, Declined)):
        opened(folder).aggregate(person_plan("SELECT COUNT(*), COUNT(DISTINCT person), SUM(loss) FROM persons"), "kent")


# The bound on each unit's rows


def test_at_most_k_rows_of_each_unit_remain(folder):
    """Of persons with one to eight rows, three rows at most are kept, and each row only once."""
    rows = [(f"p{of}", "S", str(at), "2025-01-01") for of in range(1, 9) for at in range(of)]
    quality = fill(folder, rows)
    kept = Counter(unit for (unit,) in stored(folder, "SELECT unit_ FROM snapshot"))
    assert sorted(kept.values()) == [1, 2, 3, 3, 3, 3, 3, 3]
    assert quality.rows_over_bound == 1 + 2 + 3 + 4 + 5
    assert stored(folder, "SELECT count(*) FROM (SELECT DISTINCT unit_, loss FROM snapshot)") == [(21,)]
    assert {rank for (rank,) in stored(folder, "SELECT rank_ FROM snapshot")} == {1, 2, 3}


def test_each_load_draws_anew_which_rows_remain(folder):
    """Over twelve loads of one person with eight rows, most rows remain at some time and not always the same ones."""
    rows = [("p1", "S", str(at), "2025-01-01") for at in range(8)]
    seen = []
    for _ in range(12):
        fill(folder, rows)
        seen.append(frozenset(loss for (loss,) in stored(folder, "SELECT loss FROM snapshot")))
    assert all(len(kept) == 3 for kept in seen)
    # That three rows never remain in 12 draws of 3 of 8 has a probability below 56 · (10/56)^12, about 6 in 10^8.
    assert len(set(seen)) > 5
    assert len(frozenset.union(*seen)) >= 6


def test_rows_without_unit_are_each_their_own(folder):
    """Ten rows that name nobody all remain, as ten units, and blanks name nobody."""
    quality = fill(folder, [("", "S", "1", "2025-01-01")] * 9 + [("  ", "S", "1", "2025-01-01")])
    assert (quality.rows_kept, quality.rows_without_unit, quality.rows_over_bound) == (10, 10, 0)
    snapshot = opened(folder)
    assert ask(snapshot, "SELECT COUNT(*), COUNT(DISTINCT person) FROM persons") == {(): (10, 10)}
    snapshot.close()


def test_rows_without_unit_are_left_out_where_the_contract_says_so(folder):
    """Under `leave out`, rows that name nobody are counted in the report only."""
    contract = Contract.from_toml(PERSON_CONTRACT.replace(b"[unit]", b'[unit]\nrows_without_unit = "leave out"'))
    rows = [("", "S", "1", "2025-01-01")] * 9 + [("p1", "S", "1", "2025-01-01")] * 4
    quality = fill(folder, rows, contract)
    assert (quality.rows_read, quality.rows_kept, quality.rows_without_unit, quality.rows_over_bound) == (13, 3, 9, 1)


def test_no_identifier_is_stored(folder):
    """Neither the snapshot's columns nor its bytes have the identifier of a person."""
    names = [f"identifier-of-somebody-{at}" for at in range(50)]
    fill(folder, [(name, "S", "1", "2025-01-01") for name in names])
    assert "person" not in {name for name, *_ in stored(folder, "DESCRIBE snapshot")}
    data = snapshot_path(folder, "persons", 1).resolve().read_bytes()
    assert b"identifier-of-somebody" not in data


# What becomes of values


def test_the_report_counts_what_was_missing_and_mended(folder):
    """Per column: rows without a value, rows that were clamped or became unknown, and the commonest such values."""
    quality = fill(
        folder,
        [
            ("p1", "S", "1", "2025-01-01"),
            ("p2", "bystander", "1e9", "2024-12-31"),
            ("p3", "bystander", "-11", "soon"),
            ("p4", "witness", "much", ""),
            ("p5", "", "", "2025-06"),
        ],
    )
    found = {column.column: column for column in quality.columns}
    assert {name: (column.missing, column.mended) for name, column in found.items()} == {
        "role": (1, 3), "loss": (1, 3), "day": (1, 2),
    }  # fmt: skip
    assert found["role"].examples == (("bystander", 2), ("witness", 1))
    assert quality.rows_read == quality.rows_kept == 5


NUMBERS = {
    "0": 0, "0.5": 1, "0.74": 1, "0.76": 2, "-0.3": -1, "50": 100, "50.2": 100, "1e300": 100, "-10": -20, "-10.4": -20,
    "-1e300": -20, "nan": None, "inf": None, "-inf": None, "x": None, "": None, " 7 ": 14,
}  # fmt: skip
STAMPS = {
    "2025-06-30T23:30:00+00:00": "2025-07-01",
    "2025-06-30T22:30:00+00:00": "2025-06-30",
    "2025-01-31T23:30:00+00:00": "2025-01-31",
    "2025-03-30T00:30:00+00:00": "2025-03-30",
    "2025-10-25T23:30:00+00:00": "2025-10-26",
    "2024-12-31T23:59:59+00:00": None,
    "2025-12-31T23:59:59+00:00": "2025-12-31",
    "2025-08-07": "2025-08-07",
}
CODES = {"suspect": 0, "Suspect": 0, "S": 0, " V ": 1, "SUSPECT": 2, "": 2, "unknown": 2, "x": 2}


def in_order(folder, column, texts, where, **changes):
    """What each of some texts is stored as: every text stands in a row of its own, whose place tells it."""
    # Losses are halves from -10 to 50: twice the place of a row in the list tells the row.
    place = "loss" if column != "loss" else "day"
    told = [f"{at / 2}" if place == "loss" else f"2025-01-{at + 1:02d}" for at in range(len(texts))]
    rows = [(f"p{at}", "", "", "") for at in range(len(texts))]
    at_field = {"role": 1, "loss": 2, "day": 3}
    cells = [list(row) for row in rows]
    for row, text, mark in zip(cells, texts, told, strict=True):
        row[at_field[column]], row[at_field[place]] = text, mark
    fill(folder, [tuple(row) for row in cells], **changes)
    return [value for (value,) in stored(folder, f"SELECT {where} FROM snapshot ORDER BY {place}")]


def test_numbers_are_rounded_to_resolutions_and_clamped(folder):
    """A number is stored in halves, within [-10, 50]; what is no finite number is unknown."""
    assert dict(zip(NUMBERS, in_order(folder, "loss", NUMBERS, "loss"), strict=True)) == NUMBERS


def test_a_utc_time_stamp_becomes_the_civil_date_in_london(folder):
    """In summer the last hour of a day in UTC is the next day, and may be the next month; in winter it is not."""
    columns = COLUMNS | {"day": {"source": "seen", "time_zone": "Europe/London"}}
    days = in_order(folder, "day", STAMPS, "(DATE '1970-01-01' + day)::VARCHAR", columns=columns)
    assert dict(zip(STAMPS, days, strict=True)) == STAMPS
    months = [value for (value,) in stored(folder, "SELECT day__month FROM snapshot ORDER BY loss")]
    expected = [None if day is None else 12 * int(day[:4]) + int(day[5:7]) - 1 for day in STAMPS.values()]
    assert months == expected


def test_codes_labels_and_local_codes_are_known_and_nothing_else(folder):
    """A value is a code, a label or a local code of the mapping, exactly; anything else is unknown."""
    assert dict(zip(CODES, in_order(folder, "role", CODES, "role"), strict=True)) == CODES


def test_a_column_that_is_not_mapped_is_unknown(folder):
    """A force that does not record a column still answers, with every row unknown there."""
    fill(folder, [("p1", "S", "1", "2025-01-01")], columns={"person": {"source": "ref"}})
    assert stored(folder, "SELECT role, loss, day, day__month FROM snapshot") == [(2, None, None, None)]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "duckdb"])
def test_sources_of_each_kind_give_the_same_rows(folder, suffix):
    """CSV, Parquet and a table of a DuckDB file hold the same records, and give the same snapshot."""
    fill(folder, ROWS)
    expected = stored(folder, "SELECT role, loss, day FROM snapshot ORDER BY ALL")
    source = folder / f"source.{suffix}"
    read = f"SELECT * FROM read_csv('{folder / 'records.csv'}', all_varchar = true)"
    with duckdb.connect(str(source) if suffix == "duckdb" else ":memory:") as database:
        database.execute(f"CREATE TABLE people AS {read}")
        if suffix != "duckdb":
            database.execute(f"COPY people TO '{source}'")
    fill(folder, ROWS, source={"path": source} | ({"table": "people"} if suffix == "duckdb" else {}))
    assert stored(folder, "SELECT role, loss, day FROM snapshot ORDER BY ALL") == expected


# Answers

_RANDOM = Random(20250101)
ROWS = [
    (
        f"p{at // 2}",
        _RANDOM.choice(["S", "V", "suspect", "bystander", ""]),
        _RANDOM.choice(["", "0", "-3.5", "12.5", "49.75", "50", "70"]),
        _RANDOM.choice(["", "2025-01-31", "2025-02-01", "2025-02-15", "2025-12-31", "2026-01-01"]),
    )
    for at in range(400)
]
"""Two rows of each person, so that the bound leaves every row; values known, unknown and out of range."""

PLAIN = """
    CREATE VIEW plain AS SELECT ref,
        CASE WHEN role IN ('S', 'suspect') THEN 'suspect' WHEN role = 'V' THEN 'victim' ELSE 'unknown' END AS role,
        CASE WHEN loss <> '' THEN least(100, greatest(-20, round(CAST(loss AS DOUBLE) * 2))) / 2 END AS loss,
        CASE WHEN seen LIKE '2025-%' THEN CAST(seen AS DATE) END AS day
    FROM read_csv('{path}', all_varchar = true)
"""
"""What the contract makes of the source, written down a second time."""

CONDITIONS = [
    "true",
    "role = 'suspect'",
    "role <> 'suspect'",
    "NOT role IN ('suspect', 'victim')",
    "loss > 12",
    "NOT loss > 12",
    "loss BETWEEN -5 AND 12.5",
    "loss <> 0",
    "day < DATE '2025-02-15'",
    "NOT (day < DATE '2025-02-15' OR loss > 12)",
    "NOT (role = 'victim' AND loss >= 12.5)",
    "(role = 'suspect' OR day >= DATE '2025-02-01') AND NOT loss < 0",
    "NOT (loss NOT BETWEEN 0 AND 12.5 AND NOT role = 'victim')",
]


@pytest.fixture(scope="module")
def same_rows(tmp_path_factory):
    """One snapshot, and plain DuckDB over the same source."""
    folder = tmp_path_factory.mktemp("plain")
    fill(folder, ROWS)
    snapshot = opened(folder)
    with duckdb.connect() as database:
        database.execute(PLAIN.format(path=folder / "records.csv"))
        yield snapshot, database
    snapshot.close()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_measures_agree_with_plain_sql(same_rows, condition):
    """Rows, persons and the sum in halves are those that DuckDB computes from the source, unknown values included."""
    snapshot, database = same_rows
    where = "" if condition == "true" else f"WHERE {condition}"
    answer = ask(snapshot, f"SELECT COUNT(*), COUNT(DISTINCT person), SUM(loss) FROM persons {where}")
    row = database.execute(
        f"SELECT count(*), count(DISTINCT ref), coalesce(sum(loss), 0) * 2 FROM plain WHERE {condition}"
    ).fetchone()
    assert answer == {(): tuple(row)}


@pytest.mark.parametrize(
    ("where", "condition"),
    [
        (Missing("loss"), "loss IS NULL"),
        (Range("loss", None, None), "loss IS NOT NULL"),
        (Some((Missing("day"), Range("loss", 100, 100))), "day IS NULL OR loss = 50"),
        (All((Missing("loss"), Member("role", ("unknown",)))), "loss IS NULL AND role = 'unknown'"),
        (Range("loss", 3, 2), "false"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unknown_values_agree_with_plain_sql(same_rows, where, condition):
    """A predicate that asks for unknown values, or for none, takes the rows that DuckDB takes."""
    snapshot, database = same_rows
    answer = ask(snapshot, "SELECT COUNT(*), COUNT(DISTINCT person) FROM persons", where=where)
    row = database.execute(f"SELECT count(*), count(DISTINCT ref) FROM plain WHERE {condition}").fetchone()
    assert answer == {(): tuple(row)}


@pytest.mark.parametrize("condition", CONDITIONS[::3])
def test_groups_agree_with_plain_sql(same_rows, condition):
    """Every cell of role by month is what DuckDB groups from the source; rows without a date are in no month."""
    snapshot, database = same_rows
    where = "" if condition == "true" else f"WHERE {condition}"
    answer = ask(snapshot, f"SELECT COUNT(*), SUM(loss) FROM persons {where} GROUP BY role, MONTH(day)")
    rows = database.execute(f"""
        SELECT role, strftime(day, '%Y-%m'), count(*), coalesce(sum(loss), 0) * 2 FROM plain
        WHERE day IS NOT NULL AND ({condition}) GROUP BY ALL
    """).fetchall()
    expected = {(role, month): (count, total) for role, month, count, total in rows}
    assert {key: cell for key, cell in answer.items() if cell != (0, 0)} == {
        key: cell for key, cell in expected.items() if cell != (0, 0)
    }
    assert expected.keys() <= answer.keys()


def test_a_data_set_of_rows_counts_rows(folder):
    """Where a row is its own unit, every row of the source is kept."""
    contract = row_contract()
    rows = [("", "red", "", "2025-01-01")] * 5 + [("", "blue", "", "2025-01-01")] * 2 + [("", "?", "", "")]
    quality = fill(folder, rows, contract, columns={"colour": {"source": "role"}, "day": {"source": "seen"}})
    assert quality.rows_kept == 8
    snapshot = opened(folder, contract)
    answer = ask(snapshot, "SELECT COUNT(*) FROM events GROUP BY colour", contract)
    assert answer == {("red",): (5,), ("blue",): (2,), ("unknown",): (1,)}
    snapshot.close()


def test_a_snapshot_tells_its_declared_vintage(folder):
    """What a node says of a data set is what its mapping declares, not what the records show."""
    fill(folder, [("p1", "S", "1", "2025-05-05")], note="approved note")
    snapshot = opened(folder)
    held = snapshot.held
    assert (held.dataset, held.version, held.digest) == ("persons", 1, person_contract().digest)
    assert (held.as_at, held.first_month, held.last_month) == ("2026-01-31", "2025-01", "2025-12")
    assert (snapshot.vintage.domain, held.note) == ("records", "approved note")
    snapshot.close()
