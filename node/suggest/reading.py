"""Look at a source: its columns' names, and the values of a few thousand rows. Reads, and writes nothing there."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from itertools import islice
from pathlib import Path

import duckdb

from cordon.errors import Misconfigured
from node.source.model import FILES, Kind, Source
from node.source.reading import open_source
from node.suggest.sample import Sample

ROWS = 5_000
"""Rows of a sample."""

PARTS = 5
"""Files or batches that a sample is drawn from, so that it does not come from one month alone."""

_HEAD_BYTES = 256 * 1024
_DELIMITERS = ",;\t|"


def read_samples(source: Source, scratch: Path) -> tuple[dict[str, Sample], int]:
    """Samples of a source's columns, and the rows that they come from.

    Args:
        scratch: folder for temporary files, on the node's own encrypted volume.

    Raises:
        Misconfigured: the source cannot be read.
    """
    counts: dict[str, Counter[str]] = {}
    rows = 0
    try:
        with open_source(source, scratch) as opened, duckdb.connect() as database:
            types = dict(opened.columns)
            counts = {name: Counter() for name in types}
            for chunk in islice(opened.chunks(database, list(types), done=()), PARTS):
                rows += _count(database, chunk.relation, counts, ROWS // PARTS if source.kind in FILES else ROWS)
                if rows >= ROWS:
                    break
    except duckdb.Error as error:
        # The rest of the message may quote a record.
        raise Misconfigured(f"cannot read {source.words}: {type(error).__name__}") from None
    return {
        name: Sample(dict(values), rows - sum(values.values()), types[name].upper()) for name, values in counts.items()
    }, rows


def _count(database: duckdb.DuckDBPyConnection, relation: str, counts: dict[str, Counter[str]], most: int) -> int:
    shown = ", ".join(f"trim({_quoted(name)}::VARCHAR)" for name in counts)
    found = database.execute(f"SELECT {shown} FROM {relation} LIMIT {most}").fetchall()
    for row in found:
        for values, value in zip(counts.values(), row, strict=True):
            if value:
                values[value] += 1
    return len(found)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def csv_form(path: Path) -> tuple[str, str]:
    """Encoding and delimiter of a CSV file, a folder or a pattern, guessed from the beginning of its first file.

    Raises:
        Misconfigured: there is no file, or it cannot be read.
    """
    head = _head(_first(path))
    encoding = _encoding(head)
    lines = head.decode(encoding, errors="ignore").splitlines()[:20]
    return encoding, _delimiter(lines)


def _first(path: Path) -> Path:
    if path.is_file():
        return path
    folder, pattern = (path, "*") if path.is_dir() else (path.parent, path.name)
    found = sorted(file for file in folder.glob(pattern) if file.is_file())
    if not found:
        raise Misconfigured(f"there is no file at {path}", hint="name a file, a folder or a pattern")
    return found[0]


def _head(path: Path) -> bytes:
    if path.suffix == ".zst":
        return b""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except (OSError, EOFError) as error:
        raise Misconfigured(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is truncated'}") from None


def _encoding(head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        # A character may be cut in two at the end of what was read.
        head[: len(head) - 4 if len(head) == _HEAD_BYTES else len(head)].decode("utf-8")
    except UnicodeDecodeError as error:
        return "utf-8" if error.reason == "unexpected end of data" else "windows-1252"
    return "utf-8"


def _delimiter(lines: list[str]) -> str:
    def fields(delimiter: str) -> int:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            return 0
        # What splits the first line into many parts and every other line into as many is it.
        alike = sum(count == counts[0] for count in counts) if counts else 0
        return counts[0] * alike if counts and counts[0] > 1 else 0

    best = max(_DELIMITERS, key=fields)
    return best if fields(best) else ","


def completed(source: Source) -> tuple[Source, tuple[str, ...]]:
    """A CSV source with its encoding and delimiter found out, and what was found out, in words.

    What a person has given is kept. Raises as `csv_form` does.
    """
    if source.kind is not Kind.CSV or source.path is None:
        return source, ()
    encoding, delimiter = csv_form(source.path)
    given = source.model_fields_set
    found = {key: value for key, value in (("encoding", encoding), ("delimiter", delimiter)) if key not in given}
    changed = source.model_copy(update=found)
    named = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}
    notes = []
    if "encoding" in found and encoding != "utf-8":
        notes.append(f"The encoding is guessed from the first file: {encoding}. Check a name with an accent.")
    if "delimiter" in found and delimiter != ",":
        notes.append(f"Values are divided by {named[delimiter]}, as the first file shows.")
    return changed, tuple(notes)
