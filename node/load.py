"""Build a snapshot: the force's records, typed, coded, bounded per unit and labelled with a vintage.

A query over a snapshot cannot fail on a value, because everything that could fail happens here. At most
k rows of each unit are kept, by a random rank that depends on nothing but the unit's own rows and fresh
randomness; that is what makes the contribution bound a stable transformation. docs/privacy.md §1.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cordon.contract import UNKNOWN, Category, Contract, Date, Number
from cordon.errors import Misconfigured
from cordon.keyfile import sync_folder
from node.mapping import ColumnMapping, Mapping
from node.source.model import Kind

MEMORY_LIMIT = "1GB"
RANK = "rank_"
UNIT = "unit_"
MONTH_SUFFIX = "__month"
"""Beside each date column stands its month, as 12·year + month − 1."""

_COUNT_OF = {"category": "not in the contract's code list", "date": "outside the contract", "number": "clamped"}


@dataclass(frozen=True, slots=True)
class ColumnQuality:
    """How one column came through."""

    column: str
    missing: int
    """Rows without a value in the source."""
    mended: int
    """Rows whose value was clamped, or became unknown."""
    how: str
    examples: tuple[tuple[str, int], ...]
    """Most frequent local values that no code stands for, with their rows."""


@dataclass(frozen=True, slots=True)
class Quality:
    """A load's data-quality report, for the force's own people only: its counts never leave."""

    dataset: str
    version: int
    rows_read: int
    rows_kept: int
    rows_over_bound: int
    """Rows beyond the contract's bound per unit."""
    rows_without_unit: int
    columns: tuple[ColumnQuality, ...]


def snapshot_path(state: Path, dataset: str, version: int) -> Path:
    """Where the snapshot of a data set lies in a node's state folder: a link to the newest load's own file."""
    return state / "snapshots" / f"{dataset}.v{version}.duckdb"


def load(mapping: Mapping, contract: Contract, state: Path, *, progress: Callable[[str], None]) -> Quality:
    """Build a data set's snapshot and put it in place of the one before.

    Args:
        progress: told of each stage, in words.

    Raises:
        Misconfigured: the source cannot be read, lacks a column, or has more rows than the contract's
            public bound; the snapshot before stays in place.
    """
    mapping.check(contract)
    target = snapshot_path(state, contract.dataset, contract.version)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    building = target.with_suffix(".building")
    building.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(building), config={"memory_limit": MEMORY_LIMIT}) as database:
            quality = _build(database, mapping, contract, progress)
    except duckdb.Error as error:
        building.unlink(missing_ok=True)
        first = str(error).splitlines()[0]
        raise Misconfigured(
            f"cannot load {mapping.source.words}: {first}", hint="check the source and columns in the mapping"
        ) from None
    except Misconfigured:
        building.unlink(missing_ok=True)
        raise
    building.chmod(0o600)
    _put_in_place(building, target)
    return quality


def _put_in_place(building: Path, target: Path) -> None:
    """Let `target` name the new snapshot from one moment to the next; the one before may still be open."""
    own = target.with_name(f"{target.stem}.{secrets.token_hex(8)}.snapshot")
    building.replace(own)
    link = target.with_suffix(".link")
    link.unlink(missing_ok=True)
    link.symlink_to(own.name)
    link.replace(target)
    sync_folder(target.parent)
    for old in target.parent.glob(f"{target.stem}.*.snapshot"):
        if old != own:
            old.unlink()


