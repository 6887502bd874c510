"""What is true of made-up persons, counted from the facts themselves and not from any file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from demo.nominals.draws import Flags, Whole
from demo.nominals.population import PNC_STATES, Population
from demo.nominals.values import CODES

MOST_AGE, MOST_LOSS = 110, 5000
"""Bounds of contract nominals v2, in years and pounds."""


@dataclass(frozen=True, slots=True)
class ForceTruth:
    """One force's records as the contract means them, without restricted ones, each once, and before any bound."""

    rows: int
    persons: int
    rows_without_person: int
    restricted: int
    """Rows that are left out because they are restricted."""

    repeated: int
    """Rows that stand twice in the source, of those that are counted."""

    counts: Mapping[str, Mapping[str, int]]
    """Rows, by category and code."""

    months: Mapping[str, int]
    """Rows by month, `YYYY-MM`; the empty text for those without a date."""

    given: Mapping[str, int]
    """Rows with a value, by column: numbers, and identifiers that are well formed."""

    totals: Mapping[str, int]
    """Sums of the numbers, in years and whole pounds."""

    rows_per_person: Mapping[int, int]
    """Persons, by how many rows they have."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Who is known where. Persons whose rows a force has marked as restricted do not count there."""

    known_to: Mapping[int, int]
    """Persons, by the number of forces that know them."""

    pairs: NDArray[np.int64]
    """Persons whom both of two forces know; a force with itself: whom it knows."""

    pairs_by_pnc: NDArray[np.int64]
    """Of these, persons whose PNC id stands right in both."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything that is true, by name of the force; matrices are in the order of the names."""

    forces: Mapping[str, ForceTruth]
    overlap: Overlap

    def to_json(self) -> str:
        """As JSON, for people and for other programs."""
        overlap = {
            "known_to": self.overlap.known_to,
            "pairs": self.overlap.pairs.tolist(),
            "pairs_by_pnc": self.overlap.pairs_by_pnc.tolist(),
        }
        return json.dumps({"forces": {name: asdict(of) for name, of in self.forces.items()}, "overlap": overlap}, indent=1)


def overlap_of(population: Population) -> Overlap:
    """Count who is known where."""
    known_to: Counter[int] = Counter()
    pairs = np.zeros((population.forces, population.forces))
    by_pnc = np.zeros_like(pairs)
    for home, known in enumerate(population.known):
        first, after = population.homes[home], population.homes[home + 1]
        shared = np.arange(first, first + len(known))
        seen, right = np.zeros_like(known), np.zeros_like(known)
        for force in range(population.forces):
            seen[:, force] = known[:, force] & ~population.restricted(shared, force)
            right[:, force] = seen[:, force] & _stands_right(population, shared, force)
        known_to.update(seen.sum(axis=1).tolist())
        pairs += seen.astype(np.float64).T @ seen
        by_pnc += right.astype(np.float64).T @ right
        alone = np.arange(first + len(known), after)
        alone = alone[~population.restricted(alone, home)]
        known_to[1] += len(alone)
        pairs[home, home] += len(alone)
        by_pnc[home, home] += int(_stands_right(population, alone, home).sum())
    known_to.pop(0, None)
    return Overlap(dict(sorted(known_to.items())), pairs.astype(np.int64), by_pnc.astype(np.int64))


def _stands_right(population: Population, persons: Whole, force: int) -> Flags:
    right: Flags = population.pnc_shares(persons, force) < PNC_STATES[0]
    return right


def force_truth(database: duckdb.DuckDBPyConnection, *, repeats: bool) -> ForceTruth:
    """Count what the table `facts` of one force says.

    Args:
        repeats: whether its records system holds some rows twice.
    """
    database.execute("CREATE OR REPLACE TEMP VIEW counted AS SELECT * FROM facts WHERE NOT restricted")
    rows, persons, nameless, repeated, restricted = _one(
        database,
        "SELECT count(*), count(DISTINCT person), count(*) FILTER (person IS NULL), count(*) FILTER (copies > 1), "
        "(SELECT count(*) FROM facts WHERE restricted) FROM counted",
    )
    given = {
        "age": "age",
        "loss_gbp": "loss",
        "pnc_id": "CASE WHEN wrong_letter = 0 THEN pnc END",
        "phone": "CASE WHEN NOT no_mobile THEN phone END",
        "vehicle": "vehicle",
    }
    totals = {"age": f"least(age, {MOST_AGE})", "loss_gbp": f"least((loss + 50) // 100, {MOST_LOSS})"}
    return ForceTruth(
        rows=rows,
        persons=persons,
        rows_without_person=nameless,
        restricted=restricted,
        repeated=repeated if repeats else 0,
        counts={
            column: {codes[at]: count for at, count in _table(database, f'"{column}"').items()}
            for column, codes in CODES.items()
        },
        months=_table(database, "coalesce(strftime(DATE '1970-01-01' + day::INTEGER, '%Y-%m'), '')"),
        given=dict(zip(given, _one(database, _select("count", given)), strict=True)),
        totals=dict(zip(totals, _one(database, _select("sum", totals)), strict=True)),
        rows_per_person=_table(
            database, "met", "(SELECT count(*) AS met FROM counted WHERE person IS NOT NULL GROUP BY person)"
        ),
    )


def _select(aggregate: str, of: Mapping[str, str]) -> str:
    return f"SELECT {', '.join(f'coalesce({aggregate}({expression}), 0)' for expression in of.values())} FROM counted"


def _one(database: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    return tuple(int(value) for value in database.execute(query).fetchall()[0])


def _table(database: duckdb.DuckDBPyConnection, key: str, source: str = "counted") -> dict[int | str, int]:  # type: ignore[type-arg,unused-ignore]
    rows = database.execute(f"SELECT {key} AS key, count(*) FROM {source} GROUP BY key ORDER BY key").fetchall()
    return dict(rows)
