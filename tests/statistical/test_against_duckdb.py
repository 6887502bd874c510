"""The same SQL text, asked of Cordon and of plain DuckDB over the pooled records: only the noise lies between.

Records are the bundled ones of six forces (all of them in `make slow`), each loaded through its force's own
mapping. DuckDB sees what the nodes may answer from: at most k rows of a unit, clamped numbers, known codes; a
unit of one force is another person than the same identifier elsewhere, as COUNT(DISTINCT unit) says it counts.
"""

import math
from datetime import date

import duckdb
import numpy as np
import pytest
from scipy.stats import binom, chi2, kstest

from cordon.analyst.compose import plan_statement
from cordon.analyst.rows import make_rows
from cordon.catalogue import bundled_contracts
from cordon.configfile import read_config
from cordon.contract import Category, Contract, Date, Number
from cordon.estimate.interval import is_linear
from cordon.manifest import read_manifest
from cordon.noise import add_noise_share
from cordon.query.model import Grain
from cordon.query.sql import parse_sql
from cordon.units import Rho
from demo.layout import Design, force_names, held_by, lay_out
from demo.records import hand_out_records
from node.aggregate import Snapshot
from node.coding import RANK
from node.identifiers import UNIT
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

CONTRACTS = {
    c.dataset: c for c in map(Contract.from_toml, bundled_contracts()) if c.version == 1 and c.dataset != "outcomes"
}
FEW = ("city-of-london", "cumbria", "durham", "essex", "kent", "warwickshire")
RHO = Rho(500_000_000)
FALSE_ALARM = 1e-6
UNITS = {"nominals": "person"}

