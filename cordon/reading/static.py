"""A published register: static files in a folder, or the same files from a web server.

Layout: `checkpoint`, `tile/…` and `tile/entries/…` as https://c2sp.org/tlog-tiles has them, and
`opened/…`, one file for each leaf whose payload is opened. docs/auditing.md §4.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from cordon.errors import Malformed, Unavailable
from cordon.reading.source import Head
from cordon.register.checkpoint import MOST_NOTE
from cordon.register.merkle import Frontier, consistency_proof
from cordon.register.tiles import HEIGHT, MOST_LEAF, WIDTH, node_of, tile_path, unpack_entries, unpack_tile
from cordon.units import DIGEST_BYTES, Digest
from cordon.wire import codec
from cordon.wire.messages import ContributionPart
from cordon.wire.proofs import Opening

MOST_OPENING = 4 * 1024 * 1024
TIMEOUT_SECONDS = 30.0

Fetch = Callable[[str, int], bytes | None]
"""Content of the file at a path, if it is there and has at most so many bytes."""

_SIZE = re.compile(rb"[^\n]+\n(0|[1-9][0-9]{0,18})\n")


def opened_path(index: int) -> str:
    """Path of the file with a leaf's opening; grouped as tiles are."""
    return "opened/" + tile_path(None, index).removeprefix("tile/entries/")


class StaticSource:
    """A register's published files, wherever they lie."""

    def __init__(self, fetch: Fetch) -> None:
        """Read files by `fetch`."""
        self._fetch = fetch
        self._size = 0
        self._tile = lru_cache(maxsize=256)(self._fetched_tile)

    @property
    def opens_at_once(self) -> bool:
        return False

    @property
    def is_live(self) -> bool:
        return False

    def head(self, old_size: int) -> Head:
        note = self._fetch("checkpoint", MOST_NOTE)
        if note is None:
            raise Unavailable("there is no file 'checkpoint' there", hint="name the folder that holds `checkpoint`")
        self._size = claimed_size(note)
        self._tile.cache_clear()
        if not 0 < old_size <= self._size:
            return Head(note, (), ())
        node = node_of(self._tile)
        return Head(note, consistency_proof(old_size, self._size, node), Frontier.of(old_size, node).peaks)

    def leaves(self, start: int, end: int) -> Iterator[list[bytes]]:
        for number in range(start // WIDTH, -(-end // WIDTH)):
            first = number * WIDTH
            data = self._bundle(number)
            if data is None:
                return
            page = unpack_entries(data)[max(start - first, 0) : end - first]
            if page:
                yield page

    def openings(self, indices: Iterable[int]) -> Iterator[Opening]:
        for index in indices:
            data = self._fetch(opened_path(index), MOST_OPENING)
            if data is not None:
                yield codec.decode(Opening, data)

    def kept(self, query_hash: Digest, attempt: int) -> Iterator[ContributionPart] | None:
        del query_hash, attempt
        return None

    def differing(self, start: int, hashes: list[Digest]) -> int | None:
        for at, digest in enumerate(hashes, start=start):
            tile = self._tile(0, at // WIDTH)
            if at % WIDTH >= len(tile) or tile[at % WIDTH] != digest:
                return at
        return None

    def _bundle(self, number: int) -> bytes | None:
        most = WIDTH * (MOST_LEAF + 2)
        whole = self._fetch(tile_path(None, number), most)
        width = self._size - number * WIDTH
        if whole is None and 0 < width < WIDTH:
            return self._fetch(tile_path(None, number, width), most)
        return whole

    def _fetched_tile(self, level: int, number: int) -> tuple[Digest, ...]:
        width = min(WIDTH, (self._size >> (HEIGHT * level)) - number * WIDTH)
        data = self._fetch(tile_path(level, number), WIDTH * DIGEST_BYTES)
        if data is not None:
            return unpack_tile(data, WIDTH)
        data = self._fetch(tile_path(level, number, width), WIDTH * DIGEST_BYTES) if 0 < width < WIDTH else None
        if data is None:
            raise Malformed(f"a tile of the register is missing: {tile_path(level, number)}")
        return unpack_tile(data, width)


def claimed_size(note: bytes) -> int:
    """The size that a checkpoint's note claims, before anything of it is verified."""
    found = _SIZE.match(note)
    if found is None:
        raise Malformed("a checkpoint's note is not in the form of C2SP tlog-checkpoint")
    return int(found[1])


def folder_source(folder: Path) -> StaticSource:
    """A published register in a folder."""

    def fetch(path: str, most: int) -> bytes | None:
        try:
            with (folder / path).open("rb") as file:
                return _bounded(file, most, path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"cannot read {folder / path}: {error.strerror}") from None

    return StaticSource(fetch)


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirects within http and https, and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> Any:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in {before, "https"}:
            raise Unavailable(f"{req.full_url} redirects to another scheme: {after}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def url_source(url: str) -> StaticSource:
    """A published register behind an http or https address."""
    opener = urllib.request.build_opener(_SameScheme)
    base = url.rstrip("/") + "/"

    def fetch(path: str, most: int) -> bytes | None:
        try:
            with opener.open(base + path, timeout=TIMEOUT_SECONDS) as answer:
                return _bounded(answer, most, path)
        except urllib.error.HTTPError as error:
            with suppress(OSError):
                error.close()
            if error.code in {404, 410}:
                return None
            raise Unavailable(f"{base}{path} answered {error.code} {error.reason}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(f"cannot read {base}{path}: {error}") from None

    return StaticSource(fetch)


def _bounded(file: IO[bytes], most: int, path: str) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise Malformed(f"{path} has more than {most} bytes")
    return data
