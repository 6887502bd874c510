"""Look at a source: its columns' names, and the values of a few thousand rows. Reads, and writes nothing there."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from cordon.errors import Misconfigured
from node.database import Database, Fault, open_for_load, quoted
from node.source.chunks import Chunk, looks_like_a_name
from node.source.files import find
from node.source.model import FILES, Kind, Source
from node.source.reading import open_source, unreadable
from node.suggest.sample import Sample

ROWS = 5_000
"""Rows of a sample."""

PARTS = 5
"""Files or batches that a sample is drawn from, so that it does not come from one month alone."""

_HEAD_BYTES = 256 * 1024
_SAMPLING = "sampling.duckdb"
_DELIMITERS = ",;\t|"


def read_samples(
    source: Source, scratch: Path, *, warn: Callable[[str], None] | None = None
) -> tuple[dict[str, Sample], int]:
    """Samples of a source's columns, and the rows that they come from.

    Args:
        scratch: folder for temporary files, on the node's own encrypted volume.
        warn: told what a person should know of the source, such as that the account can write.

    Raises:
        Misconfigured: the source cannot be read, or is a CSV file without a header.
    """
    rows = 0
    # A sample says nothing of whom a view's rows are made from: that is for the person to declare.
    looked_at = source.model_copy(update={"rows_depend_on_one_unit": True})
    with open_source(looked_at, scratch) as opened, open_for_load(scratch / _SAMPLING, scratch) as database:
        if warn is not None:
            for warning in opened.warnings:
                warn(warning)
        types = opened.columns
        counts: dict[str, Counter[str]] = {name: Counter() for name in types}
        # A database gives its rows in batches of its own, a folder one file after the other.
        most = ROWS // min(PARTS, len(find(source))) if source.kind in FILES else ROWS
        for chunk in islice(opened.chunks(database, list(types)), PARTS):
            rows += _count(database, chunk, counts, most)
            if rows >= ROWS:
                break
    samples = {name: Sample(counted, rows - counted.total(), types[name]) for name, counted in counts.items()}
    if source.kind is Kind.CSV:
        _check_header(source, samples)
    return samples, rows


def _check_header(source: Source, samples: dict[str, Sample]) -> None:
    """Refuse names that are values: the first record of a file without a header, which a proposal would print."""
    strange = [name for name, sample in samples.items() if not looks_like_a_name(name) or name.strip() in sample.values]
    if 2 * len(strange) >= len(samples):
        raise Misconfigured(
            f"{source.words}: its first line does not look like a header",
            hint="export it with the names of its columns in the first line",
        )


def _count(database: Database, chunk: Chunk, counts: dict[str, Counter[str]], most: int) -> int:
    shown = ", ".join(f"trim({quoted(name)}::VARCHAR)" for name in counts)
    try:
        # The relation is our own, and names are quoted.
        found = database.execute(f"SELECT {shown} FROM {chunk.relation} LIMIT {most}").fetchall()  # noqa: S608
    except Fault as error:
        raise unreadable(chunk, error) from None
    for row in found:
        for values, value in zip(counts.values(), row, strict=True):
            if value:
                values[value] += 1
    return len(found)


def csv_form(source: Source) -> tuple[str, str]:
    """Encoding and delimiter of CSV files, guessed from the beginning of the first of them.

    Raises:
        Misconfigured: there is no file, or it cannot be read.
    """
    head = _head(find(source)[0].path)
    encoding = _encoding(head)
    lines = head.decode(encoding, errors="ignore").splitlines()[:20]
    return encoding, _delimiter(lines)


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
    if source.kind is not Kind.CSV:
        return source, ()
    encoding, delimiter = csv_form(source)
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