STOPS = """
SELECT COUNT(*) FROM stop_search
SELECT gender, COUNT(*) FROM stop_search GROUP BY gender
SELECT object, COUNT(*) FROM stop_search WHERE outcome = 'arrest' GROUP BY object
SELECT object, outcome, COUNT(*) FROM stop_search GROUP BY object, outcome
SELECT force, COUNT(*) FROM stop_search GROUP BY force
SELECT force, type, COUNT(*) FROM stop_search GROUP BY force, type
SELECT age_range, gender, COUNT(*) FROM stop_search GROUP BY age_range, gender
SELECT DATE_TRUNC('month', date), COUNT(*) FROM stop_search GROUP BY DATE_TRUNC('month', date)
SELECT DATE_TRUNC('quarter', date), COUNT(*) FROM stop_search GROUP BY DATE_TRUNC('quarter', date)
SELECT DATE_TRUNC('year', date), gender, COUNT(*) FROM stop_search GROUP BY DATE_TRUNC('year', date), gender
SELECT DATE_TRUNC('day', date), COUNT(*) FROM stop_search WHERE date BETWEEN '2019-05-01' AND '2019-05-31' GROUP BY DATE_TRUNC('day', date)
SELECT COUNT(*) FROM stop_search WHERE date >= '2019-09-15' AND NOT (gender = 'male' OR object = 'drugs')
SELECT COUNT(*) FROM stop_search WHERE date IS NULL
SELECT COUNT(*) FROM stop_search WHERE date IS NOT NULL AND gender IN ('male', 'female')
SELECT COUNT_IF(outcome = 'arrest') FROM stop_search
SELECT officer_defined_ethnicity, COUNT_IF(outcome = 'arrest'), COUNT(*) FROM stop_search GROUP BY officer_defined_ethnicity
SELECT officer_defined_ethnicity, 100 * COUNT_IF(outcome = 'arrest') / COUNT(*) FROM stop_search GROUP BY officer_defined_ethnicity
SELECT COUNT(*) FILTER (WHERE gender = 'female'), COUNT(*) FILTER (WHERE gender <> 'female') FROM stop_search
SELECT outcome_linked, COUNT(*) FROM stop_search WHERE type <> 'vehicle' GROUP BY outcome_linked
SELECT clothing_removed, COUNT(*) FROM stop_search WHERE legislation = 'misuse_of_drugs_act_1971_s23' GROUP BY clothing_removed
SELECT gender, type, COUNT(*) FROM stop_search GROUP BY ROLLUP (gender, type)
SELECT gender, type, COUNT(*) FROM stop_search GROUP BY CUBE (gender, type)
SELECT gender, type, COUNT(*) FROM stop_search GROUP BY GROUPING SETS ((gender), (type))
SELECT COUNT(*) - COUNT_IF(gender = 'male') FROM stop_search
SELECT self_defined_ethnicity, COUNT(*) FROM stop_search GROUP BY self_defined_ethnicity
"""
CRIMES = """
SELECT COUNT(*) FROM street_crime
SELECT crime_type, COUNT(*) FROM street_crime GROUP BY crime_type
SELECT crime_type, last_outcome, COUNT(*) FROM street_crime GROUP BY crime_type, last_outcome
SELECT force, crime_type, COUNT(*) FROM street_crime GROUP BY force, crime_type
SELECT force, COUNT(*) FROM street_crime WHERE crime_type IN ('burglary', 'robbery') GROUP BY force
SELECT last_outcome, COUNT_IF(crime_type = 'drugs') FROM street_crime GROUP BY last_outcome
SELECT force, crime_type, COUNT(*) FROM street_crime GROUP BY ROLLUP (force, crime_type)
SELECT 1000.0 * COUNT_IF(crime_type = 'shoplifting') / COUNT(*) FROM street_crime
SELECT COUNT(*) FILTER (WHERE last_outcome = 'unknown') FROM street_crime WHERE crime_type <> 'anti_social_behaviour'
SELECT force, COUNT_IF(crime_type = 'burglary') / COUNT(*) FROM street_crime GROUP BY force
SELECT crime_type, COUNT(*) FROM street_crime WHERE force IN ('essex', 'kent', 'durham') GROUP BY crime_type
SELECT COUNT(*) FROM street_crime WHERE crime_type IS NOT NULL
"""
PERSONS = """
SELECT COUNT(*) FROM nominals
SELECT COUNT(DISTINCT person) FROM nominals
SELECT role, COUNT(DISTINCT person) FROM nominals GROUP BY role
SELECT force, COUNT(DISTINCT person), COUNT(*) FROM nominals GROUP BY force
SELECT COUNT(DISTINCT person) FILTER (WHERE role = 'victim') FROM nominals
SELECT SUM(loss_gbp) FROM nominals
SELECT offence, SUM(loss_gbp) FROM nominals GROUP BY offence
SELECT AVG(age) FROM nominals
SELECT role, AVG(age), COUNT(*) FROM nominals GROUP BY role
SELECT gender, AVG(loss_gbp) FROM nominals WHERE loss_gbp > 0 GROUP BY gender
SELECT VARIANCE(age) FROM nominals
SELECT role, STDDEV(age) FROM nominals GROUP BY role
SELECT VAR_POP(loss_gbp), STDDEV_POP(loss_gbp) FROM nominals
SELECT MEDIAN(age) FROM nominals
SELECT role, MEDIAN(age) FROM nominals GROUP BY role
SELECT QUANTILE(age, 0.25), QUANTILE(age, 0.75) FROM nominals
SELECT offence, QUANTILE(age, 0.9) FROM nominals GROUP BY offence
SELECT BIN(age, 10), COUNT(*) FROM nominals GROUP BY BIN(age, 10)
SELECT BIN(loss_gbp, 500), COUNT(*) FROM nominals GROUP BY BIN(loss_gbp, 500)
SELECT BIN(age, 20), gender, COUNT(*) FROM nominals GROUP BY CUBE (BIN(age, 20), gender)
SELECT DATE_TRUNC('month', recorded), COUNT(DISTINCT person) FROM nominals GROUP BY DATE_TRUNC('month', recorded)
SELECT DATE_TRUNC('quarter', recorded), SUM(loss_gbp), COUNT(*) FROM nominals GROUP BY DATE_TRUNC('quarter', recorded)
SELECT COUNT(*) FROM nominals WHERE age BETWEEN 18 AND 24 AND recorded < '2024-07-01'
SELECT SUM(loss_gbp) / COUNT(*) FROM nominals WHERE role = 'victim'
SELECT COUNT(age), COUNT(loss_gbp), COUNT(*) FROM nominals
SELECT COUNT(*) FROM nominals WHERE age IS NULL
SELECT SUM(age) FILTER (WHERE gender = 'female') FROM nominals
SELECT role, gender, SUM(loss_gbp) FROM nominals GROUP BY ROLLUP (role, gender)
SELECT role, SUM(age * loss_gbp), SUM((age - 55) * (age - 55) - 1512) FROM nominals GROUP BY role
SELECT SUM((age - 55) * (loss_gbp - 2500)) FROM nominals WHERE gender = 'female'
"""
STATEMENTS = [line for text in (STOPS, CRIMES, PERSONS) for line in text.strip().splitlines()]


