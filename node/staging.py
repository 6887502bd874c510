"""The coded rows of a load under way, in a file beside the snapshots; a load that broke off goes on from there.

Rows are coded as they are read: nothing of a source but coded values, hashes and the texts of mended values ever
lies in this file. One load at a time has it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Self

from cordon.contract import Contract
from cordon.errors import Misconfigured
from node.coding import CODES, EXCLUDED, RECORDS, columns_read, many_codes
from node.database import Database, Fault, counts, exhausted, open_for_load, quoted
from node.engine import SECRET
from node.identifiers import Keys, secrets_of
from node.leftovers import LONGEST_BREAK_SECONDS, clear
from node.mapping import Mapping as SourceMapping
from node.recipe import Recipe, coding
from node.source.chunks import check_columns
from node.source.reading import Chunk, Opened, open_source, unreadable

MOST_WHOLE_DIGITS = 18
"""Of decimals without places that are read as whole numbers of 64 bits; longer ones are texts."""

TAKEN = "taken_"
"""The table of coded rows, and of blank ones that are excluded; the view `coded` leaves these out."""

Progress = Callable[[str], None]


class Staging:
    """The files of one load; use as a context manager, which keeps coded rows where reading broke off half-way."""

    def __init__(self, folder: Path, mapping: SourceMapping, contract: Contract, keys: Keys) -> None:
        self._name = f"{contract.dataset}.v{contract.version}"
        self._folder = folder
        self._mapping = mapping
        self._contract = contract
        self._keys = keys
        self._path = folder / f"{self._name}.coding"
        self._scratch = folder / f"{self._name}.scratch"
        self.building = folder / f"{self._name}.building"
        """The snapshot that is being built; gone afterwards, unless it was put in place."""
        # What a load before has left stays until it has been looked at: the source may be away again.
        self._resumable = True

    def __enter__(self) -> Self:
        """Take the file, or make it, for this load alone.

        Raises:
            Misconfigured: another load of the data set is running.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)
        self._lock = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise Misconfigured("another load or check is running on this node", hint="wait until it is done") from None
        clear(self._folder)
        self._scratch.mkdir(mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files, and remove them, but for coded rows that a load may go on from."""
        if hasattr(self, "database"):
            self.database.close()
        rmtree(self._scratch, ignore_errors=True)
        _remove(self.building)
        if not self._resumable:
            _remove(self._path)
        os.close(self._lock)

    def read(self, progress: Progress, note: Progress) -> dict[str, int]:
        """Code every row of the source into the table `coded`.

        Returns:
            Rows that each exclusion kept out, by its reason.

        Raises:
            Misconfigured: the source cannot be read, lacks a column, or broke off.
        """
        wanted = columns_read(self._mapping, self._contract)
        with open_source(self._mapping.source, self._scratch) as opened:
            for warning in opened.warnings:
                note(warning)
            check_columns(opened.columns, wanted, self._mapping.source.words)
            types = {name: kind_of(opened.columns[name]) for name in wanted}
            self.recipe = Recipe.of(types, self._mapping, self._contract, self._keys)
            self._coding = coding(self.recipe)
            self.database, done = self._open(types, opened, note)
            for chunk in opened.chunks(self.database, wanted, done=done):
                progress(f"reading {chunk.words}")
                self._take(chunk, types)
                self._resumable = True
        self._resumable = False
        return self._excluded()

    def _open(self, types: Mapping[str, str], opened: Opened, note: Progress) -> tuple[Database, frozenset[str]]:
        said = {
            "recipe": self.recipe.digest,
            "mapping": self._mapping.model_dump_json(),
            "secrets": secrets_of(self._keys, self._mapping, self._contract),
        }
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        database, done = self._resumed(digest, opened)
        # Before a new file is begun: one that is broken off at once holds nothing to go on from.
        self._resumable = bool(done)
        if database is None:
            _remove(self._path)
            database = open_for_load(self._path, self._scratch)
            self._path.chmod(0o600)
        else:
            note("going on with a load that broke off")
        for name, secret in secrets_of(self._keys, self._mapping, self._contract).items():
            database.execute(f"SET VARIABLE {SECRET}{name} = ?", [secret])
        if not done:
            with _whole(database):
                self._begin(database, digest, types)
        return database, done

    def _resumed(self, digest: str, opened: Opened) -> tuple[Database | None, frozenset[str]]:
        """The file of a load that broke off, and the chunks in it, where a load may go on from there."""
        nothing: frozenset[str] = frozenset()
        if not self._path.is_file():
            return None, nothing
        try:
            database = open_for_load(self._path, self._scratch)
        except Fault:
            return None, nothing
        try:
            row = database.execute("SELECT digest, since FROM begun_").fetchone()
            done = frozenset(str(name) for (name,) in database.execute("SELECT name FROM done_").fetchall())
        except Fault:
            row, done = None, nothing
        longest = min(LONGEST_BREAK_SECONDS, opened.longest_break_seconds)
        recent = row is not None and row[0] == digest and 0 <= time.time() - row[1] < longest
        if recent and done and opened.continues(done):
            return database, done
        database.close()
        return None, nothing

    def _begin(self, database: Database, digest: str, types: Mapping[str, str]) -> None:
        database.execute(f"CREATE TABLE {CODES} (column_ VARCHAR, local_ VARCHAR, position_ SMALLINT)")
        codes = many_codes(self._mapping, self._contract)
        if codes:
            lists = [list(column) for column in zip(*codes, strict=True)]
            database.execute(f"INSERT INTO {CODES} SELECT unnest(?), unnest(?), unnest(?)", lists)
        columns = ", ".join(f"NULL::{_SQL_TYPES.get(kind, kind)} AS {quoted(name)}" for name, kind in types.items())
        database.execute(f"CREATE OR REPLACE TEMP VIEW {RECORDS} AS SELECT {columns or 'NULL AS nothing'} LIMIT 0")
        database.execute(f"CREATE TABLE {TAKEN} AS {self._coding}")
        database.execute(f"CREATE VIEW coded AS SELECT * EXCLUDE ({EXCLUDED}) FROM {TAKEN} WHERE {EXCLUDED} = 0")
        database.execute("CREATE TABLE done_ (name VARCHAR)")
        database.execute("CREATE TABLE begun_ AS SELECT ? AS digest, ?::DOUBLE AS since", [digest, time.time()])

    def _take(self, chunk: Chunk, types: Mapping[str, str]) -> None:
        columns = ", ".join(_as(column, kind) for column, kind in types.items())
        taken = self._coding
        if self._mapping.exclude:
            # Nothing of an excluded record is written but the number of its rule.
            blank = f"CASE WHEN {EXCLUDED} = 0 THEN COLUMNS(* EXCLUDE ({EXCLUDED})) END"
            taken = f"SELECT {blank}, {EXCLUDED} FROM ({taken})"
        try:
            self.database.execute(f"CREATE OR REPLACE TEMP VIEW {RECORDS} AS SELECT {columns} FROM {chunk.relation}")
            with _whole(self.database):
                self.database.execute(f"INSERT INTO {TAKEN} BY NAME {taken}")
                self.database.execute("INSERT INTO done_ VALUES (?)", [chunk.name])
        except Fault as error:
            if exhausted(error):
                # Going on later is worth less than the room.
                self._resumable = False
                raise
            raise unreadable(chunk, error) from None

    def _excluded(self) -> dict[str, int]:
        rules: dict[str, int] = {}
        for number, rule in enumerate(self._mapping.exclude, 1):
            (kept_out,) = counts(self.database, f"SELECT count(*) FROM {TAKEN} WHERE {EXCLUDED} = {number}")
            rules[rule.reason] = rules.get(rule.reason, 0) + kept_out
        return rules


def _remove(path: Path) -> None:
    """Remove a database's file and its log."""
    for part in (path, path.with_name(path.name + ".wal")):
        part.unlink(missing_ok=True)


@contextmanager
def _whole(database: Database) -> Iterator[None]:
    """All of it or nothing, also when the process is killed."""
    database.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(Fault):
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


_SQL_TYPES = {
    "string": "VARCHAR", "int64": "BIGINT", "float64": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP", "timestamp('UTC')": "TIMESTAMPTZ",
}  # fmt: skip


def kind_of(type_: str) -> str:
    """The ibis type that a source column is read as, by DuckDB's name of its own; everything else is read as text."""
    name = type_.upper()
    if name == "DATE":
        return "date"
    if name.startswith("TIMESTAMP"):
        return "timestamp('UTC')" if "TIME ZONE" in name or name == "TIMESTAMPTZ" else "timestamp"
    if name in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}:
        return "int64"
    if name in {"FLOAT", "DOUBLE"}:
        return "float64"
    if name.startswith("DECIMAL("):
        return _decimal(name)
    return "boolean" if name == "BOOLEAN" else "string"


def _decimal(name: str) -> str:
    digits, _, places = name.removeprefix("DECIMAL(").rstrip(")").partition(",")
    if places.strip() not in {"", "0"}:
        return "float64"
    return "int64" if int(digits) <= MOST_WHOLE_DIGITS else "string"


def _as(column: str, kind: str) -> str:
    return f"{quoted(column)}::{_SQL_TYPES[kind]} AS {quoted(column)}"
