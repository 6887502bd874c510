"""A load's data-quality report: exact, and for the force's own people only. No figure of it leaves the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from cordon.contract import Category, Contract, Date
from node.coding import LOCAL_SUFFIX, MENDED_SUFFIX, MISSING_SUFFIX, MONTH_SUFFIX, UNIT_REST, judged
from node.database import Asked, counts, quoted
from node.identifiers import UNIT
from node.mapping import Mapping

MOST_EXAMPLES = 10
"""Local values shown of a column."""

STEPS = (1, 2, 3, 5, 10, 20, 50, 100)
"""Rows per unit are counted up to each of these, and beyond the last."""

NOTABLE_SHARE = 0.02
"""A share that moves by more than this since the last snapshot is pointed out."""

NOTABLE_CHANGE = 0.2
"""A number of rows that moves by more than this part of itself is pointed out."""

_HOW = {
    "category": "not in the contract's code list",
    "date": "no date, or outside the contract",
    "number": "clamped",
    "identifier": "no identifier of its kind",
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ColumnQuality(_Model):
    """How one column came through."""

    column: str
    missing: int
    """Rows without a value in the source."""
    mended: int
    """Rows whose value was clamped, or became unknown."""
    how: str
    examples: tuple[tuple[str, int], ...] = ()
    """Most frequent local values that were mended, with their rows; none of an identifier. In a snapshot, their
    hashes."""
    outside_months: int = 0
    """For a date, rows of other months than the mapping declares."""
    codes: dict[str, int] = {}
    """Rows of each code, for a category."""


class Quality(_Model):
    """What was read, what was kept, and why not all of it."""

    dataset: str
    version: int
    rows_read: int
    rows_excluded: dict[str, int] = {}
    """Rows that each exclusion kept out, by its reason."""
    rows_repeated: int = 0
    """Rows of a unit that the mapping's deduplication left out."""
    rows_without_unit: int
    rows_over_bound: int
    """Rows beyond the contract's bound per unit."""
    rows_kept: int
    units: int = 0
    """Units that are named in the source."""
    rows_per_unit: dict[str, int] = {}
    """Units with so many rows before bounding: `1`, `2`, `3`, `4-5` and so on."""
    columns: tuple[ColumnQuality, ...]
    not_stored: tuple[str, ...] = ()
    """Mapped linkage identifiers that are not stored, since the node has no linkage key."""

    def without_texts(self, hashed: Callable[[str], str]) -> Self:
        """The same with hashes in the place of local values: what may lie in a snapshot."""
        columns = tuple(
            column.model_copy(update={"examples": tuple((hashed(local), n) for local, n in column.examples)})
            for column in self.columns
        )
        return self.model_copy(update={"columns": columns})

    @property
    def usable_share(self) -> float:
        """Rows kept, of those that were read and not excluded: 0 to 1."""
        entered = self.rows_read - sum(self.rows_excluded.values())
        return self.rows_kept / entered if entered else 0.0


class Finding(_Model):
    """One thing that the last snapshot had otherwise."""

    what: str
    before: str
    now: str


def measure_columns(
    database: Asked, mapping: Mapping, contract: Contract, *, linked: bool
) -> tuple[ColumnQuality, ...]:
    """How each mapped column came through, counted over the coded rows."""
    names = [name for name in judged(mapping, contract, linked=linked) if name != contract.unit_column]
    if not names:
        return ()
    conditions = [
        condition
        for name in names
        for condition in (
            quoted(name + MISSING_SUFFIX),
            quoted(name + MENDED_SUFFIX),
            _outside(name, mapping, contract),
        )
    ]
    sums = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
    found = counts(database, f"SELECT {sums} FROM coded")
    each = zip(names, found[0::3], found[1::3], found[2::3], strict=True)
    return tuple(_measured(database, contract, *of_column) for of_column in each)


def _outside(name: str, mapping: Mapping, contract: Contract) -> str:
    """Whether a row is of another month than the mapping declares, for a date."""
    if not isinstance(contract.column(name), Date):
        return "false"
    first, last = (12 * int(month[:4]) + int(month[5:]) - 1 for month in (mapping.first_month, mapping.last_month))
    return f"{quoted(name + MONTH_SUFFIX)} NOT BETWEEN {first} AND {last}"


