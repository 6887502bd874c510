"""Search everything that the coordinator keeps for numbers that it must not know."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search went through, and where it found one of the numbers."""

    megabytes: float
    values: int
    """Values of the store's tables that were looked at."""
    found: tuple[str, ...]
    """What was found, and in which table and column or file."""


def search(folder: Path, numbers: Iterable[int]) -> Findings:
    """Look for numbers in the coordinator's store and in every file beside it.

    A number is found as an integer or a decimal text in any value of any table, as a 64-bit integer of
    either byte order anywhere in a binary value (so also in a ciphertext), as a decimal text in any log,
    and as one of five digits or more in any byte of any file, pages that were freed included. Shorter
    forms are not looked for in raw bytes: there every short pattern turns up by chance.
    """
    wanted = frozenset(numbers)
    either = _any_of([number.to_bytes(8, order) for number in wanted for order in ("little", "big")])
    digits = _any_of([str(number).encode() for number in wanted if number >= 10_000], digits=True)
    found: list[str] = []
    values = size = 0
    for path in sorted(item for item in folder.iterdir() if item.is_file()):
        content = path.read_bytes()
        size += len(content)
        found += [f"{hit.group().decode()} in {path.name}" for hit in digits.finditer(content)]
        if path.suffix == ".log" or path.name == "stderr":
            text = content.decode(errors="replace")
            found += [f"{number} in {path.name}" for number in _numbers(text) if number in wanted]
        if path.suffix == ".sqlite":
            for place, value in _values(path):
                values += 1
                found += [f"{number} in {place}" for number in _numbers(value) if number in wanted]
                found += [f"8 bytes in {place}" for _ in (either.finditer(value) if isinstance(value, bytes) else ())]
    return Findings(size / 1e6, values, tuple(found))


def search_with_one_hidden(folder: Path, number: int) -> Findings:
    """The same search over a copy in which `number` stands in the middle of one ciphertext: it must find it."""
    with tempfile.TemporaryDirectory(prefix="cordon-search-") as copy:
        for path in folder.iterdir():
            if path.is_file() and path.suffix != ".key":
                shutil.copy2(path, copy)
        with sqlite3.connect(Path(copy) / "store.sqlite") as database:
            row, chunk = database.execute("SELECT rowid, bytes FROM ciphertext LIMIT 1").fetchone()
            middle = len(chunk) // 2
            planted = chunk[:middle] + number.to_bytes(8, "little") + chunk[middle + 8 :]
            database.execute("UPDATE ciphertext SET bytes = ? WHERE rowid = ?", (planted, row))
        database.close()
        return search(Path(copy), [number])


def one_ciphertext(folder: Path) -> tuple[str, bytes]:
    """Name of a force, and the first ciphertext that the coordinator keeps of it."""
    with sqlite3.connect(f"file:{folder / 'store.sqlite'}?mode=ro", uri=True) as database:
        row = database.execute("SELECT force, bytes FROM ciphertext WHERE force <> '' LIMIT 1").fetchone()
    return str(row[0]), bytes(row[1])


def megabytes_of_ciphertexts(folder: Path) -> float:
    """Size of every contribution and sum that the coordinator has stored."""
    with sqlite3.connect(f"file:{folder / 'store.sqlite'}?mode=ro", uri=True) as database:
        (size,) = database.execute("SELECT coalesce(sum(length(bytes)), 0) FROM ciphertext").fetchone()
    return int(size) / 1e6


def _values(path: Path) -> Iterator[tuple[str, object]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = database.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            for row in cursor:
                for name, value in zip(names, row, strict=True):
                    yield f"{table}.{name}", value


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, int | float):
        yield int(value)
    elif isinstance(value, str):
        yield from (int(text) for text in re.findall(r"(?<![\d.])\d{1,18}(?![\d.])", value))


def _any_of(patterns: list[bytes], *, digits: bool = False) -> re.Pattern[bytes]:
    either = b"|".join(re.escape(pattern) for pattern in patterns) or rb"(?!)"
    # Digits beside a decimal text make it part of another number.
    return re.compile(rb"(?<!\d)(?:" + either + rb")(?!\d)" if digits else either)
