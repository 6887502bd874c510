"""What an analyst's disk remembers of each query, so that a crash loses nothing and opens nothing twice.

One folder a query. Its secret key opens exactly one sum: the sum's hash is written down, durably,
before anything is decrypted, and no other is ever opened, also after a crash. docs/protocol.md §10.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cordon.analyst.document import read_answer
from cordon.analyst.vintages import Vintages
from cordon.envelope import Envelope, from_json, to_json
from cordon.errors import Malformed, Misconfigured, Refused, Unsupported, Untrusted
from cordon.keyfile import OWNER_ONLY, replace_file, sync_folder, write_new
from cordon.units import Digest

_QUERY, _SQL, _SECRET, _SEED, _VINTAGES, _OPENING, _ANSWER, _PUBLISHED = (
    "query.json", "statement.sql", "secret.key", "check.seed", "vintages.json", "opening", "answer.json",
    "published.json",
)  # fmt: skip
_CATALOGUE, _MANIFEST = "catalogue", "manifest"
_QUERY_FOLDER = "[0-9a-f]" * 64

LEAST_OF_AN_ID = 4
"""Digits of a query's id that may stand for it; fewer name a query by chance."""
_RESTORE = "restore it from a copy, if there is one"


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """What is needed to follow a query and open its answer."""

    query_hash: Digest
    sql: str
    envelope: Envelope
    secret: bytes
    seed: bytes
    vintages: Vintages = field(default_factory=dict)
    """What the forces asked declared when it was asked."""