def _measured(database: Asked, contract: Contract, name: str, missing: int, mended: int, outside: int) -> ColumnQuality:
    column = contract.column(name)
    examples: tuple[tuple[str, int], ...] = ()
    if mended and column.kind != "identifier":
        local = quoted(name + LOCAL_SUFFIX)
        rows = database.execute(
            f"SELECT {local}, count(*) AS n FROM coded WHERE {local} IS NOT NULL "
            f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {MOST_EXAMPLES}"
        ).fetchall()
        examples = tuple((str(text), int(n)) for text, n in rows)
    return ColumnQuality(
        column=name,
        missing=missing,
        mended=mended,
        how=_HOW[column.kind],
        examples=examples,
        outside_months=outside,
        codes=_codes(database, column) if isinstance(column, Category) else {},
    )


def _codes(database: Asked, column: Category) -> dict[str, int]:
    rows = database.execute(f"SELECT {quoted(column.name)}, count(*) FROM coded GROUP BY 1").fetchall()
    found = {int(position): int(n) for position, n in rows}
    return {code.code: found.get(at, 0) for at, code in enumerate(column.codes)}


def measure_units(database: Asked) -> tuple[int, dict[str, int]]:
    """Units that are named in the coded rows, and how many of them have how many rows."""
    each = f"SELECT count(*) AS n FROM coded WHERE {UNIT} IS NOT NULL GROUP BY {UNIT}, {UNIT_REST}"
    rows = database.execute(f"SELECT n, count(*) FROM ({each}) GROUP BY n").fetchall()
    steps = dict.fromkeys(_steps(), 0)
    for n, units in rows:
        steps[_step(int(n))] += int(units)
    return sum(steps.values()), {step: units for step, units in steps.items() if units}


def _steps() -> list[str]:
    return [_step(n) for n in (*STEPS, STEPS[-1] + 1)]


def _step(n: int) -> str:
    below = 0
    for step in STEPS:
        if n <= step:
            return str(step) if step == below + 1 else f"{below + 1}-{step}"
        below = step
    return f"over {below}"


def compare(before: Quality, now: Quality, hashed: Callable[[str], str]) -> list[Finding]:
    """What is notably otherwise than in the snapshot that serves.

    Args:
        before: as it lies in that snapshot.
        hashed: makes of a local value what lies there in its place.
    """
    findings = [
        Finding(what=what, before=f"{old:,}", now=f"{new:,}")
        for what, old, new in _rows_of(before, now)
        if abs(new - old) > NOTABLE_CHANGE * max(old, 1)
    ]
    known = {column.column: column for column in before.columns}
    for column in now.columns:
        old = known.get(column.column)
        if old is None:
            findings.append(Finding(what=f"{column.column} is mapped", before="no", now="yes"))
        else:
            findings += _compare_column(old, column, before.rows_read, now.rows_read, hashed)
    gone = sorted(set(known) - {column.column for column in now.columns})
    return findings + [Finding(what=f"{name} is mapped", before="yes", now="no") for name in gone]


def _rows_of(before: Quality, now: Quality) -> list[tuple[str, int, int]]:
    excluded = sum(before.rows_excluded.values()), sum(now.rows_excluded.values())
    return [
        ("rows read", before.rows_read, now.rows_read),
        ("rows excluded", *excluded),
        ("rows kept", before.rows_kept, now.rows_kept),
        ("rows without a unit", before.rows_without_unit, now.rows_without_unit),
        ("units", before.units, now.units),
    ]


def _compare_column(
    before: ColumnQuality, now: ColumnQuality, rows_before: int, rows_now: int, hashed: Callable[[str], str]
) -> list[Finding]:
    pairs = [("missing", before.missing, now.missing), ("mended", before.mended, now.mended)]
    pairs += [
        (f"= {code}", before.codes.get(code, 0), now.codes.get(code, 0)) for code in {**before.codes, **now.codes}
    ]
    findings = [
        Finding(what=f"{now.column} {what}", before=f"{old:.1%}", now=f"{new:.1%}")
        for what, old, new in ((what, _share(old, rows_before), _share(new, rows_now)) for what, old, new in pairs)
        if abs(new - old) > NOTABLE_SHARE
    ]
    known = {local for local, _ in before.examples}
    fresh = [local for local, _ in now.examples if hashed(local) not in known]
    if fresh:
        findings.append(Finding(what=f"{now.column}: mended for the first time", before="", now=", ".join(fresh[:5])))
    return findings


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def over_limit(quality: Quality, mapping: Mapping) -> Sequence[str]:
    """What exceeds the mapping's own `most_mended_percent`, in words."""
    told = []
    for column in quality.columns:
        most = mapping.columns[column.column].most_mended_percent
        present = quality.rows_read - sum(quality.rows_excluded.values()) - column.missing
        share = 100 * _share(column.mended, present)
        if most is not None and share > most:
            told.append(f"{column.column}: {share:.1f} % of the values were mended; the mapping allows {most:g} %")
    return told
