"""Tables released by Cordon and by trusted curators: every cell's noise is drawn, none is modelled.

A workload is so many tables of one question under a total of epsilon and delta; each function here draws any
number of tables at the noise that one table of that workload gets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import duckdb
import opendp.prelude as dp

from cordon.accounting import rho_for_epsilon
from cordon.catalogue import bundled_contracts
from cordon.contract import Category, Contract
from cordon.noise import add_noise_share
from cordon.query.plan import Plan, make_plan, split_evenly
from cordon.query.sql import parse_sql
from cordon.units import Rho
from demo.layout import HERE

SQL = "SELECT force, crime_type, COUNT(*) FROM street_crime WHERE crime_type <> 'unknown' GROUP BY force, crime_type"
SOURCE = HERE / "data" / "street_crime.parquet"
SMALLEST, LARGEST = 0.3, 100.0
"""Between these lies every sigma that is searched for, for one table; OpenDP's conversion overflows far below."""

_SPACE = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")

Table = list[float]
"""Estimates, in the order of `Records.keys`."""


@dataclass(frozen=True)
class Workload:
    """How many tables share which total."""

    tables: int
    epsilon: Fraction
    delta: float

    @property
    def rho(self) -> Rho:
        """What Cordon charges for one table: all of them together stay within the total."""
        return Rho(rho_for_epsilon(self.epsilon, self.delta).nano // self.tables)


@dataclass(frozen=True)
class Records:
    """The bundled street-level crime, counted exactly: 41 forces and 14 types of crime."""

    contract: Contract
    forces: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    """Force and label of the crime type of each cell, as a plan orders them."""

    exact: tuple[int, ...]

    @property
    def colluders(self) -> int:
        """What a manifest of these forces tolerates unless it says otherwise."""
        return max(1, len(self.forces) // 3)

    def plan(self, rho: Rho, *, colluders: int) -> Plan:
        """The plan of one table."""
        question = parse_sql(SQL, {self.contract.dataset: self.contract}, list(self.forces)).question
        return make_plan(question, split_evenly(rho, 1), self.contract, colluders=colluders, most_cells=100_000)


def contract_of(dataset: str) -> Contract:
    """One of the bundled contracts."""
    found = [Contract.from_toml(payload) for payload in bundled_contracts()]
    return next(contract for contract in found if contract.dataset == dataset)


def read_records() -> Records:
    """Count the bundled records."""
    contract = contract_of("street_crime")
    column = contract.column("crime_type")
    if not isinstance(column, Category):
        raise TypeError("crime_type is a category")
    labels = {code.code: code.label for code in column.codes}
    with duckdb.connect() as database:
        counted = database.execute(
            f"SELECT force, \"Crime type\", count(*) FROM read_parquet('{SOURCE}') GROUP BY ALL"
        ).fetchall()
    counts = {(force, label): int(count) for force, label, count in counted}
    forces = tuple(sorted({force for force, _ in counts}, key=str.encode))
    rows = Records(contract, forces, (), ()).plan(Rho(10**9), colluders=1).rows
    keys = tuple((force, labels[code]) for force, code in rows)
    return Records(contract, forces, keys, tuple(counts.get(key, 0) for key in keys))


def federated(records: Records, work: Workload, draws: int) -> Iterator[Table]:
    """Cordon: each force adds its own share to its own counts, and the sum is opened."""
    plan = records.plan(work.rho, colluders=records.colluders)
    scale, roster = plan.blocks[0].scale, len(records.forces)
    own = [
        [count if key[0] == force else 0 for key, count in zip(records.keys, records.exact, strict=True)]
        for force in records.forces
    ]
    for _ in range(draws):
        shares = [add_noise_share(cells, plan, roster) for cells in own]
        yield [sum(cell) / scale for cell in zip(*shares, strict=True)]


def curated(records: Records, work: Workload, draws: int) -> Iterator[Table]:
    """One trusted curator of all records at Cordon's accounting: nobody colludes, one share is all the noise."""
    plan = records.plan(work.rho, colluders=0)
    for _ in range(draws):
        yield [cell / plan.blocks[0].scale for cell in add_noise_share(records.exact, plan, 1)]


def gaussian(records: Records, sigma: float, draws: int) -> Iterator[Table]:
    """A trusted curator's discrete Gaussian of a sigma that somebody else's accountant found."""
    dp.enable_features("contrib")
    measurement = dp.m.make_gaussian(*_SPACE, scale=sigma)
    for _ in range(draws):
        yield list(measurement(list(records.exact)))


def opendp_sigma(work: Workload) -> float:
    """The least sigma at which OpenDP's own maps keep all tables, composed in zCDP, within the total."""
    dp.enable_features("contrib")

    def fits(sigma: float) -> bool:
        composed = dp.c.make_composition([dp.m.make_gaussian(*_SPACE, scale=sigma)] * work.tables)
        profile = dp.c.make_zCDP_to_approxDP(composed).map(1.0)
        return bool(profile.epsilon(work.delta) <= float(work.epsilon))

    each = math.sqrt(work.tables)
    return float(dp.binary_search(fits, bounds=(SMALLEST * each, LARGEST * each)))
