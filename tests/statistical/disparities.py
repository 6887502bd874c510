"""Releases of the bundled stops of 2019/20 by all forces together, planned for real, as answers and as cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import duckdb
import numpy as np
from statistical.releases import CONTRACTS, MOST_CELLS, _categories, _exact

from cordon.accounting import rho_for_epsilon
from cordon.analyst.answer import _row_as_dict
from cordon.analyst.rows import make_rows
from cordon.query.plan import make_plan, outline
from cordon.query.split import split
from cordon.query.sql import parse_sql
from cordon.workbench.answer import Answer
from cordon.workbench.disparity.matching import matched
from cordon.workbench.disparity.statement import wanted, without_residents
from demo.layout import HERE

CONTRACT = CONTRACTS["stop_search"]
FORCES = tuple(line.split(",")[0] for line in (HERE / "data" / "forces.csv").read_text().splitlines()[1:])
COLLUDERS = len(FORCES) // 3
"""As a federation of so many tolerates unless it says otherwise."""

DELTA = 1e-9


@cache
def stops() -> duckdb.DuckDBPyConnection:
    """Every bundled stop, in the contract's codes."""
    database = duckdb.connect()
    database.execute(
        f"CREATE TABLE stops AS SELECT force, {_categories('stop_search')} "
        f"FROM read_parquet('{HERE}/data/stop_search.parquet')"
    )
    return database


def asked_for(**options):
    """What `cordon disparity stop_search` would ask of the whole federation."""
    found = wanted(CONTRACT, "stop_search", **options)
    statement = parse_sql(found.sql, CONTRACTS, FORCES)
    left_out = without_residents(statement.question.forces) if found.per == "population" else ()
    return replace(found, left_out=left_out)


def asked_again(answer, **options):
    """What `cordon disparity stop_search --from-query` would read out of an earlier answer."""
    asked = asked_for(**options)
    if answer.sql == asked.sql:
        return asked
    ours, theirs = (parse_sql(sql, CONTRACTS, FORCES) for sql in (asked.sql, answer.sql))
    return matched(answer, asked, ours, theirs)


@dataclass(frozen=True)
class Planned:
    """A question, planned at a cost, with the exact values of its blocks."""

    asked: object
    statement: object
    plan: object
    exact: tuple
    epsilon: Fraction

    @property
    def sigmas(self) -> tuple:
        """Deviation of each block's noise if everybody answers."""
        return tuple(block.sigma(len(self.plan.question.forces), COLLUDERS) for block in self.plan.blocks)

    def drawn(self, count: int, generator: np.random.Generator) -> list:
        """Of each block, `count` released tables in records."""
        return [
            exact + np.rint(generator.normal(0, sigma * block.scale, (count, *exact.shape))) / block.scale
            for block, exact, sigma in zip(self.plan.blocks, self.exact, self.sigmas, strict=True)
        ]

    def answer(self, tables, absent=()) -> Answer:
        """One release as an analyst's client reads it; forces in `absent` had no records in it."""
        forces = tuple(force for force in self.plan.question.forces if force not in absent)
        opened = [
            round(float(cell) * block.scale)
            for block, table in zip(self.plan.blocks, tables, strict=True)
            for cell in np.reshape(table, -1)
        ]
        rows, notes = make_rows(
            opened, self.statement, self.plan, CONTRACT, answered=forces, absent=lambda _: "did not answer"
        )
        level = float(self.epsilon)
        return Answer({
            "version": 4, "query": "d15a" * 16, "sql": self.statement.sql, "dataset": "stop_search v1",
            "protected_unit": CONTRACT.unit.words, "caveat": CONTRACT.unit.caveat,
            "columns": [{"name": out.name, "measure": out.is_measure} for out in self.statement.outputs],
            "rows": [_row_as_dict(row) for row in rows], "answered": list(forces), "declined": [],
            "did_not_answer": list(absent), "lost": [], "rho": "0.012", "attempts_charged": 1,
            "epsilon": dict.fromkeys(
                ("charged", "against_public", "against_tolerated_colluders", "against_all_others"), level
            ),
            "opened_at": "2026-11-28T05:00:00+00:00", "checked": "nothing", "notes": list(notes),
        })  # fmt: skip


def planned(asked, epsilon: Fraction) -> Planned:
    """Plan what is asked, and count its exact values over the bundled records."""
    statement = parse_sql(asked.sql, CONTRACTS, FORCES)
    outlined = outline(statement.question, CONTRACT, most_cells=MOST_CELLS)
    columns = tuple(output.expression for output in statement.outputs if output.expression is not None)
    shares = split(rho_for_epsilon(epsilon, DELTA), outlined, columns, [1] * len(columns), CONTRACT)
    plan = make_plan(statement.question, shares, CONTRACT, colluders=COLLUDERS, most_cells=MOST_CELLS)
    database = stops()
    forces = ", ".join(f"'{force}'" for force in plan.question.forces)
    database.execute(f"CREATE OR REPLACE VIEW stop_search AS SELECT * FROM stops WHERE force IN ({forces})")
    exact = tuple(_exact(block, plan, CONTRACT, database) for block in plan.blocks)
    return Planned(asked, statement, plan, exact, epsilon)
