"""Answers for regressions: made-up records under the bundled contract of persons, summed exactly and noised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np

from cordon.analyst.federation import Federation
from cordon.catalogue import bundled_contracts, read_catalogue
from cordon.contract import Contract
from cordon.estimate.interval import REACH_95
from cordon.manifest import read_manifest
from cordon.query.plan import make_plan, outline
from cordon.query.split import split
from cordon.query.sql import parse_sql
from cordon.units import Rho
from cordon.workbench.answer import Answer
from cordon.workbench.regress.formula import read_model
from cordon.workbench.regress.statement import statement_of
from cordon.workbench.regress.weighing import weights_of
from demo.layout import Design, lay_out

CONTRACTS = {c.dataset: c for c in map(Contract.from_toml, bundled_contracts()) if c.version == 1}
CONTRACT = CONTRACTS["nominals"]
FORCES = ("cumbria", "durham", "essex", "kent", "surrey", "warwickshire")
COLLUDERS = 2

ONE_ROW = CONTRACT.model_copy(update={"unit": CONTRACT.unit.model_copy(update={"max_rows_per_unit": 1})})
"""The contract, were no two rows one person's: for records that are drawn one by one."""


def federation_in(directory: Path) -> Federation:
    """A federation of these forces with the bundled contracts, of which nobody is connected."""
    layout = lay_out(directory / "federation", Design(forces=FORCES))
    manifest, _ = read_manifest(layout.root / "manifest.json", layout.governance_keys)
    return Federation(manifest, read_catalogue(manifest, layout.root / "contracts"), {})


@dataclass(frozen=True)
class Asked:
    """A formula's statement at a cost, planned as it would be asked of six forces."""

    formula: str
    rho: int = 10**9
    """In billionths."""
    references: tuple[str, ...] = ()
    where: str | None = None
    contract: Contract = CONTRACT

    @cached_property
    def model(self):
        """The formula, read."""
        return read_model(self.formula, self.contract, self.references, FORCES)

    @cached_property
    def sql(self) -> str:
        """What is asked."""
        return statement_of(self.model, "nominals", self.where)

    @cached_property
    def statement(self):
        """What is asked, read."""
        return parse_sql(self.sql, CONTRACTS, FORCES)

    @cached_property
    def deviations(self) -> np.ndarray:
        """Of each measure's noise in one cell, in the column's unit."""
        statement = self.statement
        outlined = outline(statement.question, CONTRACT, most_cells=50_000)
        columns = tuple(output.expression for output in statement.outputs if output.expression is not None)
        shares = split(Rho(self.rho), outlined, columns, weights_of(self.model), CONTRACT)
        plan = make_plan(statement.question, shares, CONTRACT, colluders=COLLUDERS, most_cells=50_000)
        units = [_unit(column) for column in columns]
        return np.array([u * b.sigma(len(FORCES), COLLUDERS) for u, b in zip(units, plan.blocks, strict=True)])

    def exact(self, database: duckdb.DuckDBPyConnection) -> list[tuple]:
        """The rows of the statement over a table `nominals`, by plain DuckDB."""
        return database.execute(self.sql).fetchall()

    def answer(self, rows: list[tuple], generator: np.random.Generator | None = None) -> Answer:
        """The answer that exact rows come to, noised where a generator is given."""
        keys = len(self.model.groups)
        found = []
        for row in rows:
            values = np.array([float(value or 0) for value in row[keys:]])
            noise = 0 if generator is None else generator.normal(0, self.deviations)
            ends = REACH_95 * (self.deviations if generator is not None else 0 * self.deviations)
            found.append({
                "keys": [_label(name.name, key) for name, key in zip(self.model.groups, row, strict=False)],
                "values": [
                    {"estimate": value, "low": value - end, "high": value + end, "raw": value}
                    for value, end in zip(values + noise, ends, strict=True)
                ],
                "note": "",
            })  # fmt: skip
        return Answer(document_of(self, found))


def document_of(asked: Asked, rows: list[dict]) -> dict:
    """An answer's document with these rows."""
    outputs = asked.statement.outputs
    return {
        "version": 3, "query": "ab" * 32, "sql": asked.sql, "dataset": "nominals v1", "protected_unit": "one person",
        "caveat": "", "columns": [{"name": output.name, "measure": output.is_measure} for output in outputs],
        "rows": rows, "notes": [], "answered": list(FORCES), "did_not_answer": [], "lost": [], "declined": [],
        "rho": "1", "attempts_charged": 1, "budget": None, "opened_at": "2026-01-31T12:00:00Z", "checked": "",
        "epsilon": {
            "charged": 9.5, "against_public": 8.0, "against_tolerated_colluders": 9.5, "against_all_others": 20.0,
        },
    }  # fmt: skip


def _unit(expression) -> float:
    """Of a column that is a measure in another unit."""
    left = getattr(expression, "left", None)
    return 1.0 if left is None else float(left.value)


def _label(name: str, key: str) -> str:
    if name == "force":
        return key
    column = CONTRACT.column(name)
    return column.codes[column.positions[key]].label


def simulated(rows: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Records of whole ages and losses and a gender; both numbers depend on the gender."""
    gender = generator.choice(["male", "female", "other"], rows, p=(0.55, 0.35, 0.1))
    older = np.select([gender == "female", gender == "other"], [4.0, 8.0], 0.0)
    age = np.clip(np.rint(generator.normal(36 + older, 15)), 0, 110)
    return {"gender": gender, "age": age}


INTERCEPT, FEMALE, OTHER, AGE = 2600.0, 150.0, -200.0, 8.0
"""Of simulated losses: at age 55 and male, by gender, and for each year."""


def with_losses(records: dict[str, np.ndarray], generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Losses that are linear in age and gender, with scatter, far enough within their bounds."""
    by = np.select([records["gender"] == "female", records["gender"] == "other"], [FEMALE, OTHER], 0.0)
    scatter = generator.normal(0, 500, len(by))
    return records | {"loss_gbp": np.clip(np.rint(INTERCEPT + by + AGE * (records["age"] - 55) + scatter), 0, 5000)}


def in_database(records: dict[str, np.ndarray]) -> duckdb.DuckDBPyConnection:
    """Records as a table `nominals`."""
    database = duckdb.connect()
    database.register("arrays", {name: values for name, values in records.items() if values.dtype != object})
    database.execute("CREATE TABLE nominals AS SELECT * FROM arrays")
    return database
