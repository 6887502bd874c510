"""What the 43 forces load from the bundled data is what independent counts of the same files say.

Loading takes ten to twenty seconds: every force's own files are written and read through its own mapping, since a
mistake in one force's file, mapping or code list would show nowhere else.
"""

import csv
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from cordon.catalogue import bundled_contracts
from cordon.configfile import read_config
from cordon.contract import UNKNOWN, Contract
from cordon.query.plan import make_plan, split_evenly
from cordon.query.sql import parse_sql
from cordon.units import Rho
from demo.layout import HERE, Design, choose_forces, force_names, held_by, lay_out
from demo.nominals import FIELDS, MOST_ROWS, WITHOUT_PERSON, write_nominals
from demo.records import hand_out_records
from node.aggregate import Snapshot
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

pytestmark = pytest.mark.xdist_group("bundled")
"""Loading a year of stops takes a while: once is enough."""

FORCES = tuple(sorted(force_names()))
CONTRACTS = {contract.dataset: contract for contract in map(Contract.from_toml, bundled_contracts())}
YEARLY = {
    "object": "object",
    "outcome": "outcome",
    "gender": "gender",
    "age": "age_range",
    "officer-ethnicity": "officer_defined_ethnicity",
    "self-defined-ethnicity": "self_defined_ethnicity",
    "legislation": "legislation",
}
"""Column of the contract by the end of the file's name."""


FEW = FORCES[::6]
ALL = pytest.param(FORCES, marks=pytest.mark.slow, id="all")
"""Every force is loaded among the slow tests."""


@pytest.fixture(scope="module", params=[pytest.param(FEW, id="few"), ALL])
def snapshots(request, tmp_path_factory):
    """Forces' open snapshots of open data, by data set and force, and what each load reported."""
    forces = request.param
    layout = lay_out(tmp_path_factory.mktemp("data") / "federation", Design(forces))
    hand_out_records(layout, persons=4)

    def opened(force):
        """One force's snapshots; a force loads one data set after the other."""
        folder, of_force = layout.force_folder(force), {}
        for dataset in held_by(force):
            if dataset != "nominals":
                contract = CONTRACTS[dataset]
                mapping = read_config(folder / f"{dataset}.toml", Mapping)
                outcome = load(mapping, contract, folder / "state", progress=lambda _: None)
                snapshot = Snapshot(snapshot_path(folder / "state", dataset, 1), contract)
                of_force[dataset, force] = (snapshot, outcome.quality)
        return of_force

    with ThreadPoolExecutor(2) as pool:
        found = {job: of for of_force in pool.map(opened, forces) for job, of in of_force.items()}
    yield found
    for snapshot, _ in found.values():
        snapshot.close()


