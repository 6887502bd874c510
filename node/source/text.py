"""Text files before DuckDB reads them: decompressed, decoded and looked through in a stream, mended where needed.

DuckDB reads UTF-8 and Latin-1 itself, compressed or not. A copy in UTF-8 is written to the scratch folder only for
other encodings, and for files that mix line ends, which DuckDB refuses where it is to be strict about quotes.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from cordon.errors import Misconfigured

_NATIVE = {"utf-8": "utf-8", "utf-8-sig": "utf-8", "ascii": "utf-8", "iso8859-1": "latin-1"}
"""Encodings that DuckDB reads itself, by Python's normal names."""

_NO_LATIN = re.compile(rb"[\x80-\x9f]")
"""Bytes that are control characters in Latin-1; DuckDB refuses them, and Windows writes dashes and quotes so."""

_BLOCK = 1 << 20
_LONGEST_HEADER = 1 << 20
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Readable:
    """A file that DuckDB can read: the force's own, or a copy of it."""

    path: Path
    encoding: str
    copied: bool


def native(encoding: str) -> str | None:
    """DuckDB's name for an encoding that it reads itself; None for all others."""
    return _NATIVE.get(codecs.lookup(encoding).name)


def header(path: Path, encoding: str, delimiter: str) -> list[str]:
    """The first row of a file; columns without a name are called `column_1` and so on, by their position.

    Raises:
        Misconfigured: empty, damaged, or two columns have the same name.
    """
    with _opened(path) as stream:
        beginning = _read(stream, path, _LONGEST_HEADER)
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        # Not final: the last character may be cut off by the limit.
        text = decoder.decode(beginning, final=False).removeprefix(_BOM)
    except UnicodeDecodeError as error:
        # A fault behind the first row is for the reading to find, with its line.
        text = beginning[: error.start].decode(encoding, errors="ignore").removeprefix(_BOM)
        if "\n" not in text and "\r" not in text:
            raise Misconfigured(
                f"{path}: its first line is not in the encoding {encoding}", hint="correct `encoding` in the mapping"
            ) from None
    except UnicodeError:
        raise _without_mark(path) from None
    if not text.strip():
        raise Misconfigured(f"{path} is empty", hint="export it again")
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        raise Misconfigured(f"{path}: its first line cannot be read as a header") from None
    names = [name or f"column_{number}" for number, name in enumerate(names, start=1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        # By position: where there is no header, a name is a value of a record.
        first = names.index(twice)
        raise Misconfigured(
            f"{path}: columns {first + 1} and {names.index(twice, first + 1) + 1} of its first line have the same name",
            hint="is its first line a header? If so, rename one of them at the source",
        )
    return names


def readable(path: Path, encoding: str, scratch: Path) -> Readable:
    """The file, if DuckDB can read it as it is; otherwise a copy in UTF-8, with line feeds as line ends.

    Raises:
        Misconfigured: a NUL character, a byte that is not of the encoding, or a compressed file that is cut off.
    """
    name = native(encoding)
    if name is not None and (path.suffix == ".zst" or not _mixes_line_ends(path, name)):
        return Readable(path, name, copied=False)
    copy = scratch / f"{path.name.removesuffix('.gz')}.utf-8"
    try:
        copy.unlink(missing_ok=True)
        _write_copy(path, encoding, copy)
    except Misconfigured:
        copy.unlink(missing_ok=True)
        raise
    except OSError as error:
        with suppress(OSError):
            copy.unlink(missing_ok=True)
        raise Misconfigured(f"cannot write a copy of {path} in UTF-8 to {scratch}: {error.strerror}") from None
    return Readable(copy, "utf-8", copied=True)


def ends_in_line_break(path: Path) -> bool:
    """Whether a plain file's last byte ends a line; True where that cannot be told cheaply."""
    if path.suffix in {".gz", ".zst"}:
        return True
    with path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        size = file.tell()
        file.seek(max(0, size - 4))
        return any(byte in b"\r\n" for byte in file.read())


def _without_mark(path: Path) -> Misconfigured:
    return Misconfigured(
        f"{path}: UTF-16 without a byte order mark, or none at all", hint="name utf-16-le or utf-16-be as the encoding"
    )


def _mixes_line_ends(path: Path, name: str) -> bool:
    feeds = pairs = returns = line = 0
    last = b""
    with _opened(path) as stream:
        while block := _read(stream, path, _BLOCK):
            if b"\0" in block:
                line = feeds + block.count(b"\n", 0, block.index(b"\0")) + 1
                raise Misconfigured(
                    f"{path}, line {line}: a NUL character", hint="if it is UTF-16, name that as the `encoding`"
                )
            if name == "latin-1" and (strange := _NO_LATIN.search(block)):
                line = feeds + block.count(b"\n", 0, strange.start()) + 1
                raise Misconfigured(
                    f"{path}, line {line}: a byte that stands for no letter in Latin-1",
                    hint="if the file comes from Windows, name windows-1252 as the encoding",
                )
            feeds += block.count(b"\n")
            if b"\r" in block or last == b"\r":
                pairs += block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
                returns += block.count(b"\r")
            last = block[-1:]
    return len([n for n in (pairs, feeds - pairs, returns - pairs) if n]) > 1


def _write_copy(path: Path, encoding: str, copy: Path) -> None:
    lines = 1
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    ends = io.IncrementalNewlineDecoder(decoder=None, translate=True)
    begun = False
    with _opened(path) as stream, copy.open("x", encoding="utf-8", newline="") as target:
        copy.chmod(0o600)
        while True:
            block = _read(stream, path, _BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(encoding, errors="replace")
                raise Misconfigured(
                    f"{path}, line {lines + before.count(chr(10))}: a byte that is not of the encoding {encoding}",
                    hint="correct `encoding` in the mapping",
                ) from None
            except UnicodeError:
                raise _without_mark(path) from None
            text = ends.decode(text, final=not block)
            if "\0" in text:
                line = lines + text.count("\n", 0, text.index("\0"))
                raise Misconfigured(f"{path}, line {line}: a NUL character", hint="correct `encoding` in the mapping")
            target.write(text if begun else text.removeprefix(_BOM))
            begun = begun or bool(text)
            lines += text.count("\n")
            if not block:
                return


def _opened(path: Path) -> IO[bytes]:
    try:
        return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None


def _read(stream: BinaryIO | IO[bytes], path: Path, size: int) -> bytes:
    try:
        return stream.read(size)
    except EOFError:
        raise Misconfigured(f"{path}: the compressed file is cut off", hint="copy or export it again") from None
    except (gzip.BadGzipFile, zlib.error):
        raise Misconfigured(f"{path}: not compressed with gzip, or damaged", hint="copy or export it again") from None
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