def _build(
    database: duckdb.DuckDBPyConnection, mapping: Mapping, contract: Contract, progress: Callable[[str], None]
) -> Quality:
    progress("reading the source")
    database.execute("CREATE TEMP TABLE source AS " + _source(database, mapping))
    progress("coding the columns")
    database.execute(f"CREATE TEMP TABLE coded AS SELECT {', '.join(_expressions(mapping, contract))} FROM source")
    columns = tuple(_column_quality(database, mapping, contract, name) for name in sorted(mapping.columns))
    progress("bounding the rows of each unit")
    kept = ", ".join(f'"{name}"' for name in _stored(contract))
    k = contract.unit.max_rows_per_unit
    left_out = "AND named_" if contract.unit.rows_without_unit == "leave out" else ""
    # The order of a unit's rows is drawn afresh at each load, from nothing that is in the data.
    database.execute(f"""
        CREATE TABLE snapshot AS SELECT {kept}, {UNIT}, {RANK} FROM (
            SELECT *, row_number() OVER (PARTITION BY {UNIT} ORDER BY draw_)::INTEGER AS {RANK} FROM coded
        ) WHERE {RANK} <= {k} {left_out}
    """)
    read, unnamed = _counts(database, "SELECT count(*), count(*) FILTER (NOT named_) FROM coded")
    (stored,) = _counts(database, "SELECT count(*) FROM snapshot")
    if stored > contract.unit.max_rows_per_force:
        raise Misconfigured(
            f"{contract.dataset}: {stored} rows after bounding; the contract allows {contract.unit.max_rows_per_force}",
            hint="load a shorter period, or ask the federation for a new version of the contract",
        )
    entered = read - (unnamed if left_out else 0)
    _label(database, mapping, contract)
    return Quality(contract.dataset, contract.version, read, stored, entered - stored, unnamed, columns)


def _label(database: duckdb.DuckDBPyConnection, mapping: Mapping, contract: Contract) -> None:
    database.execute("""
        CREATE TABLE vintage (dataset VARCHAR, version INTEGER, contract BLOB, domain VARCHAR, as_at VARCHAR,
                              first_month VARCHAR, last_month VARCHAR, load_id BLOB, note VARCHAR)
    """)
    # A load's id is random and new at each load, whether or not anything changed: it tells nothing.
    database.execute(
        "INSERT INTO vintage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            contract.dataset,
            contract.version,
            bytes(contract.digest),
            mapping.domain,
            mapping.as_at.isoformat(),
            mapping.first_month,
            mapping.last_month,
            secrets.token_bytes(16),
            mapping.note,
        ],
    )


def _source(database: duckdb.DuckDBPyConnection, mapping: Mapping) -> str:
    source = mapping.source
    if source.path is None or not source.path.is_file():
        raise Misconfigured(f"there is no source at {source.words}", hint="correct `source` in the mapping")
    path = str(source.path).replace("'", "''")
    if source.table is not None:
        database.execute(f"ATTACH '{path}' AS records (READ_ONLY)")
        return f"SELECT * FROM records.{_quoted(source.table)}"
    if source.kind is Kind.PARQUET:
        return f"SELECT * FROM read_parquet('{path}')"
    return f"SELECT * FROM read_csv('{path}', header = true, all_varchar = true, strict_mode = true)"


def _expressions(mapping: Mapping, contract: Contract) -> list[str]:
    parts: list[str] = []
    for column in contract.columns:
        mapped = mapping.columns.get(column.name)
        if isinstance(column, Category):
            parts.append(f'{_code(column, mapped)} AS "{column.name}"')
        elif isinstance(column, Date):
            parts.append(f'{_day(column, mapped)} AS "{column.name}"')
            parts.append(f'{_month(column, mapped)} AS "{column.name}{MONTH_SUFFIX}"')
        elif isinstance(column, Number):
            parts.append(f'{_resolutions(column, mapped)} AS "{column.name}"')
        elif column.use == "linkage":
            parts.append(f'{_text(mapped)} AS "{column.name}"')
    unit = contract.unit_column
    if unit is None:
        return [*parts, f"row_number() OVER () AS {UNIT}", "true AS named_", "random() AS draw_"]
    name = _text(mapping.columns[unit])
    # A row without an identifier is a unit by itself; surrogates keep identifiers out of the snapshot.
    surrogate = f"dense_rank() OVER (ORDER BY {name}) * 2"
    alone = "row_number() OVER () * 2 + 1"
    return [
        *parts,
        f"CASE WHEN {name} IS NULL THEN {alone} ELSE {surrogate} END AS {UNIT}",
        f"{name} IS NOT NULL AS named_",
        "random() AS draw_",
    ]


def _stored(contract: Contract) -> list[str]:
    names: list[str] = []
    for column in contract.columns:
        if column.name == contract.unit_column:
            continue
        names.append(column.name)
        if isinstance(column, Date):
            names.append(column.name + MONTH_SUFFIX)
    return names


