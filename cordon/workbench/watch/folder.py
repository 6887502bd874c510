"""A watch on the analyst's disk: signed files that are written once, in a folder that only its owner can read.

Nothing is ever overwritten: what is written down is a new file, whole or not at all, numbered and bound to the one
before. Files that somebody else has changed do not verify; files that were taken away are missed by the chain, or
by the signed queries that the workspace keeps.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ValidationError

from cordon.analyst.client import Client
from cordon.configfile import faults
from cordon.envelope import Signer, from_json, key_id, open_envelope, seal, to_json
from cordon.errors import CordonError, Malformed, Misconfigured, Refused, Untrusted
from cordon.keyfile import OWNER_ONLY, sync_folder, write_new
from cordon.units import Digest
from cordon.wire.signed import payload_hash
from cordon.workbench.watch.account import ENTRIES, Account, AnyKind, Compared, Found, Reserved, Settled
from cordon.workbench.watch.alert import Alert
from cordon.workbench.watch.held import held, mark_of
from cordon.workbench.watch.saved import NAME, Saved, check_name

FOLDER, REMOVED = "watches", ".removed"
WATCH = "application/vnd.cordon.watch.v1+json"
ENTRY = "application/vnd.cordon.watch-entry.v1+json"
ALERT = "application/vnd.cordon.watch-alert.v1+json"
MOST_BYTES = 64_000_000
"""Of one file: a damaged or foreign one must not fill the memory."""

Model = TypeVar("Model", bound=BaseModel)


class Watches:
    """All of an analyst's watches."""

    def __init__(self, client: Client) -> None:
        """They lie in the client's workspace, and are signed by its key."""
        self._path = client.workspace.path / FOLDER
        self._signer = client.signer
        self._keys = _own_key(client)

    def add(self, saved: Saved) -> None:
        """Keep a new watch.

        Raises:
            Refused: there is one of that name.
            Misconfigured: it cannot be written.
        """
        path = self._path / saved.name
        if (path / "watch.json").exists():
            raise Refused(f"there is a watch {saved.name!r} already", hint=f"cordon watch remove {saved.name}")
        for folder in (self._path, path, path / "entries", path / "alerts"):
            _make(folder)
        envelope = seal(WATCH, saved.model_dump_json().encode(), self._signer)
        write_new(path / "watch.json", to_json(envelope).encode(), mode=OWNER_ONLY)

    def names(self) -> list[str]:
        """Of every watch, sorted."""
        found = (path.parent.name for path in self._path.glob("*/watch.json"))
        return sorted(name for name in found if re.fullmatch(NAME, name))

    def open(self, name: str) -> Folder:
        """One watch.

        Raises:
            Refused: there is none of that name.
            Untrusted: its file was changed by somebody else.
        """
        path = self._path / check_name(name)
        if not (path / "watch.json").is_file():
            known = ", ".join(self.names()) or "there is none yet"
            raise Refused(f"there is no watch {name!r}", hint=f"your watches: {known}")
        return Folder(path, self._signer, self._keys)

    def others(self, name: str) -> Iterator[Folder]:
        """Every watch but one, also those that were put aside; those that cannot be read are left out."""
        for path in (*self._path.glob("*/watch.json"), *(self._path / REMOVED).glob("*/watch.json")):
            if path.parent != self._path / name:
                with suppress(CordonError, OSError):
                    yield Folder(path.parent, self._signer, self._keys, aside=path.parent.parent.name == REMOVED)

    def remove(self, name: str) -> Path:
        """Put a watch aside: it asks nothing any more, and what it has spent and found can still be read.

        One that is damaged, or was signed by an earlier key, is put aside by its name: nothing of it is trusted.

        Returns:
            Where it lies now.

        Raises:
            Refused: there is none of that name, or it is running.
            Misconfigured: it cannot be moved.
        """
        path = self._path / check_name(name)
        if not path.is_dir():
            self.open(name)
        with held(path):
            aside = self._path / REMOVED
            _make(aside)
            target = aside / f"{name}-{mark_of(path / 'watch.json')}"
            while target.exists():
                target = aside / f"{name}-{secrets.token_hex(8)}"
            try:
                path.rename(target)
            except OSError as error:
                raise Misconfigured(f"cannot put {path} aside: {error.strerror}") from None
            sync_folder(self._path)
        return target


