"""Write what a force knows as its records system would hold it, batch by batch."""

from __future__ import annotations

import codecs
import gzip
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import duckdb

from demo.nominals.facts import batches
from demo.nominals.population import Population
from demo.nominals.spelling import MACROS
from demo.nominals.systems import SYSTEMS, System, Tables, Text, Typed
from demo.nominals.truth import ForceTruth, Tally

MAPPINGS = Path(__file__).parent.parent / "mappings" / "nominals"
_ENTRIES = 50_000
_BYTES = 1 << 20
_TURN = 20_000
"""Bytes after which another kind of line end takes its turn."""


def write_force(population: Population, force: int, system: str, folder: Path) -> ForceTruth:
    """Write one force's records, and say what is true of them.

    Args:
        force: its place in the list, from 0.
        system: the records system, a name in `SYSTEMS`.
        folder: where its files go; exists.
    """
    holding = SYSTEMS[system]
    tally = Tally()
    with duckdb.connect() as database, _writer(database, holding, folder) as writer:
        database.execute(MACROS)
        for batch in batches(population, force, holding.seen_as):
            database.register("facts", batch)
            writer.add()
            database.unregister("facts")
            tally.add(batch)
    return tally.truth(repeats=holding.repeats)


def write_mapping(system: str, folder: Path) -> None:
    """Put a records system's mapping to nominals v2 into a force's folder, whose records lie in `records`."""
    shutil.copy(MAPPINGS / f"{system}.toml", folder / "nominals.v2.toml")
    if "codes_file" in (folder / "nominals.v2.toml").read_text(encoding="utf-8"):
        shutil.copytree(MAPPINGS / "codes", folder / "codes", dirs_exist_ok=True)


class _Writer(Protocol):
    def add(self) -> None:
        """Write what the table of facts holds just now."""


def _writer(database: duckdb.DuckDBPyConnection, system: System, folder: Path) -> AbstractContextManager[_Writer]:
    medium = system.medium
    if isinstance(medium, Text):
        return _text_files(database, system, medium, folder)
    if isinstance(medium, Typed):
        return _typed_files(database, system, medium, folder)
    if medium.name.endswith(".sqlite"):
        return _sqlite_file(database, system, medium, folder)
    return _duckdb_file(database, system, medium, folder)


def _events(system: System) -> str:
    listed = ", ".join(f'{expression} AS "{name}"' for name, expression in system.columns.items())
    # A row that stands twice stands there twice at once, as a double click would leave it.
    return f"SELECT {listed} FROM facts" + (", range(copies::BIGINT) AS copy" if system.repeats else "")


def _persons(medium: Tables) -> str:
    listed = ", ".join(f'{expression} AS "{name}"' for name, expression in medium.persons.items())
    # All of a person's rows say the same of the person; only the spelling follows the row.
    return f"SELECT {listed} FROM facts WHERE leads"


class _TextFiles:
    def __init__(self, database: duckdb.DuckDBPyConnection, system: System, medium: Text, folder: Path) -> None:
        self._database, self._query, self._medium, self._folder = database, _events(system), medium, folder
        self._plain = folder / ".plain"
        self._files: dict[Path, BinaryIO] = {}
        self._encoder = codecs.getincrementalencoder(medium.encoding)()
        self._turn = 0
        self._number = 0

    def add(self) -> None:
        self._number += 1
        path = self._folder / self._medium.name.replace("*", f"{self._number:03d}")
        begins = path not in self._files
        self._database.execute(
            f"COPY ({self._query}) TO '{self._plain}' "
            f"(FORMAT csv, HEADER {str(begins).lower()}, DELIMITER '{self._medium.delimiter}')"
        )
        if begins:
            self._end()
            self._files = {path: _opened(path)}
            self._encoder.reset()
        with self._plain.open("rb") as source:
            self._encode(source, self._files[path])

    def _encode(self, source: BinaryIO, target: BinaryIO) -> None:
        """Encode UTF-8 text anew; line ends take turns."""
        ends = self._medium.line_ends
        if self._medium.encoding == "utf-8" and ends == ("\n",):
            shutil.copyfileobj(source, target, _BYTES)
            return
        decoder = codecs.getincrementaldecoder("utf-8")()
        while block := source.read(_BYTES if len(ends) == 1 else _TURN):
            text = decoder.decode(block).replace("\n", ends[self._turn % len(ends)])
            target.write(self._encoder.encode(text))
            self._turn += 1

    def _end(self) -> None:
        for file in self._files.values():
            file.close()

    def close(self) -> None:
        self._end()
        self._plain.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.GzipFile(path, "wb", compresslevel=1)) if path.suffix == ".gz" else path.open("wb")


@contextmanager
def _text_files(database: duckdb.DuckDBPyConnection, system: System, medium: Text, folder: Path) -> Iterator[_Writer]:
    with closing(_TextFiles(database, system, medium, folder)) as files:
        yield files


class _Steps:
    """A writer that does the same for each batch."""

    def __init__(self, step: Callable[[int], None]) -> None:
        self._step = step
        self._number = 0

    def add(self) -> None:
        self._number += 1
        self._step(self._number)


@contextmanager
def _typed_files(database: duckdb.DuckDBPyConnection, system: System, medium: Typed, folder: Path) -> Iterator[_Writer]:
    into = folder / medium.name
    into.mkdir()

    def write(number: int) -> None:
        database.execute(f"COPY ({_events(system)}) TO '{into}/part-{number:03d}.parquet' (FORMAT parquet)")

    yield _Steps(write)


@contextmanager
def _duckdb_file(
    database: duckdb.DuckDBPyConnection, system: System, medium: Tables, folder: Path
) -> Iterator[_Writer]:
    database.execute(f"ATTACH '{folder / medium.name}' AS made")

    def write(number: int) -> None:
        for name, query in (("persons", _persons(medium)), ("events", _events(system))):
            database.execute(f"{f'CREATE TABLE made.{name} AS' if number == 1 else f'INSERT INTO made.{name}'} {query}")

    yield _Steps(write)
    database.execute("USE made")
    database.execute(f"CREATE VIEW nominals AS {medium.view}")
    database.execute("USE memory")
    database.execute("DETACH made")


@contextmanager
def _sqlite_file(
    database: duckdb.DuckDBPyConnection, system: System, medium: Tables, folder: Path
) -> Iterator[_Writer]:
    # The file is new: if writing breaks off, it is made anew.
    with closing(sqlite3.connect(folder / medium.name, isolation_level=None)) as made:
        made.execute("PRAGMA synchronous = OFF")
        made.execute("PRAGMA journal_mode = OFF")
        tables: dict[str, tuple[Mapping[str, str], str]] = {
            "persons": (medium.persons, _persons(medium)),
            "events": (system.columns, _events(system)),
        }
        for name, (columns, _) in tables.items():
            made.execute(f"CREATE TABLE {name} ({', '.join(columns)})")

        def write(_: int) -> None:
            made.execute("BEGIN")
            for name, (columns, query) in tables.items():
                rows = database.execute(query)
                while some := rows.fetchmany(_ENTRIES):
                    made.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", some)
            made.execute("COMMIT")

        yield _Steps(write)
        made.execute("CREATE INDEX of_person ON persons (id)")
