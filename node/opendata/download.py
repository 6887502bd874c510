"""A download of data.police.uk as the site gives it: `<YYYY-MM>/<YYYY-MM>-<force>-<kind>.csv`, in a folder or a zip."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from cordon.errors import Misconfigured

MOST_FILES = 100_000
"""Entries of an archive; the whole site since 2010 has about 20,000."""

MOST_BYTES_OF_FILE = 2**30
"""Unpacked bytes of one file; the largest month of a force has about 30 MB."""

MOST_BYTES = 50 * 2**30
"""Unpacked bytes of all files of an archive that are read."""

_NAME = re.compile(
    r"(?P<month>\d{4}-(?:0[1-9]|1[0-2]))-(?P<force>[a-z][a-z0-9-]{0,39}?)-(?P<kind>street|outcomes|stop-and-search)\.csv"
)
_MONTH = re.compile(r"\d{4}-\d{2}")
_BLOCK = 2**20


class Kind(StrEnum):
    """What a file of the site holds."""

    STREET = "street"
    OUTCOMES = "outcomes"
    STOPS = "stop-and-search"


@dataclass(frozen=True, order=True, slots=True)
class Piece:
    """One file: one kind of records of one force in one month."""

    force: str
    kind: Kind
    month: str
    """`YYYY-MM`, as the file's name says."""

    words: str
    """Its name in the download."""

    @property
    def name(self) -> str:
        """The file's name as the site gives it."""
        return f"{self.month}-{self.force}-{self.kind}.csv"


class Download(Protocol):
    """Where pieces lie."""

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """In the order of force, kind and month."""

    @property
    def others(self) -> tuple[str, ...]:
        """Names of files that are none of the site's, and are not read."""

    def opened(self, piece: Piece, /) -> AbstractContextManager[IO[bytes]]:
        """A piece's bytes, while the context lasts."""

    def place(self, piece: Piece, target: Path, /) -> None:
        """Put a copy of a piece at `target`, where there is nothing yet."""


def open_download(path: Path) -> Download:
    """What lies at `path`.

    Raises:
        Misconfigured: it is neither a folder nor a zip of the site's layout, or is not safe to unpack.
    """
    if path.is_dir():
        return FolderDownload(path)
    if not path.is_file():
        raise Misconfigured(f"there is no download at {path}")
    if not zipfile.is_zipfile(path):
        raise Misconfigured(
            f"{path} is no zip file, or is cut off", hint="download it again, or name its unpacked folder"
        )
    return ZipDownload(path)


class FolderDownload:
    """An unpacked download."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        names = [path.name for path in folder.iterdir() if path.is_file()]
        months = [path for path in folder.iterdir() if path.is_dir() and _MONTH.fullmatch(path.name)]
        names += [f"{month.name}/{path.name}" for month in months for path in month.iterdir() if path.is_file()]
        self.pieces, self.others = _sorted_out(names, str(folder))

    @contextmanager
    def opened(self, piece: Piece) -> Iterator[IO[bytes]]:
        """A piece's bytes.

        Raises:
            Misconfigured: it cannot be read.
        """
        try:
            file = (self._folder / piece.words).open("rb")
        except OSError as error:
            raise Misconfigured(f"cannot read {piece.words}: {error.strerror}") from None
        with file:
            yield file

    def place(self, piece: Piece, target: Path) -> None:
        """Link a piece to `target`, or copy it where the file system has no links.

        A link costs no space; whoever exchanges the download for a newer one writes new files.
        """
        source = self._folder / piece.words
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            shutil.copyfile(source, target)


class ZipDownload:
    """A download as it came. Its names are not trusted: only the parts that fit the site's layout are used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path)
        entries = [entry for entry in self._archive.infolist() if not entry.is_dir()]
        if len(entries) > MOST_FILES:
            raise Misconfigured(f"{path} has {len(entries):,} entries; a download has at most {MOST_FILES:,}")
        self.pieces, self.others = _sorted_out([entry.filename for entry in entries], str(path))
        by_name = {entry.filename: entry for entry in entries}
        self._entries = {piece: by_name[piece.words] for piece in self.pieces}
        for entry in self._entries.values():
            _check_entry(entry)
        total = sum(entry.file_size for entry in self._entries.values())
        if total > MOST_BYTES:
            raise Misconfigured(f"{path} holds {total:,} bytes of records; at most {MOST_BYTES:,} are unpacked")

    @contextmanager
    def opened(self, piece: Piece) -> Iterator[IO[bytes]]:
        """A piece's bytes.

        Raises:
            Misconfigured: it is damaged.
        """
        try:
            with self._archive.open(self._entries[piece]) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
            raise Misconfigured(f"{piece.words} in {self._path} is damaged", hint="download it again") from None

    def place(self, piece: Piece, target: Path) -> None:
        """Unpack a piece to `target`.

        Raises:
            Misconfigured: it is damaged, or longer than its entry says; nothing is left at `target`.
        """
        try:
            with self.opened(piece) as file, target.open("xb") as out:
                _unpack(file, out, self._entries[piece])
        except (Misconfigured, OSError):
            target.unlink(missing_ok=True)
            raise


def _unpack(file: IO[bytes], out: IO[bytes], entry: zipfile.ZipInfo) -> None:
    left = entry.file_size
    while block := file.read(_BLOCK):
        left -= len(block)
        if left < 0:
            raise Misconfigured(f"{entry.filename} is longer than the archive says")
        out.write(block)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & 0x1:
        raise Misconfigured(f"{entry.filename} is encrypted", hint="unpack the download, and name its folder")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Misconfigured(f"{entry.filename} is a link, which no download holds")
    if entry.file_size > MOST_BYTES_OF_FILE:
        raise Misconfigured(
            f"{entry.filename} unpacks to {entry.file_size:,} bytes; at most {MOST_BYTES_OF_FILE:,} are read"
        )


def _sorted_out(names: Iterable[str], place: str) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    pieces: dict[tuple[str, str, str], Piece] = {}
    others: list[str] = []
    for name in sorted(names):
        piece = _piece(name)
        if piece is None:
            others.append(name)
            continue
        before = pieces.setdefault((piece.force, piece.kind, piece.month), piece)
        if before is not piece:
            raise Misconfigured(
                f"{before.words} and {piece.words} are of the same force and month", hint="keep one of them"
            )
    if not pieces:
        raise Misconfigured(
            f"{place} has no file of data.police.uk",
            hint="the site's files are called like 2025-01/2025-01-kent-street.csv",
        )
    return tuple(sorted(pieces.values())), tuple(others)


def _piece(name: str) -> Piece | None:
    """The piece that a name means; None for any other name, whatever folders it claims to lie in."""
    parts = PurePosixPath(name).parts
    matched = _NAME.fullmatch(parts[-1]) if parts else None
    if matched is None or len(parts) > 2 or (len(parts) == 2 and not _MONTH.fullmatch(parts[0])):
        return None
    if len(parts) == 2 and parts[0] != matched["month"]:
        raise Misconfigured(f"{name} lies in the folder of another month", hint="download it again")
    return Piece(matched["force"], Kind(matched["kind"]), matched["month"], name)
