"""Write what a force knows as its records system would hold it, with memory that does not grow with the rows."""

from __future__ import annotations

import codecs
import gzip
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import duckdb

from demo.nominals.facts import batches
from demo.nominals.population import Population
from demo.nominals.spelling import MACROS
from demo.nominals.systems import SYSTEMS, System, Tables, Text, Typed
from demo.nominals.truth import ForceTruth, force_truth

MEMORY = "1GB"
_ENTRIES = 50_000
_BYTES = 1 << 20
MAPPINGS = Path(__file__).parent.parent / "mappings" / "nominals"


@contextmanager
def workshop() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database for facts, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="cordon-facts-") as folder:
        config = {"memory_limit": MEMORY, "preserve_insertion_order": "true"}
        with duckdb.connect(f"{folder}/facts.duckdb", config=config) as database:
            database.execute(MACROS)
            yield database


def write_force(
    database: duckdb.DuckDBPyConnection, population: Population, force: int, system: str, folder: Path
) -> ForceTruth:
    """Write one force's records, and say what is true of them.

    Args:
        database: of `workshop`.
        force: its place in the list, from 0.
        system: the records system, a name in `SYSTEMS`.
        folder: where its files go; exists.
    """
    holding = SYSTEMS[system]
    database.execute("DROP TABLE IF EXISTS facts")
    for number, batch in enumerate(batches(population, force, holding.seen_as)):
        database.register("batch", batch)
        database.execute("INSERT INTO facts FROM batch" if number else "CREATE TABLE facts AS FROM batch")
        database.unregister("batch")
    truth = force_truth(database, repeats=holding.repeats)
    medium = holding.medium
    if isinstance(medium, Text):
        _write_text(database, holding, medium, folder)
    elif isinstance(medium, Typed):
        _write_typed(database, holding, medium, folder)
    else:
        _write_tables(database, holding, medium, folder)
    return truth


def write_mapping(system: str, folder: Path) -> None:
    """Put a records system's mapping to nominals v2 into a force's folder, whose records lie in `records`."""
    shutil.copy(MAPPINGS / f"{system}.toml", folder / "nominals.v2.toml")
    if "codes_file" in (folder / "nominals.v2.toml").read_text(encoding="utf-8"):
        shutil.copytree(MAPPINGS / "codes", folder / "codes", dirs_exist_ok=True)


def _select(columns: Mapping[str, str], system: System, where: str = "true") -> str:
    listed = ", ".join(f'{expression} AS "{name}"' for name, expression in columns.items())
    # A row that stands twice stands there twice at once, as a double click would leave it.
    twice = ", range(copies::BIGINT) AS copy" if system.repeats else ""
    return f"SELECT {listed} FROM facts{twice} WHERE {where}"


def _parts(database: duckdb.DuckDBPyConnection, parts: int) -> list[str]:
    """Conditions that spread the rows over so many files."""
    (rows,) = database.execute("SELECT count(*) FROM facts").fetchall()[0]
    edges = [rows * at // parts for at in range(parts + 1)]
    return [f"rowid >= {low} AND rowid < {high}" for low, high in zip(edges, edges[1:], strict=False)]


def _write_text(database: duckdb.DuckDBPyConnection, system: System, medium: Text, folder: Path) -> None:
    plain = folder / ".plain"
    conditions = _parts(database, medium.parts) if medium.parts > 1 else ["true"]
    for number, condition in enumerate(conditions, start=1):
        target = folder / medium.name.replace("*", f"{number:02d}")
        as_wanted = (medium.encoding, medium.line_ends, target.suffix) == ("utf-8", ("\n",), ".csv")
        database.execute(
            f"COPY ({_select(system.columns, system, condition)}) TO '{target if as_wanted else plain}' "
            f"(FORMAT csv, HEADER, DELIMITER '{medium.delimiter}')"
        )
        if not as_wanted:
            opened = gzip.open(target, "wb", compresslevel=1) if target.suffix == ".gz" else target.open("wb")
            with plain.open("rb") as source, opened as file:
                _encode(source, file, medium)  # type: ignore[arg-type,unused-ignore]
            plain.unlink()


def _encode(source: BinaryIO, target: BinaryIO, medium: Text) -> None:
    """Encode UTF-8 text anew; line ends take turns."""
    encoder = codecs.getincrementalencoder(medium.encoding)()
    decoder = codecs.getincrementaldecoder("utf-8")()
    turn = 0
    while block := source.read(_BYTES if len(medium.line_ends) == 1 else 20_000):
        text = decoder.decode(block).replace("\n", medium.line_ends[turn % len(medium.line_ends)])
        target.write(encoder.encode(text))
        turn += 1


def _write_typed(database: duckdb.DuckDBPyConnection, system: System, medium: Typed, folder: Path) -> None:
    (folder / medium.name).mkdir(exist_ok=True)
    for number, condition in enumerate(_parts(database, medium.parts), start=1):
        target = folder / medium.name / f"part-{number:02d}.parquet"
        database.execute(f"COPY ({_select(system.columns, system, condition)}) TO '{target}' (FORMAT parquet)")


def _write_tables(database: duckdb.DuckDBPyConnection, system: System, medium: Tables, folder: Path) -> None:
    target = folder / medium.name
    target.unlink(missing_ok=True)
    listed = ", ".join(f'{expression} AS "{name}"' for name, expression in medium.persons.items())
    # Any of a person's rows says the same of the person; only the spelling follows the row.
    persons = f"SELECT {listed} FROM (SELECT DISTINCT ON (person) * FROM facts WHERE person IS NOT NULL)"
    tables = {"persons": persons, "events": _select(system.columns, system)}
    if target.suffix == ".sqlite":
        _write_sqlite(database, tables, target)
        return
    database.execute(f"ATTACH '{target}' AS made")
    for name, query in tables.items():
        database.execute(f"CREATE TABLE made.{name} AS {query}")
    if medium.view:
        database.execute("USE made")
        database.execute(f"CREATE VIEW nominals AS {medium.view}")
        database.execute("USE facts")
    database.execute("DETACH made")


def _write_sqlite(database: duckdb.DuckDBPyConnection, tables: Mapping[str, str], target: Path) -> None:
    # The file is new: if writing breaks off, it is made anew.
    with closing(sqlite3.connect(target, isolation_level=None)) as made:
        made.execute("PRAGMA synchronous = OFF")
        made.execute("PRAGMA journal_mode = OFF")
        for name, query in tables.items():
            rows = database.execute(query)
            columns = [column[0] for column in rows.description]
            made.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            made.execute("BEGIN")
            while some := rows.fetchmany(_ENTRIES):
                made.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", some)
            made.execute("COMMIT")
        made.execute("CREATE INDEX of_person ON persons (id)")