def totals(name, snapshots):
    """Rows of one file of independent counts, of the forces that are loaded."""
    loaded = {force for _, force in snapshots}
    with (HERE / "data" / "totals" / f"{name}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["force"] in loaded]
    assert rows
    return rows


def counted(snapshots, sql):
    """Counts of every force that holds the data set, by force and key values; cells of zero are left out."""
    statement = parse_sql(sql, CONTRACTS, list(FORCES))
    dataset = statement.question.dataset
    plan = make_plan(statement.question, split_evenly(Rho(10**9), 1), CONTRACTS[dataset], colluders=3, most_cells=10**6)
    counts = {}
    for (of, force), (snapshot, _) in snapshots.items():
        if of == dataset:
            cells = snapshot.aggregate(plan, force)
            counts |= {(force, *row): count for row, count in zip(plan.rows, cells, strict=True) if count}
    return counts


def code(column, label):
    """The code of a published label; what the contract does not know is unknown."""
    return {known.label: known.code for known in column.codes}.get(label, UNKNOWN)


@pytest.mark.parametrize("name", YEARLY)
def test_a_year_of_stops_agrees_by(snapshots, name):
    """For each force and each code, the snapshot holds the rows that were counted independently."""
    column = CONTRACTS["stop_search"].column(YEARLY[name])
    expected = Counter()
    for row in totals(f"stop-and-search-by-year-force-{name}", snapshots):
        assert row["financial_year"] == "2019/20"
        expected[row["force"], code(column, row["value"])] += int(row["n"])
    assert counted(snapshots, f"SELECT COUNT(*) FROM stop_search GROUP BY {column.name}") == expected


@pytest.mark.parametrize(
    ("field", "where"),
    [
        ("rows", ""),
        ("person", "WHERE type = 'person'"),
        ("person_and_vehicle", "WHERE type = 'person_and_vehicle'"),
        ("vehicle", "WHERE type = 'vehicle'"),
        ("section_60", "WHERE legislation = 'public_order_act_1994_s60'"),
        ("arrests", "WHERE outcome = 'arrest'"),
        ("no_further_action", "WHERE outcome = 'no_further_action'"),
    ],
)
def test_each_month_of_stops_agrees(snapshots, field, where):
    """For each force and each month of publication, the snapshot holds the rows that were counted independently."""
    expected = {
        (row["force"], row["month"]): int(row[field])
        for row in totals("stop-and-search-by-force-month", snapshots)
        if int(row[field])
    }
    assert counted(snapshots, f"SELECT COUNT(*) FROM stop_search {where} GROUP BY MONTH(month)") == expected


def test_street_crime_agrees_by_crime_type(snapshots):
    """For each force and crime type, the snapshot holds the rows that were counted independently."""
    column = CONTRACTS["street_crime"].column("crime_type")
    expected = Counter()
    for row in totals("street-by-force-month-crime-type", snapshots):
        expected[row["force"], row["month"], code(column, row["crime_type"])] += int(row["n"])
    assert counted(snapshots, "SELECT COUNT(*) FROM street_crime GROUP BY MONTH(month), crime_type") == expected


@pytest.mark.parametrize("snapshots", [ALL], indirect=True)
def test_all_rows_arrive_and_forces_hold_what_they_should(snapshots):
    """290,917 stops of 42 forces and 318,117 crimes of 41: 40 forces hold both."""
    rows = Counter()
    for (dataset, _), (_, quality) in snapshots.items():
        assert quality.rows_read == quality.rows_kept
        rows[dataset] += quality.rows_kept
    assert rows == {"stop_search": 290_917, "street_crime": 318_117}

    stops = {force for dataset, force in snapshots if dataset == "stop_search"}
    street = {force for dataset, force in snapshots if dataset == "street_crime"}
    assert len(stops & street) == 40
    assert street - stops == {"northern-ireland"}
    assert stops - street == {"west-midlands", "west-yorkshire"}
    assert stops | street == set(FORCES) == set(choose_forces(43))


def test_files_hold_a_force_only_where_it_is_said_to():
    """The bundled files have rows of a force exactly where its node is laid out to hold them."""
    for dataset in ("stop_search", "street_crime"):
        found = duckdb.sql(f"SELECT DISTINCT force FROM '{HERE}/data/{dataset}.parquet'").fetchall()
        assert {force for (force,) in found} == {force for force in FORCES if dataset in held_by(force)}


def test_nominals_follow_from_their_seed(tmp_path):
    """The same seed and place give the same bytes, another seed or place others."""
    made = {}
    for name, number, seed in [("first", 3, 1), ("again", 3, 1), ("seed", 3, 2), ("place", 4, 1)]:
        write_nominals(tmp_path / name, number=number, forces=43, persons=100, seed=seed)
        made[name] = (tmp_path / name).read_bytes()
    assert made["first"] == made["again"]
    assert len(set(made.values())) == 3


def test_nominals_know_their_repeats(tmp_path):
    """Rows, persons and persons shared with the next force are what the generator says of its own file."""
    facts, persons = [], []
    for number in range(3):
        path = tmp_path / f"{number}.csv"
        facts.append(write_nominals(path, number=number, forces=3, persons=100))
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert tuple(rows[0]) == FIELDS
        of = Counter(row["person_ref"] for row in rows)
        assert of.pop("") == WITHOUT_PERSON
        assert max(of.values()) == MOST_ROWS
        assert (len(rows), len(of)) == (facts[-1].rows, facts[-1].persons)
        persons.append(set(of))
    for number in range(3):
        following = persons[(number + 1) % 3]
        assert set(facts[number].shared_with_next) == persons[number] & following
        assert len(facts[number].shared_with_next) == 25