def _text(mapped: ColumnMapping | None) -> str:
    return "NULL::VARCHAR" if mapped is None else f"nullif(trim({_quoted(mapped.source or '')}::VARCHAR), '')"


def _lookup(column: Category, mapped: ColumnMapping) -> dict[str, int]:
    lookup = {code.label: column.positions[code.code] for code in column.codes}
    lookup |= column.positions
    return lookup | {local: column.positions[code] for local, code in mapped.read_codes(column).items()}


def _code(column: Category, mapped: ColumnMapping | None) -> str:
    unknown = column.positions[UNKNOWN]
    if mapped is None:
        return f"{unknown}::USMALLINT"
    lookup = _lookup(column, mapped)
    cases = " ".join(f"WHEN {_literal(local)} THEN {position}" for local, position in lookup.items())
    return f"(CASE coalesce({_text(mapped)}, '') {cases} ELSE {unknown} END)::USMALLINT"


def _civil_date(mapped: ColumnMapping | None) -> str:
    if mapped is None:
        return "NULL::DATE"
    text = _text(mapped)
    if mapped.time_zone is not None:
        return f"timezone({_literal(mapped.time_zone)}, try_cast({text} AS TIMESTAMPTZ))::DATE"
    return f"try_cast(CASE WHEN length({text}) = 7 THEN {text} || '-01' ELSE left({text}, 10) END AS DATE)"


def _known_date(column: Date, mapped: ColumnMapping | None) -> str:
    civil = _civil_date(mapped)
    kept = f"CASE WHEN {civil} BETWEEN DATE '{column.min}' AND DATE '{column.max}' THEN {civil} END"
    return f"date_trunc('month', {kept})::DATE" if column.grain == "month" else kept


def _day(column: Date, mapped: ColumnMapping | None) -> str:
    return f"date_diff('day', DATE '1970-01-01', {_known_date(column, mapped)})::INTEGER"


def _month(column: Date, mapped: ColumnMapping | None) -> str:
    known = _known_date(column, mapped)
    return f"(12 * year({known}) + month({known}) - 1)::INTEGER"


def _whole(column: Number, mapped: ColumnMapping | None) -> str:
    ratio = f"{column.resolution.denominator}::DOUBLE / {column.resolution.numerator}"
    number = f"try_cast({_text(mapped)} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN round({number} * ({ratio})) END"


def _resolutions(column: Number, mapped: ColumnMapping | None) -> str:
    if mapped is None:
        return "NULL::BIGINT"
    whole = _whole(column, mapped)
    return f"CASE WHEN {whole} IS NOT NULL THEN greatest({column.low}, least({column.high}, {whole}))::BIGINT END"


def _column_quality(
    database: duckdb.DuckDBPyConnection, mapping: Mapping, contract: Contract, name: str
) -> ColumnQuality:
    column, mapped = contract.column(name), mapping.columns[name]
    text = _text(mapped)
    if isinstance(column, Category):
        known = ", ".join(_literal(local) for local in _lookup(column, mapped))
        bad = f"{text} IS NOT NULL AND {text} NOT IN ({known})"
    elif isinstance(column, Date):
        bad = f"{text} IS NOT NULL AND {_known_date(column, mapped)} IS NULL"
    elif isinstance(column, Number):
        whole = _whole(column, mapped)
        bad = f"{text} IS NOT NULL AND ({whole} IS NULL OR {whole} NOT BETWEEN {column.low} AND {column.high})"
    else:
        bad = "false"
    missing, mended = _counts(database, f"SELECT count(*) FILTER ({text} IS NULL), count(*) FILTER ({bad}) FROM source")
    rows = database.execute(
        f"SELECT {text} AS local, count(*) AS n FROM source WHERE {bad} GROUP BY local ORDER BY n DESC, local LIMIT 10"
    ).fetchall()
    examples = tuple((str(local), int(count)) for local, count in rows)
    return ColumnQuality(name, missing, mended, _COUNT_OF.get(column.kind, ""), examples)


def _counts(database: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = database.execute(query).fetchone()
    if row is None:
        raise AssertionError("a count has one row")
    return tuple(int(value) for value in row)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
