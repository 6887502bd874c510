"""What a snapshot is on disk: a DuckDB file of coded rows, labelled with a declared vintage.

Row counts, the quality report and the random load id lie in the file; of all that, the load id alone leaves.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import astuple
from datetime import date
from pathlib import Path
from typing import Any

from cordon.contract import Contract
from cordon.errors import Misconfigured
from cordon.keyfile import sync_folder
from node.database import Database, Fault, not_whole, open_to_serve
from node.quality import Quality
from node.vintage import LOAD_ID_BYTES, Vintage

SNAPSHOT = "snapshot"
"""The table of coded rows."""


_TYPES = (
    "dataset VARCHAR, version INTEGER, contract BLOB, domain VARCHAR, as_at VARCHAR, first_month VARCHAR, "
    "last_month VARCHAR, max_age_days INTEGER, load_id BLOB, note VARCHAR"
)


def snapshot_path(state: Path, dataset: str, version: int) -> Path:
    """Where the snapshot of a data set lies in a node's state folder: a link to the newest load's own file."""
    return state / "snapshots" / f"{dataset}.v{version}.duckdb"


def write_label(database: Database, schema: str, vintage: Vintage, quality: Quality) -> None:
    """Label the snapshot in an attached file with its vintage and its quality report."""
    database.execute(f"CREATE TABLE {schema}.vintage ({_TYPES})")
    marks = ", ".join("?" * len(astuple(vintage)))
    database.execute(f"INSERT INTO {schema}.vintage VALUES ({marks})", list(astuple(vintage)))
    database.execute(f"CREATE TABLE {schema}.quality (report VARCHAR)")
    database.execute(f"INSERT INTO {schema}.quality VALUES (?)", [quality.model_dump_json()])


def read_label(database: Database, path: Path, contract: Contract) -> Vintage:
    """The vintage of an open snapshot.

    Raises:
        Misconfigured: truncated, or built for another contract than the federation lists.
    """
    try:
        row = database.execute("SELECT * FROM vintage").fetchone()
    except Fault as error:
        raise not_whole(path, error) from None
    if row is None or len(row) != len(Vintage.__slots__) or not _is_of(row, contract):
        raise Misconfigured(
            f"{path} was built for another contract than the manifest lists, or by an older version",
            hint="build it anew: cordon node load",
        )
    return Vintage(*row)


def _is_of(row: tuple[Any, ...], contract: Contract) -> bool:
    """Whether a label is one of this contract, with every field of its own kind."""
    vintage = Vintage(*row)
    texts: tuple[Any, ...] = (vintage.domain, vintage.as_at, vintage.first_month, vintage.last_month, vintage.note)
    whole: tuple[Any, Any] = (vintage.load_id, vintage.max_age_days)
    try:
        date.fromisoformat(vintage.as_at)
    except (TypeError, ValueError):
        return False
    return (
        (vintage.dataset, vintage.version, vintage.contract)
        == (contract.dataset, contract.version, bytes(contract.digest))
        and [type(part) for part in whole] == [bytes, int]
        and len(vintage.load_id) == LOAD_ID_BYTES
        and all(isinstance(text, str) for text in texts)
    )


def check_rows(database: Database, path: Path, expected: Mapping[str, str]) -> None:
    """Check that an open snapshot has the columns that questions are compiled for.

    Args:
        expected: ibis type of each column that a question may name.

    Raises:
        Misconfigured: a column, or the whole table, is missing or of another type.
    """
    try:
        described = database.execute(f"DESCRIBE {SNAPSHOT}").fetchall()
    except Fault as error:
        raise not_whole(path, error) from None
    found = {str(name): str(kind) for name, kind, *_ in described}
    if any(found.get(name) != _STORED[kind] for name, kind in expected.items()):
        raise Misconfigured(
            f"{path} lacks columns of its contract, or was built by an older version",
            hint="build it anew: cordon node load",
        )


_STORED = {"int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT"}


def last_quality(state: Path, contract: Contract) -> Quality | None:
    """The quality report of the snapshot that serves; None where there is none that can be read."""
    path = snapshot_path(state, contract.dataset, contract.version)
    if not path.is_file():
        return None
    try:
        with open_to_serve(path.resolve()) as database:
            row = database.execute("SELECT report FROM quality").fetchone()
        return Quality.model_validate_json(row[0]) if row is not None else None
    except (Fault, ValueError):
        # Truncated, or of a version that wrote another form: nothing to compare with.
        return None


def put_in_place(building: Path, target: Path) -> None:
    """Let `target` name the new snapshot from one moment to the next; the one before may still be open."""
    building.chmod(0o600)
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