class Pool:
    """The forces' snapshots, and all their bounded records in one plain database."""

    def __init__(self, folder, forces):
        layout = lay_out(folder / "federation", Design(forces))
        hand_out_records(layout, persons=300)
        self.manifest = read_manifest(layout.root / "manifest.json", layout.governance_keys)[0]
        self.forces = forces
        self.snapshots = {}
        self.database = duckdb.connect()
        self.database.execute("CREATE MACRO bin(x, w) AS CAST(floor(x / w) * w AS BIGINT)")
        # DuckDB's own takes the middle of two values; the contract's numbers have none between them.
        self.database.execute("CREATE MACRO median(x) AS quantile_disc(x, 0.5)")
        for force in forces:
            for dataset in held_by(force):
                self._load(layout.force_folder(force), force, dataset)

    def _load(self, folder, force, dataset):
        contract = CONTRACTS[dataset]
        load(read_config(folder / f"{dataset}.toml", Mapping), contract, folder / "state", progress=lambda _: None)
        path = snapshot_path(folder / "state", dataset, 1)
        self.database.execute(f"ATTACH '{path.resolve()}' AS one (READ_ONLY)")
        rows = f"SELECT {', '.join(decoded(contract, force))} FROM one.snapshot WHERE {RANK} <= {contract.unit.max_rows_per_unit}"
        known = self.database.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [dataset]).fetchone()
        self.database.execute(f"INSERT INTO {dataset} {rows}" if known else f"CREATE TABLE {dataset} AS {rows}")
        self.database.execute("DETACH one")
        self.snapshots[dataset, force] = Snapshot(path, contract)

    def close(self):
        """Close every file."""
        self.database.close()
        for snapshot in self.snapshots.values():
            snapshot.close()


def decoded(contract, force):
    """Each column of a snapshot as the contract means it."""
    yield f"'{force}' AS force"
    if contract.dataset in UNITS:
        yield f"'{force}-' || {UNIT} AS {UNITS[contract.dataset]}"
    for column in contract.columns:
        if isinstance(column, Category):
            codes = ", ".join(f"'{code.code}'" for code in column.codes)
            yield f"[{codes}][{column.name} + 1] AS {column.name}"
        elif isinstance(column, Date):
            yield f"DATE '1970-01-01' + CAST({column.name} AS INTEGER) AS {column.name}"
        elif isinstance(column, Number):
            assert column.resolution == 1
            yield column.name


@pytest.fixture(scope="module", params=[FEW, pytest.param(None, marks=pytest.mark.slow)], ids=["six", "all"])
def pool(request, tmp_path_factory):
    """The pooled records of some forces, or of all."""
    opened = Pool(tmp_path_factory.mktemp("pool"), request.param or tuple(sorted(force_names())))
    yield opened
    opened.close()


