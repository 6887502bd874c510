"""Many simulated releases of one statement at once, over the pooled bundled records, and the truth that they are of."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from cordon.analyst.residents import bundled_residents, residents_of
from cordon.catalogue import bundled_contracts
from cordon.contract import Category, Contract
from cordon.estimate import consistent
from cordon.estimate.histogram import Hierarchy, quantiles
from cordon.estimate.interval import REACH_95, Ends, Given
from cordon.query.expression import Part, Quantile, Residents, leaves
from cordon.query.model import All, MeasureKind, Member, Missing, Range
from cordon.query.plan import make_plan, outline
from cordon.query.split import ADDITIVE, split
from cordon.query.sql import parse_sql
from cordon.units import Rho
from demo.layout import HERE
from demo.nominals import write_nominals

CONTRACTS = {c.dataset: c for c in map(Contract.from_toml, bundled_contracts()) if c.version == 1}
FORCES = ("cumbria", "durham", "essex", "kent", "surrey", "warwickshire")
COLLUDERS = 2
PERSONS = 300
MOST_CELLS = 50_000


def pooled(folder: Path) -> duckdb.DuckDBPyConnection:
    """The records of six forces as their contracts mean them: at most k rows of a unit, clamped numbers, known codes."""
    database = duckdb.connect()
    # DuckDB's own median takes the middle of two values; the contract's numbers have none between them.
    database.execute("CREATE MACRO median(x) AS quantile_disc(x, 0.5)")
    database.execute("CREATE MACRO quantile(x, q) AS quantile_disc(x, q)")
    residents = sum(sum(bundled_residents().forces[force].values()) for force in FORCES)
    database.execute(f"CREATE MACRO per_1000(x) AS 1000 * x / {residents}")
    for dataset in ("stop_search", "street_crime"):
        source = f"read_parquet('{HERE}/data/{dataset}.parquet')"
        database.execute(
            f"CREATE TABLE {dataset} AS SELECT force, {_categories(dataset)} FROM {source} WHERE force IN {FORCES}"
        )
    for number, force in enumerate(FORCES):
        write_nominals(folder / f"{force}.csv", number=number, forces=len(FORCES), persons=PERSONS)
    database.execute(f"""
        CREATE TABLE nominals AS
        SELECT force, {_categories("nominals")}, LEAST(age, 110) AS age,
               LEAST(CAST(round(loss) AS INTEGER), 5000) AS loss_gbp, force || '-' || unit AS person
        FROM (
            SELECT *, row_number() OVER (PARTITION BY force, unit ORDER BY recorded, age, loss) AS rank
            FROM (
                SELECT *, parse_filename(filename, true) AS force,
                       COALESCE(person_ref, 'row ' || row_number() OVER ()) AS unit
                FROM read_csv('{folder}/*.csv', filename = true)
            )
        ) WHERE rank <= {CONTRACTS["nominals"].unit.max_rows_per_unit}
    """)
    return database


def _categories(dataset: str) -> str:
    columns = tomllib.loads((HERE / "mappings" / f"{dataset}.toml").read_text(encoding="utf-8"))["columns"]
    found = []
    for column in CONTRACTS[dataset].columns:
        if isinstance(column, Category):
            codes = {code.label: code.code for code in column.codes} | {code.code: code.code for code in column.codes}
            codes |= columns[column.name].get("codes", {})
            pairs = ", ".join(f"'{label}': '{code}'" for label, code in codes.items())
            found.append(f"COALESCE(MAP {{{pairs}}}[\"{columns[column.name]['source']}\"], 'unknown') AS {column.name}")
    return ", ".join(found)


def condition(predicate) -> str:
    """A predicate as SQL."""
    if predicate is None:
        return "true"
    if isinstance(predicate, Member):
        codes = ", ".join(f"'{code}'" for code in predicate.codes)
        return f"{predicate.column} IN ({codes})"
    if isinstance(predicate, Missing):
        return f"{predicate.column} IS NULL"
    if isinstance(predicate, Range):
        low, high = (
            math.inf * sign if end is None else end for end, sign in ((predicate.low, -1), (predicate.high, 1))
        )
        return f"{predicate.column} BETWEEN '{low}'::DOUBLE AND '{high}'::DOUBLE"
    return "(" + (" AND " if isinstance(predicate, All) else " OR ").join(map(condition, predicate.parts)) + ")"


@dataclass(frozen=True)
class Asked:
    """A statement, planned at a cost, with the exact values of its blocks."""

    statement: object
    plan: object
    columns: tuple
    exact: tuple
    """Of each block: shape of its table, and of its bins."""

    @property
    def contract(self):
        """Of its data set."""
        return CONTRACTS[self.plan.question.dataset]

    def sigma(self, block) -> float:
        """Deviation of a block's noise."""
        return block.sigma(len(FORCES), COLLUDERS)

    def drawn(self, count: int, generator: np.random.Generator) -> list:
        """Of each block, `count` opened tables in the measure's unit.

        The sum of the forces' discrete Gaussians is drawn as a rounded normal: its deviation is at least 4 scaled
        units for each force, so that the two differ by less than 0.1 % in deviation.
        """
        found = []
        for block, exact in zip(self.plan.blocks, self.exact, strict=True):
            noise = generator.normal(0, self.sigma(block) * block.scale, (count, *exact.shape))
            found.append(exact + np.rint(noise) / block.scale)
        return found


