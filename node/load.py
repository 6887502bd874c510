"""Build a snapshot: the force's records, typed, coded, bounded per unit and labelled with a vintage.

A query over a snapshot cannot fail on a value, because everything that could fail happens here. The snapshot before
serves until the new one is whole. docs/data.md, docs/privacy.md §1.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cordon.contract import Contract, Identifier
from cordon.errors import Misconfigured
from node.cluster import ClusterFault
from node.coding import UNIT_REST
from node.database import Asked, Database, Fault, counts, literal, open_for_load, open_to_serve, quoted, told
from node.distributed import Workshop
from node.identifiers import UNIT, Keys, read_keys
from node.mapping import Mapping
from node.place import Place, read_place, write_place
from node.quality import Finding, Quality, compare, measure_columns, measure_units, over_limit
from node.recipe import Recipe, bounding
from node.snapshot import SNAPSHOT, last_quality, put_in_place, snapshot_path, write_label
from node.staging import TAKEN, Staging
from node.vintage import LOAD_ID_BYTES, Vintage

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load or a check has found, for the force's own people."""

    quality: Quality
    differences: tuple[Finding, ...] | None
    """What is otherwise than in the snapshot that serves; None where none does."""

    def as_json(self) -> str:
        """For a program of the force's own."""
        differences = None if self.differences is None else [found.model_dump() for found in self.differences]
        return json.dumps(self.quality.model_dump() | {"differences": differences}, indent=2)


def load(
    mapping: Mapping,
    contract: Contract,
    state: Path,
    *,
    linkage_key: Path | None = None,
    progress: Progress,
    note: Progress | None = None,
) -> Outcome:
    """Build a data set's snapshot and put it in place of the one before.

    Args:
        linkage_key: file with the forces' shared key.
        progress: told of each stage, in words.
        note: told what a person should know, such as that the source's account can write; `progress` if not given.

    Raises:
        KeyboardInterrupt: somebody has stopped it.
        Misconfigured: the source cannot be read or lacks a column, has more rows than the contract's public bound
            or more mended values than the mapping allows, or another load is running; the snapshot before stays.
    """
    return _build(mapping, contract, state, linkage_key, _Told(progress, note or progress), keep=True)


def check(
    mapping: Mapping,
    contract: Contract,
    state: Path,
    *,
    linkage_key: Path | None = None,
    progress: Progress,
    note: Progress | None = None,
) -> Outcome:
    """Do everything that a load does, but put nothing in place.

    Raises:
        Misconfigured: as for a load.
    """
    return _build(mapping, contract, state, linkage_key, _Told(progress, note or progress), keep=False)


class _Told(NamedTuple):
    """Who is told of what goes on."""

    progress: Progress
    note: Progress


def _build(
    mapping: Mapping, contract: Contract, state: Path, linkage_key: Path | None, told_of: _Told, *, keep: bool
) -> Outcome:
    mapping.check(contract)
    if mapping.as_at > datetime.now(UTC).date() + timedelta(days=1):
        raise Misconfigured(
            f"as_at is {mapping.as_at}, which is yet to come", hint="write the date that the records are as at"
        )
    keys = read_keys(state, linkage_key)
    target = snapshot_path(state, contract.dataset, contract.version)
    make = _build_here if mapping.engine is None else _build_there
    try:
        return make(mapping, contract, keys, target, told_of, keep=keep)
    except RuntimeError as error:
        # What DuckDB makes of Ctrl-C.
        if "interrupt" in str(error).lower():
            raise KeyboardInterrupt from None
        raise


def _build_here(
    mapping: Mapping, contract: Contract, keys: Keys, target: Path, told_of: _Told, *, keep: bool
) -> Outcome:
    progress = told_of.progress
    try:
        with Staging(target.parent, mapping, contract, keys) as staging:
            excluded = staging.read(progress, told_of.note)
            progress("bounding the rows of each unit")
            staging.database.execute(f"ATTACH {literal(str(staging.building))} AS target")
            _bound(staging.database, staging.recipe)
            progress("counting what was mended")
            quality = _measure(staging.database, mapping, contract, keys, excluded)
            _check_bounds(quality, mapping, contract)
            differences = _differences(target, contract, quality, keys)
            write_label(staging.database, "target", declared(mapping, contract), quality.without_texts(keys.hashed))
            staging.database.execute("DETACH target")
            if keep:
                old = _place_of(target)
                put_in_place(staging.building, target)
                if old is not None:
                    told_of.note(f"the table {old.table} is left in {old.cluster.words}: drop it there")
            return Outcome(quality, differences)
    except (Fault, MemoryError, OSError) as error:
        raise Misconfigured(
            f"cannot load {mapping.source.words}: {told(error)}",
            hint="the snapshot before, if there is one, still serves",
        ) from None