class Folder:
    """One watch's files."""

    def __init__(
        self, path: Path, signer: Signer, keys: Mapping[Digest, Ed25519PublicKey], *, aside: bool = False
    ) -> None:
        """Read the saved question.

        Args:
            aside: it was put aside, under a name that is longer than the watch's.

        Raises:
            Untrusted: it was changed by somebody else.
            Misconfigured: it is damaged.
        """
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise Misconfigured(f"the folder {path} is open to others", hint=f"chmod 700 {path}")
        self.path, self._signer, self._keys = path, signer, keys
        payload, self.watch_id = self._read(path / "watch.json", WATCH)
        self.saved = _parsed(Saved, payload, path / "watch.json")
        if self.saved.name != path.name and not aside:
            raise Untrusted(f"{path} holds the watch {self.saved.name!r}")
        self._last = self.watch_id
        self._count = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the watch: two runs at once would both spend.

        Raises:
            Busy: another run holds it.
        """
        with held(self.path):
            yield

    def account(self) -> Account:
        """Every entry, verified, added up.

        Raises:
            Untrusted: an entry is missing, was changed, or belongs to another watch.
            Misconfigured: one is damaged.
        """
        entries: list[Reserved | Settled | Found | Compared] = []
        self._last, self._count = self.watch_id, 0
        for path in sorted((self.path / "entries").glob("[0-9]*.json")):
            payload, digest = self._read(path, ENTRY)
            try:
                entry = ENTRIES.validate_json(payload)
            except ValidationError as error:
                raise Misconfigured(f"{path} is no entry of a watch: {error.errors()[0]['msg']}") from None
            expected = (self.watch_id.hex(), self._count + 1, self._last.hex())
            if (entry.watch, entry.number, entry.previous) != expected or path.name != _entry_name(entry.number):
                raise Untrusted(
                    f"{path} does not follow the entry before it: one was taken away, or put here from elsewhere",
                    hint="restore the folder from a backup, or remove the watch and add it anew",
                )
            self._last, self._count = digest, entry.number
            entries.append(entry)
        return Account.of(entries)

    def write(self, kind: AnyKind, *, at: int, **fields: object) -> Account:
        """Write an entry down, durably, behind the last one that `account` has read; returns the new account.

        Raises:
            Misconfigured: it cannot be written, or another process has written one.
        """
        number = self._count + 1
        entry = kind.model_validate(
            {"watch": self.watch_id.hex(), "number": number, "previous": self._last.hex(), "at": at} | fields
        )
        envelope = seal(ENTRY, entry.model_dump_json().encode(), self._signer)
        write_new(self.path / "entries" / _entry_name(number), to_json(envelope).encode(), mode=OWNER_ONLY)
        return self.account()

    # The outbox

    def post(self, alert: Alert) -> None:
        """Put an alert into the outbox; one that lies there already stays as it is."""
        envelope = seal(ALERT, alert.model_dump_json().encode(), self._signer)
        self._once(self.path / "alerts" / f"{alert.id}.json", to_json(envelope).encode())

    def alerts(self) -> list[Alert]:
        """Every alert that verifies, oldest first."""
        return self.outbox()[0]

    def outbox(self) -> tuple[list[Alert], list[str]]:
        """Every alert, oldest first; and why others are not sent: they are damaged, or somebody has changed them."""
        found, damaged = [], []
        for path in sorted((self.path / "alerts").glob("*.json")):
            try:
                payload, _ = self._read(path, ALERT)
                alert = _parsed(Alert, payload, path)
                if path.stem != alert.id:
                    raise Untrusted(f"{path} holds another alert")
            except CordonError as error:
                damaged.append(str(error))
            else:
                found.append(alert)
        return sorted(found, key=lambda alert: (alert.at, alert.id)), damaged

    def is_delivered(self, alert: Alert, way: str) -> bool:
        """Whether an alert has gone one way."""
        return (self.path / "alerts" / f"{alert.id}.{way}").exists()

    def delivered(self, alert: Alert, way: str) -> None:
        """Remember that it has."""
        self._once(self.path / "alerts" / f"{alert.id}.{way}", b"")

    @staticmethod
    def _once(path: Path, content: bytes) -> None:
        if path.exists():
            return
        try:
            write_new(path, content, mode=OWNER_ONLY)
        except Misconfigured:
            # Two runs may deliver at the same time: that the other was first is as good.
            if not path.exists():
                raise

    def _read(self, path: Path, kind: str) -> tuple[bytes, Digest]:
        try:
            if path.stat().st_size > MOST_BYTES:
                raise Misconfigured(f"{path} is larger than any file of a watch")
            envelope = from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"cannot read {path}: {error}") from None
        except Malformed as error:
            raise Misconfigured(f"{path}: {error}") from None
        try:
            return open_envelope(envelope, kind, self._keys), payload_hash(envelope)
        except Untrusted as error:
            raise Untrusted(
                f"{path}: {error}",
                hint="it was changed, or made by another key than the profile's; nothing is asked by it",
            ) from None


def _own_key(client: Client) -> dict[Digest, Ed25519PublicKey]:
    public = x509.load_der_x509_certificate(client.certificate).public_key()
    if not isinstance(public, Ed25519PublicKey) or key_id(public) != client.signer.key_id:
        raise Untrusted("the profile's certificate is for another signing key than the profile's")
    return {client.signer.key_id: public}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"cannot make the folder {folder}: {error.strerror}") from None
    sync_folder(folder.parent)


def _entry_name(number: int) -> str:
    return f"{number:06d}.json"


def _parsed(kind: type[Model], payload: bytes, path: Path) -> Model:
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        raise Misconfigured(f"{path}: {faults(error, kind)}") from None
