"""What is true of made-up persons, counted from the facts themselves and not from any file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from demo.nominals.draws import Flags, Whole
from demo.nominals.facts import Columns
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
    """Rows of the source that are left out because they are restricted."""

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
        return json.dumps(
            {"forces": {name: asdict(of) for name, of in self.forces.items()}, "overlap": overlap}, indent=1
        )


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


class Tally:
    """Counts of one force, as its rows go by. All of a person's rows must go by at once."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sums: Counter[str] = Counter()
        self._counts = {column: np.zeros(len(codes), np.int64) for column, codes in CODES.items()}
        self._months: NDArray[np.int64] = np.zeros(25, np.int64)
        self._met: Counter[int] = Counter()

    def add(self, rows: Columns) -> None:
        """Count some rows."""
        counted = ~rows["restricted"]
        named = counted & ~np.ma.getmaskarray(rows["person"])
        self._sums["restricted"] += int(np.sum(~counted))
        self._sums["restricted twice"] += int(np.sum(~counted & (rows["copies"] > 1)))
        self._sums["rows"] += int(counted.sum())
        self._sums["nameless"] += int(np.sum(counted & ~named))
        self._sums["repeated"] += int(np.sum(counted & (rows["copies"] > 1)))
        for column, codes in CODES.items():
            self._counts[column] += np.bincount(rows[column][counted], minlength=len(codes))
        dated = counted & ~np.ma.getmaskarray(rows["day"])
        months = _month(np.ma.getdata(rows["day"])[dated])
        self._months += np.bincount(months, minlength=25)
        self._months[-1] += int(np.sum(counted & ~dated))
        _, met = np.unique(rows["person"].data[named], return_counts=True)
        self._met.update(met.tolist())
        self._add_values(rows, counted)

    def _add_values(self, rows: Columns, counted: Flags) -> None:
        whole = {
            "age": np.minimum(rows["age"], MOST_AGE),
            "loss_gbp": np.minimum((rows["loss"] + 50) // 100, MOST_LOSS),
            "pnc_id": np.ma.masked_where(rows["wrong_letter"] > 0, rows["pnc"]),
            "phone": np.ma.masked_where(rows["no_mobile"], rows["phone"]),
            "vehicle": rows["vehicle"],
        }
        for column, values in whole.items():
            known = counted & ~np.ma.getmaskarray(values)
            self._sums[f"given {column}"] += int(known.sum())
            self._sums[f"sum {column}"] += int(values.data[known].sum())

    def truth(self, *, repeats: bool) -> ForceTruth:
        """What the counts come to.

        Args:
            repeats: whether the force's records system holds some rows twice.
        """
        start = np.datetime64("2024-01")
        names = [*(str(start + month) for month in range(24)), ""]
        return ForceTruth(
            rows=self._sums["rows"],
            persons=sum(self._met.values()),
            rows_without_person=self._sums["nameless"],
            restricted=self._sums["restricted"] + (self._sums["restricted twice"] if repeats else 0),
            repeated=self._sums["repeated"] if repeats else 0,
            counts={column: _named(CODES[column], counts) for column, counts in self._counts.items()},
            months=_named(names, self._months),
            given={column: self._sums[f"given {column}"] for column in _VALUES},
            totals={column: self._sums[f"sum {column}"] for column in _VALUES[:2]},
            rows_per_person=dict(sorted(self._met.items())),
        )


_VALUES = ("age", "loss_gbp", "pnc_id", "phone", "vehicle")
_FIRST_MONTH = 12 * (2024 - 1970)


def _month(days: Whole) -> Whole:
    """Months since January 2024."""
    months: Whole = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months - _FIRST_MONTH


def _named(names: Sequence[str], counts: NDArray[np.int64]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}