def _build_there(
    mapping: Mapping, contract: Contract, keys: Keys, target: Path, told_of: _Told, *, keep: bool
) -> Outcome:
    """The same in a distributed engine; what is put in place is the label alone."""
    cluster, progress = mapping.engine, told_of.progress
    if cluster is None:
        raise AssertionError("the mapping names an engine")
    try:
        # The folder is taken for this load alone, as for any other.
        with (
            Staging(target.parent, mapping, contract, keys) as staging,
            Workshop(cluster, mapping, contract, keys) as work,
        ):
            progress(f"coding the rows in {cluster.words}")
            excluded = work.read()
            progress("bounding the rows of each unit")
            work.bound()
            progress("counting what was mended")
            quality = _measure(work, mapping, contract, keys, excluded)
            _check_bounds(quality, mapping, contract)
            differences = _differences(target, contract, quality, keys)
            if keep:
                old = _place_of(target)
                same = old is not None and old.cluster.url == cluster.url
                place = Place(cluster, work.table, old.table if old is not None and same else "")
                with open_for_load(staging.building, target.parent) as label:
                    write_label(label, "main", declared(mapping, contract), quality.without_texts(keys.hashed))
                    write_place(label, place)
                work.keep()
                put_in_place(staging.building, target)
                _sweep(work, place, told_of.note)
            return Outcome(quality, differences)
    except (Fault, ClusterFault, MemoryError, OSError) as error:
        words = str(error) if isinstance(error, ClusterFault) else told(error)
        raise Misconfigured(
            f"cannot load {mapping.source.words} in {cluster.words}: {words}",
            hint="the snapshot before, if there is one, still serves",
        ) from None


def declared(mapping: Mapping, contract: Contract) -> Vintage:
    """The label of a new load."""
    return Vintage(
        dataset=contract.dataset,
        version=contract.version,
        contract=bytes(contract.digest),
        domain=mapping.domain,
        as_at=mapping.as_at.isoformat(),
        first_month=mapping.first_month,
        last_month=mapping.last_month,
        max_age_days=mapping.max_age_days or 0,
        load_id=secrets.token_bytes(LOAD_ID_BYTES),
        note=mapping.note,
    )


def _differences(target: Path, contract: Contract, quality: Quality, keys: Keys) -> tuple[Finding, ...] | None:
    before = last_quality(target.parent.parent, contract)
    return None if before is None else tuple(compare(before, quality, keys.hashed))


def _place_of(target: Path) -> Place | None:
    """Where the rows of the snapshot that serves lie, if not in its own file."""
    if not target.is_file():
        return None
    try:
        with open_to_serve(target.resolve()) as database:
            return read_place(database)
    except (Fault, ValueError):
        return None


def _sweep(work: Workshop, place: Place, progress: Progress) -> None:
    try:
        work.sweep(place.before)
    except ClusterFault as error:
        # The new snapshot is in place all the same, and the next load sweeps again.
        progress(f"old tables could not be dropped: {error}")


def _bound(database: Database, recipe: Recipe) -> None:
    described = database.execute(f"DESCRIBE {TAKEN}").fetchall()
    columns = tuple((str(name), str(kind)) for name, kind, *_ in described)
    database.execute(f"CREATE TABLE target.{SNAPSHOT} AS {bounding(recipe, TAKEN, columns)}")


def _measure(database: Asked, mapping: Mapping, contract: Contract, keys: Keys, excluded: dict[str, int]) -> Quality:
    coded, unnamed = counts(database, f"SELECT count(*), count(*) FILTER ({UNIT} IS NULL) FROM coded")
    (kept,) = counts(database, f"SELECT count(*) FROM target.{SNAPSHOT}")
    units, per_unit = measure_units(database)
    is_row = contract.unit_column is None
    left_out = unnamed if contract.unit.rows_without_unit == "leave out" and not is_row else 0
    repeated = _repeated(database, mapping, contract)
    return Quality(
        dataset=contract.dataset,
        version=contract.version,
        rows_read=coded + sum(excluded.values()),
        rows_excluded=excluded,
        rows_repeated=repeated,
        rows_without_unit=0 if is_row else unnamed,
        rows_over_bound=coded - left_out - repeated - kept,
        rows_kept=kept,
        units=units,
        rows_per_unit=per_unit,
        columns=measure_columns(database, mapping, contract, linked=keys.linkage is not None),
        not_stored=_not_stored(mapping, contract) if keys.linkage is None else (),
    )


def _not_stored(mapping: Mapping, contract: Contract) -> tuple[str, ...]:
    linkage = {column.name for column in contract.columns if isinstance(column, Identifier) and column.use == "linkage"}
    return tuple(name for name in mapping.columns if name in linkage)


def _repeated(database: Asked, mapping: Mapping, contract: Contract) -> int:
    """Rows that the mapping's deduplication leaves out."""
    if not mapping.deduplicate:
        return 0
    alike = [UNIT, UNIT_REST, *(quoted(name) for name in mapping.deduplicate if contract.unit_column is not None)]
    (named, apart) = counts(
        database,
        f"SELECT sum(n), count(*) FROM "
        f"(SELECT count(*) AS n FROM coded WHERE {UNIT} IS NOT NULL GROUP BY {', '.join(alike)})",
    )
    return named - apart


def _check_bounds(quality: Quality, mapping: Mapping, contract: Contract) -> None:
    most = contract.unit.max_rows_per_force
    if quality.rows_kept > most:
        raise Misconfigured(
            f"{contract.dataset}: {quality.rows_kept} rows after bounding; the contract allows {most}",
            hint="load a shorter period, or ask the federation for a new version of the contract",
        )
    over = over_limit(quality, mapping)
    if over:
        raise Misconfigured(
            f"{contract.dataset}: {'; '.join(over)}", hint="see the values: cordon node check; then mend the mapping"
        )