class Workspace:
    """An analyst's folder."""

    def __init__(self, path: Path) -> None:
        """Make the folder where it does not exist.

        Raises:
            Misconfigured: it cannot be made, or others can read it.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Misconfigured(f"cannot make the workspace {path}: {error.strerror}") from None
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise Misconfigured(f"the workspace {path} is open to others", hint=f"chmod 700 {path}")
        self._path = path

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def add(self, query: StoredQuery) -> None:
        """Store a new query before it is submitted."""
        folder = self._path / query.query_hash.hex()
        folder.mkdir(mode=0o700)
        sync_folder(self._path)
        for name, content in (
            (_QUERY, to_json(query.envelope).encode()),
            (_SQL, query.sql.encode()),
            (_SECRET, query.secret),
            (_SEED, query.seed),
            (_VINTAGES, json.dumps(query.vintages).encode()),
        ):
            write_new(folder / name, content, mode=OWNER_ONLY)

    def find(self, prefix: str) -> Digest:
        """The query whose id begins with `prefix`.

        Raises:
            Refused: none does, or more than one; or it is too short to name any.
        """
        check_id(prefix)
        found = [path.name for path in self._path.glob(f"{_QUERY_FOLDER}/") if path.name.startswith(prefix.lower())]
        if len(found) != 1:
            what = "no query" if not found else f"{len(found)} queries"
            raise Refused(f"{what} in {self._path} begins with {prefix!r}", hint="give more of the query's id")
        return Digest(bytes.fromhex(found[0]))

    def queries(self) -> list[tuple[Digest, float]]:
        """Every query that was asked from here, and when, in seconds since 1970-01-01 UTC; newest first."""
        found = [path for path in self._path.glob(f"{_QUERY_FOLDER}/{_QUERY}") if path.is_file()]
        dated = [(Digest(bytes.fromhex(path.parent.name)), path.stat().st_mtime) for path in found]
        return sorted(dated, key=lambda query: query[1], reverse=True)

    def can_open(self, query_hash: Digest) -> bool:
        """Whether the key that opens a query's answer is still here."""
        return (self._path / query_hash.hex() / _SECRET).is_file()

    def query(self, query_hash: Digest) -> StoredQuery:
        """A stored query that can still be opened.

        Raises:
            Refused: its key was erased: it was opened, or its check failed.
        """
        folder = self._path / query_hash.hex()
        sql, envelope = self.signed(query_hash)
        try:
            secret, seed = (folder / _SECRET).read_bytes(), (folder / _SEED).read_bytes()
        except FileNotFoundError:
            raise Refused(
                f"the key of query {query_hash.hex()[:12]} is not here any more: it was opened, or failed its check"
            ) from None
        return StoredQuery(query_hash, sql, envelope, secret, seed, self._vintages(folder))

    def signed(self, query_hash: Digest) -> tuple[str, Envelope]:
        """Statement and signed query of a query that was asked from here.

        Raises:
            Refused: it was not.
            Misconfigured: its files are damaged.
        """
        folder = self._path / query_hash.hex()
        try:
            text = _text(folder / _QUERY)
            return _text(folder / _SQL), from_json(text)
        except FileNotFoundError:
            raise Refused(f"the query {query_hash.hex()[:12]} was not asked from here") from None
        except Malformed as error:
            raise Misconfigured(f"{folder}: {error}") from None

    @staticmethod
    def _vintages(folder: Path) -> Vintages:
        path = folder / _VINTAGES
        try:
            found: Vintages = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (ValueError, RecursionError):
            raise Misconfigured(f"{path} is damaged", hint="remove it: the answer then names no vintages") from None
        return found

    def answer(self, query_hash: Digest) -> str | None:
        """The answer that was opened before, as JSON; reading it again costs nothing."""
        path = self._path / query_hash.hex() / _ANSWER
        if not path.is_file():
            return None
        # A crash may have come between keeping the answer and erasing what opened it.
        self._erase(path.parent)
        return _text(path)

    def kept(self, query_hash: Digest) -> dict[str, Any] | None:
        """The answer that was opened before, in the form of one; what it says is as it lies here.

        Raises:
            Misconfigured: it is damaged, or of another query.
        """
        text = self.answer(query_hash)
        if text is None:
            return None
        path = self._path / query_hash.hex() / _ANSWER
        try:
            answer = read_answer(text)
        except Unsupported as error:
            raise Misconfigured(f"{path} cannot be read: {error}", hint="ask anew") from None
        except Malformed as error:
            raise Misconfigured(f"{path} is damaged: {error}", hint=_RESTORE) from None
        if answer["query"] != query_hash.hex():
            raise Misconfigured(f"{path} is the answer to another query, {answer['query'][:16]}", hint=_RESTORE)
        return answer

    def opened(self, query_hash: Digest) -> Digest | None:
        """Hash of the sum that this query's key has opened.

        Raises:
            Misconfigured: what was written down is damaged.
        """
        path = self._path / query_hash.hex() / _OPENING
        try:
            return Digest(bytes.fromhex(_text(path))) if path.is_file() else None
        except ValueError:
            raise Misconfigured(f"{path} is damaged", hint=_RESTORE) from None

    def publication(self, query_hash: Digest, made: Callable[[], Envelope]) -> Envelope:
        """The signed answer that is published: made once, so that publishing again says the same.

        Raises:
            Misconfigured: the one that was made before is damaged.
        """
        path = self._path / query_hash.hex() / _PUBLISHED
        if not path.is_file():
            write_new(path, to_json(made()).encode(), mode=OWNER_ONLY)
        try:
            return from_json(_text(path))
        except Malformed as error:
            raise Misconfigured(f"{path}: {error}") from None

    def record_opening(self, query_hash: Digest, sum_hash: Digest) -> None:
        """Write down, durably, the one sum that this query's key opens.

        Raises:
            Untrusted: another sum was written down before.
        """
        path = self._path / query_hash.hex() / _OPENING
        try:
            write_new(path, sum_hash.hex().encode(), mode=OWNER_ONLY)
        except Misconfigured:
            if path.read_bytes() != sum_hash.hex().encode():
                raise Untrusted(
                    "another sum than this one was opened, or nearly opened, before with the same key",
                    hint="the coordinator has sent two different sums: tell the auditor",
                ) from None

    def close(self, query_hash: Digest, answer: dict[str, object] | None) -> None:
        """Keep the answer, where there is one, and erase key and seed for good."""
        folder = self._path / query_hash.hex()
        if answer is not None:
            write_new(folder / _ANSWER, json.dumps(answer, indent=2).encode(), mode=OWNER_ONLY)
        self._erase(folder)

    @staticmethod
    def _erase(folder: Path) -> None:
        # Also what a crash has left of writing them.
        for path in [item for name in (_SECRET, _SEED) for item in (folder / name, *folder.glob(f".{name}.*"))]:
            if path.is_file():
                path.write_bytes(bytes(path.stat().st_size))
                path.unlink()

    def accept_manifest(self, version: int, digest: Digest) -> None:
        """Remember the highest manifest version ever seen.

        Raises:
            Untrusted: an older one, or another one of the same version: replaced keys must not count again.
            Misconfigured: what was remembered is damaged.
        """
        path = self._path / _MANIFEST
        known = path.read_text(encoding="utf-8", errors="replace").split() if path.is_file() else ["0", ""]
        if len(known) != 2 or not known[0].isdecimal():
            raise Misconfigured(
                f"{path} is damaged: it held the highest manifest version ever seen",
                hint="compare the coordinator's manifest with governance's, then remove the file",
            )
        if (version, digest.hex()) == (int(known[0]), known[1]):
            return
        if version <= int(known[0]):
            raise Untrusted(
                f"the coordinator shows manifest version {version}; version {known[0]} was seen before",
                hint="ask governance which one holds",
            )
        replace_file(path, f"{version} {digest.hex()}".encode(), mode=OWNER_ONLY)

    def keep_catalogue(self, encoded: bytes) -> None:
        """Remember the newest catalogue, so that `explain` need not ask anybody."""
        replace_file(self._path / _CATALOGUE, encoded, mode=OWNER_ONLY)

    def catalogue(self) -> bytes | None:
        """The newest catalogue that was fetched."""
        path = self._path / _CATALOGUE
        return path.read_bytes() if path.is_file() else None


def check_id(prefix: object, *, least: int = LEAST_OF_AN_ID) -> None:
    """Check that a query's id, or its beginning, can name one query on purpose.

    Args:
        least: digits that it must have.

    Raises:
        Refused: it cannot.
    """
    if not isinstance(prefix, str) or not re.fullmatch(f"[0-9a-fA-F]{{{least},64}}", prefix):
        raise Refused(
            f"a query's id is given by at least {least} hexadecimal digits of its beginning, not {prefix!r}",
            hint="cordon history lists your queries with their ids",
        )


def _text(path: Path) -> str:
    """Raises `Misconfigured` where it is no text, or closed; a file that is missing is the caller's matter."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is damaged: it is not text", hint=_RESTORE) from None