def ask(sql: str, rho: int, database: duckdb.DuckDBPyConnection) -> Asked:
    """Read and plan a statement over the six forces.

    Args:
        rho: in billionths.
    """
    statement = parse_sql(sql, CONTRACTS, FORCES)
    contract = CONTRACTS[statement.question.dataset]
    outlined = outline(statement.question, contract, most_cells=MOST_CELLS)
    columns = tuple(output.expression for output in statement.outputs if output.expression is not None)
    shares = split(Rho(rho), outlined, columns, [1] * len(columns), contract)
    plan = make_plan(statement.question, shares, contract, colluders=COLLUDERS, most_cells=MOST_CELLS)
    return Asked(statement, plan, columns, tuple(_exact(block, plan, contract, database) for block in plan.blocks))


def _exact(block, plan, contract, database) -> np.ndarray:
    axes = [plan.axes[at] for at in block.keys]
    measure = block.measure
    if measure.column:
        column, known = contract.column(measure.column), f"{measure.column} - {measure.centre}"
    shape, groups = [len(axis.values) for axis in axes], [axis.key.column for axis in axes]
    if measure.kind is MeasureKind.HISTOGRAM:
        shape.append(-(-(column.high - column.low + 1) // block.width))
        groups.append(f"({measure.column} - {column.low}) // {block.width}")
    aggregate = {
        MeasureKind.COUNT_UNIT: "COUNT(DISTINCT person)",
        MeasureKind.SUM: f"SUM({known if measure.column else 0})",
        MeasureKind.PRODUCTS: f"SUM(({known if measure.column else 0}) * ({measure.other or 0} - {measure.other_centre}))",
        MeasureKind.SQUARES: f"SUM(({known if measure.column else 0}) ** 2 - {measure.offset})",
    }.get(measure.kind, "COUNT(*)")
    rows = database.execute(
        f"SELECT {', '.join([*groups, aggregate])} FROM {plan.question.dataset} "
        f"WHERE {condition(plan.question.where)} AND {condition(measure.where)} GROUP BY ALL"
    ).fetchall()
    table = np.zeros(shape)
    for *keys, value in rows:
        at = tuple(axes[place].values.index(key) if place < len(axes) else int(key) for place, key in enumerate(keys))
        table[at] = float(value or 0)
    return table


def given_for(asked: Asked, column, keys: tuple, row: int, drawn: list) -> Given:
    """What every release says of a column's leaves in one row: the vectorised counterpart of `Tables.cells`."""
    values, deviations, boxes = {}, {}, {}
    for leaf in leaves(column):
        if isinstance(leaf, Residents):
            values[leaf] = np.array(residents_of(asked.plan, keys, FORCES)[row])
        elif isinstance(leaf, Quantile):
            hierarchy, fitted = fitted_bins(asked, leaf, drawn)
            found = quantiles(hierarchy, fitted, float(leaf.q), REACH_95)
            values[leaf], boxes[leaf] = found.value, Ends(found.low, found.high)
        else:
            tables, deviation = _marginals(asked, leaf, drawn)
            count = len(drawn[0])
            values[leaf] = tables[keys].reshape(count, -1)[:, row]
            deviations[leaf] = np.array(deviation[keys])
    return Given(values, deviations, boxes)


def _marginals(asked: Asked, leaf: Part, drawn: list) -> tuple[dict, dict]:
    measure = asked.plan.question.measures[leaf.measure]
    of = [at for at, block in enumerate(asked.plan.blocks) if block.measure == measure]
    tables = {asked.plan.blocks[at].keys: drawn[at] for at in of}
    deviations = {asked.plan.blocks[at].keys: asked.sigma(asked.plan.blocks[at]) for at in of}
    if len(tables) == 1 or measure.kind not in ADDITIVE:
        return tables, deviations
    variances = {keys: deviation**2 for keys, deviation in deviations.items()}
    sizes = [len(axis.values) for axis in asked.plan.axes]
    after = consistent.fitted_variances(variances, sizes)
    return consistent.fit(tables, variances, sizes), {keys: math.sqrt(variance) for keys, variance in after.items()}


def fitted_bins(asked: Asked, leaf: Quantile, drawn: list) -> tuple[Hierarchy, np.ndarray]:
    """The finest bins of every release of a histogram without keys."""
    measure = asked.plan.question.measures[leaf.measure]
    column = asked.contract.column(measure.column)
    of = [at for at, block in enumerate(asked.plan.blocks) if block.measure == measure]
    variances = tuple(asked.sigma(asked.plan.blocks[at]) ** 2 for at in of)
    hierarchy = Hierarchy(column.low, column.high, measure.widths, variances)
    return hierarchy, hierarchy.fit([drawn[at] for at in of])
