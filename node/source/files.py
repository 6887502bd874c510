"""CSV and Parquet: a file, a folder or a pattern of files, all of one layout."""

from __future__ import annotations

import glob
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import duckdb

from cordon.errors import Misconfigured
from node.database import open_to_read
from node.source import text, zstandard
from node.source.chunks import FILE_BREAK_SECONDS, Chunk, Connection, check_columns, literal, quoted
from node.source.model import Kind, Source

_PATTERN = re.compile(r"[*?\[]")
_OURS = re.compile(r"\.(csv|txt|tsv)(\.gz|\.zst)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was found, before any of it was read."""

    path: Path
    words: str
    """Its path from the source's folder on."""

    size: int
    """Bytes."""

    changed: int
    """Nanoseconds since 1970."""

    @property
    def name(self) -> str:
        """What stays the same while the file does."""
        return f"{self.words} {self.size} {self.changed}"


def find(source: Source) -> tuple[Found, ...]:
    """The files that a source's path means, in the order of their names.

    Raises:
        Misconfigured: there are none, or one cannot be read.
    """
    path = source.path
    if path is None:
        raise TypeError("files are found by their path")
    if path.is_dir():
        folder, paths = path.parent, [p for p in path.iterdir() if _belongs(p, source.kind)]
    elif path.exists() or not _PATTERN.search(str(path)):
        folder, paths = path.parent, [path]
    else:
        folder, paths = _fixed_part(path).parent, [Path(p) for p in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - an absolute pattern
        paths = [p for p in paths if p.is_file()]
    if not paths:
        raise Misconfigured(f"there is no {source.kind} file at {path}", hint="correct `source` in the mapping")
    return tuple(_found(p, folder) for p in sorted(paths))


def _belongs(path: Path, kind: Kind) -> bool:
    if not path.is_file() or path.name.startswith("."):
        return False
    return path.suffix.lower() == ".parquet" if kind is Kind.PARQUET else bool(_OURS.search(path.name))


def _fixed_part(pattern: Path) -> Path:
    fixed = Path(pattern.anchor)
    for part in pattern.relative_to(pattern.anchor).parts:
        if _PATTERN.search(part):
            break
        fixed /= part
    return fixed


def _found(path: Path, folder: Path) -> Found:
    try:
        status = path.stat()
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise Misconfigured(f"there is no source at {path}", hint="correct `source` in the mapping") from None
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    words = path.relative_to(folder)
    return Found(path, str(words), status.st_size, status.st_mtime_ns)


class Files(ABC):
    """What CSV and Parquet files have in common."""

    def __init__(self, source: Source, scratch: Path) -> None:
        self._source = source
        self._scratch = scratch
        self._files = find(source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:  # noqa: B027 - nothing is held open between chunks
        """Nothing is held open between chunks."""

    @property
    @abstractmethod
    def columns(self) -> dict[str, str]:
        """Names and types, which are the same in every file."""

    @abstractmethod
    def _relation(self, file: Found, columns: Sequence[str]) -> str: ...

    def _release(self, file: Found) -> None:  # noqa: B027 - most make nothing that would have to go
        """Remove what `_relation` made."""

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    @property
    def longest_break_seconds(self) -> int:
        return FILE_BREAK_SECONDS

    def continues(self, done: Collection[str]) -> bool:
        return set(done) <= {file.name for file in self._files}

    def chunks(self, database: Connection, columns: Sequence[str], *, done: Collection[str] = ()) -> Iterator[Chunk]:
        del database
        check_columns(self.columns, columns, self._source.words)
        return self._each(columns, frozenset(done))

    def _each(self, columns: Sequence[str], done: frozenset[str]) -> Iterator[Chunk]:
        for number, file in enumerate(self._files, start=1):
            if file.name in done:
                continue
            words = file.words if len(self._files) == 1 else f"{file.words} ({number} of {len(self._files)})"
            check_unchanged(file)
            try:
                yield Chunk(file.name, self._relation(file, columns), words, str(file.path))
            finally:
                self._release(file)
            check_unchanged(file)


def check_unchanged(file: Found) -> None:
    """Refuse if a file is no longer the one that was found.

    Raises:
        Misconfigured: it has another size or time of change, or is gone.
    """
    try:
        status = file.path.stat()
        same = (status.st_size, status.st_mtime_ns) == (file.size, file.changed)
    except OSError:
        same = False
    if not same:
        raise Misconfigured(f"{file.path} changed while it was read", hint="load again when its export is complete")


class CsvFiles(Files):
    """CSV files. Every column is text: what a value is, the mapping decides."""

    def __init__(self, source: Source, scratch: Path) -> None:
        super().__init__(source, scratch)
        self._headers = {file.path: self._header(file.path) for file in self._files}
        self._copies: dict[Path, Path] = {}
        first = self._files[0].path
        for path, names in self._headers.items():
            _compare_headers(first, self._headers[first], path, names)

    @property
    def columns(self) -> dict[str, str]:
        return dict.fromkeys(self._headers[self._files[0].path], "VARCHAR")

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(
            f"{file.path} does not end with a line break: it may be cut off in its last row"
            for file in self._files
            if not text.ends_in_line_break(file.path)
        )

    def _header(self, path: Path) -> list[str]:
        if path.suffix != ".zst":
            return text.header(path, self._source.encoding, self._source.delimiter)
        encoding = text.native(self._source.encoding)
        if encoding is None:
            raise Misconfigured(
                f"{path}: in a .zst file only UTF-8 and Latin-1 can be read", hint="compress it with gzip instead"
            )
        if not zstandard.is_whole(path):
            raise Misconfigured(f"{path}: not compressed with Zstandard, or cut off", hint="copy or export it again")
        options = (
            f"header = true, all_varchar = true, encoding = '{encoding}', delim = {literal(self._source.delimiter)}"
        )
        try:
            with _reader(path, self._scratch) as database:
                read = database.execute(f"SELECT * FROM read_csv({_named(path)}, {options}) LIMIT 0")
                return [str(part[0]) for part in read.description or ()]
        except duckdb.Error:
            raise Misconfigured(f"{path}: its first line cannot be read as a header") from None

    def _relation(self, file: Found, columns: Sequence[str]) -> str:
        ready = text.readable(file.path, self._source.encoding, self._scratch)
        if ready.copied:
            self._copies[file.path] = ready.path
        names = self._headers[file.path]
        # Columns go by their position: names that differ in capitals only are two columns to us and one to DuckDB.
        layout = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(names)))
        chosen = ", ".join(_text_of(names.index(name), name, file.path) for name in columns) or "c0"
        return (
            f"(SELECT {chosen} FROM read_csv({_named(ready.path)}, auto_detect = false, header = true, "
            f"columns = {{{layout}}}, delim = {literal(self._source.delimiter)}, quote = '\"', escape = '\"', "
            f"nullstr = '', strict_mode = true, null_padding = false, encoding = '{ready.encoding}'))"
        )

    def _release(self, file: Found) -> None:
        copy = self._copies.pop(file.path, None)
        if copy is not None:
            copy.unlink(missing_ok=True)


def _text_of(index: int, name: str, path: Path) -> str:
    value = f"c{index}"
    if path.suffix == ".zst":
        # Python does not look through these files beforehand.
        value = f"CASE WHEN contains({value}, chr(0)) THEN error('NUL character') ELSE {value} END"
    return f"{value} AS {quoted(name)}"


class ParquetFiles(Files):
    """Parquet files, with the types that they declare."""

    def __init__(self, source: Source, scratch: Path) -> None:
        super().__init__(source, scratch)
        layouts = {file.path: _layout(file.path, scratch) for file in self._files}
        first = self._files[0].path
        self._columns = layouts[first]
        for path, layout in layouts.items():
            _compare(first, list(self._columns), path, list(layout))
            for name, kind in layout.items():
                if self._columns[name] != kind:
                    raise Misconfigured(
                        f"the column {name!r} is {kind} in {path}, and {self._columns[name]} in {first}",
                        hint="export the files alike",
                    )

    @property
    def columns(self) -> dict[str, str]:
        return dict(self._columns)

    def _relation(self, file: Found, columns: Sequence[str]) -> str:
        chosen = ", ".join(quoted(name) for name in columns) or "NULL"
        return f"(SELECT {chosen} FROM read_parquet({_named(file.path)}, hive_partitioning = false))"


def _layout(path: Path, scratch: Path) -> dict[str, str]:
    if path.stat().st_size == 0:
        raise Misconfigured(f"{path} is empty", hint="export it again")
    try:
        with _reader(path, scratch) as database:
            read = database.execute(f"DESCRIBE SELECT * FROM read_parquet({_named(path)}, hive_partitioning = false)")
            return {str(row[0]): str(row[1]) for row in read.fetchall()}
    except duckdb.Error:
        raise Misconfigured(
            f"{path} cannot be read: it is cut off, or not a Parquet file", hint="copy or export it again"
        ) from None


def _compare_headers(first: Path, expected: Sequence[str], path: Path, names: Sequence[str]) -> None:
    """As `_compare`, without the names: where there is no header, they are values of a record."""
    lacking = [expected.index(name) + 1 for name in expected if name not in names]
    further = [names.index(name) + 1 for name in names if name not in expected]
    if lacking or further:
        parts = [f"it lacks what is {_columns(lacking)} there"] if lacking else []
        parts += [f"its own {_columns(further)} is not there"] if further else []
        raise Misconfigured(
            f"{path} has other columns than {first}: {', and '.join(parts)}",
            hint="all files of a source have the same columns in their first lines, in any order",
        )


def _columns(positions: Sequence[int]) -> str:
    shown = ", ".join(map(str, positions[:10])) + (", …" if len(positions) > 10 else "")
    return f"column {shown}"


def _compare(first: Path, expected: Sequence[str], path: Path, names: Sequence[str]) -> None:
    lacking = [name for name in expected if name not in names]
    further = [name for name in names if name not in expected]
    if lacking or further:
        parts = [f"it lacks {', '.join(map(repr, lacking))}"] if lacking else []
        parts += [f"it also has {', '.join(map(repr, further))}"] if further else []
        raise Misconfigured(
            f"{path} has other columns than {first}: {'; '.join(parts)}",
            hint="all files of a source have the same columns, in any order",
        )


def _reader(path: Path, scratch: Path) -> Connection:
    # DuckDB asks for leave under the name that is written, and under the one that it finds by it.
    return open_to_read(None, scratch, reachable=[path, Path(_escaped(path))])


def _named(path: Path) -> str:
    """A path as DuckDB reads it; letters that mean a pattern stand for themselves."""
    return literal(_escaped(path))


def _escaped(path: Path) -> str:
    return re.sub(r"([*?\[])", r"[\1]", str(path))