def answered(sql, pool):
    """Cordon's rows: exact cells of each force's own snapshot, each with its own share of real noise, added up."""
    statement = parse_sql(sql, CONTRACTS, pool.forces)
    question = statement.question
    contract = CONTRACTS[question.dataset]
    roster = tuple(force for force in question.forces if (question.dataset, force) in pool.snapshots)
    plan = plan_statement(statement, RHO, contract, pool.manifest)
    exact = [pool.snapshots[question.dataset, force].aggregate(plan, force) for force in roster]
    opened = np.sum([add_noise_share(cells, plan, len(roster)) for cells in exact], axis=0, dtype=object)
    rows, _ = make_rows(list(opened), statement, plan, contract, answered=roster, absent=lambda _: "absent")
    return statement, rows


def exact_rows(sql, pool, statement):
    """DuckDB's rows by their keys as Cordon shows them."""
    keys = sum(not output.is_measure for output in statement.outputs)
    contract = CONTRACTS[statement.question.dataset]
    rows = pool.database.execute(sql).fetchall()
    return {
        tuple(shown(value, at, statement, contract) for at, value in enumerate(row[:keys])): row[keys:] for row in rows
    }


def shown(value, at, statement, contract):
    """A key of DuckDB's as Cordon shows it; the lower bound of a bin."""
    key = statement.question.keys[statement.outputs[at].key]
    if isinstance(value, date):
        named = {"MONTH": f"{value:%Y-%m}", "YEAR": f"{value:%Y}", "DAY": f"{value:%Y-%m-%d}"}
        return named.get(key.grain.name, f"{value:%Y}-Q{(value.month + 2) // 3}")
    if isinstance(value, str) and key.column != "force":
        return next(code.label for code in contract.column(key.column).codes if code.code == value)
    return value if value is None or isinstance(value, str) else str(value)


def plain(row, statement):
    """A row's keys, with the lower bounds of bins for the bins."""
    grains = [statement.question.keys[output.key].grain for output in statement.outputs if not output.is_measure]
    return tuple(
        key.split(" to ")[0] if key and grain is Grain.BIN else key for key, grain in zip(row.keys, grains, strict=True)
    )


def compared(sql, pool):
    """Of each row and column: estimate less truth in deviations (None where the column is not linear), and covered."""
    statement, rows = answered(sql, pool)
    truths = exact_rows(sql, pool, statement)
    linear = [is_linear(output.expression) for output in statement.outputs if output.is_measure]
    scores, inside = [], []
    assert set(truths) <= {plain(row, statement) for row in rows}, "every group of the records is a row of the answer"
    for row in rows:
        truth = truths.get(plain(row, statement))
        for at, estimate in enumerate(row.values):
            if truth is None and not linear[at]:
                continue
            true = 0.0 if truth is None or truth[at] is None else float(truth[at])
            if truth is not None and truth[at] is None and not linear[at]:
                continue
            inside.append(estimate.low <= true <= estimate.high)
            if linear[at] and len(statement.question.tables) == 1:
                scores.append((estimate.value - true) / ((estimate.high - estimate.low) / 2 / 1.959963984540054))
    return scores, inside


def test_there_are_enough_statements():
    """At least 60, over all three data sets."""
    assert len(STATEMENTS) >= 60
    assert {sql.split(" FROM ")[1].split()[0] for sql in STATEMENTS} == set(CONTRACTS)


def test_only_noise_lies_between_cordon_and_plain_duckdb(pool):
    """z-scores of counts and sums are standard normal, and 95 % intervals of every column hold the truth.

    Kolmogorov-Smirnov and mean square, both at 1e-6; coverage of single columns by a one-sided binomial at 1e-6,
    because quantiles over whole numbers are covered more often than 95 %. Noise 30 % off would be found: its mean
    square is 1.69 or 0.49, and the standard error over some 780 scores is 0.05.
    """
    scores, inside = [], []
    for sql in STATEMENTS:
        found, covered = compared(sql, pool)
        scores += found
        inside += covered
    assert kstest(scores, "norm").pvalue > FALSE_ALARM
    square = math.fsum(score**2 for score in scores)
    assert 2 * min(chi2.sf(square, len(scores)), chi2.cdf(square, len(scores))) > FALSE_ALARM
    assert binom.cdf(sum(inside), len(inside), 0.95) > FALSE_ALARM
    assert len(scores) > 700
