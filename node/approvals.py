"""Officers' verdicts on queries that wait: signed files in, and what they amount to. docs/policy.md §3.

An officer signs on any machine; the file reaches the state folder by whatever way. Nothing about a file is
trusted: whoever put it there, what counts is who has signed which verdict on which query of which force.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cordon.envelope import Envelope, Signer, from_json, key_id, to_json
from cordon.errors import CordonError, Malformed, Misconfigured, Untrusted
from cordon.identity import Role, verify_certificate
from cordon.keyfile import write_new
from cordon.manifest import Manifest
from cordon.query.model import Query
from cordon.register.leaf import Outcome
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.messages import Approval, Verdict
from cordon.wire.signed import open_claimed, peek, sign
from node.config import NodeConfig
from node.ledger import Ledger
from node.policy import Officer, Policy

ENTRY = "approval"
"""Kind of ledger entry that holds a verdict's signed envelope."""

MOST_BYTES = 16_384
MOST_FILES = 1000
"""New files that one pass looks at."""

Tell = Callable[[str, str], None]
"""Told the name of a file that is without effect, and why."""


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict that counts: its officer is listed, and the query waits for it."""

    officer: Officer
    approval: Approval


@dataclass(frozen=True, slots=True)
class Settled:
    """What the verdicts on one query amount to."""

    query_hash: Digest
    approved: bool
    text: str
    """Public words of a decline."""


class Desk:
    """Verdicts on the queries that wait at one force. Used by one thread."""

    def __init__(self, state: Path, *, force: str, policy: Policy, manifest: Manifest, ledger: Ledger) -> None:
        """Nothing is read before `take` or `given`."""
        self._folder = approvals_folder(state)
        self._force = force
        self._policy = policy
        self._manifest = manifest
        self._ledger = ledger
        self._given: dict[Digest, list[Given]] = {}
        self._has_read = False
        self._without_effect: set[tuple[str, int, int]] = set()

    @classmethod
    def of(cls, settings: NodeConfig, policy: Policy, manifest: Manifest, ledger: Ledger) -> Self:
        """The desk of a node, by its configuration."""
        return cls(settings.state, force=settings.force, policy=policy, manifest=manifest, ledger=ledger)

    def given(self, now: int) -> dict[Digest, list[Given]]:
        """Verdicts that the ledger holds and that still count, by query."""
        if not self._has_read:
            self._has_read = True
            for _, payload in self._ledger.notes(ENTRY):
                with suppress(CordonError):
                    self._add(self.checked(codec.decode_envelope(payload), now))
        return self._given

    def take(self, now: int, tell: Tell) -> list[Settled]:
        """Record what officers have left in the state folder; the queries that are settled now.

        A query is named again at each call until it no longer waits.
        """
        self.given(now)
        files = _marked(self._folder)
        self._without_effect &= set(files)
        fresh = [mark for mark in files if mark not in self._without_effect]
        for mark in fresh[:MOST_FILES]:
            path = files[mark]
            try:
                self._record(read_envelope(path), now)
            except CordonError as error:
                self._without_effect.add(mark)
                tell(path.name, str(error))
            else:
                self._put_away(path, mark, tell)
        return self._settled()

    def _put_away(self, path: Path, mark: tuple[str, int, int], tell: Tell) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            # It counts, and lies in somebody else's folder: it is not looked at again.
            self._without_effect.add(mark)
            tell(path.name, f"taken up, but the file cannot be removed: {error.strerror}")

    def forget(self, query_hash: Digest) -> None:
        """Name a query no more: it is decided, or can never be."""
        self._given.pop(query_hash, None)

    def checked(self, envelope: Envelope, now: int) -> Given:
        """The verdict in an envelope, if it counts.

        Raises:
            Untrusted: not by an officer of this force, about another force's query, or about the officer's own.
            Malformed: no verdict.
        """
        officers = self._policy.by_key_id
        keys = {name: officer.public for name, officer in officers.items()}
        if not any(signature.key_id in keys for signature in envelope.signatures):
            raise Untrusted("no officer that this force's policy lists has signed it")
        approval = open_claimed(Approval, envelope, lambda _: keys)
        if approval.force != self._force:
            raise Untrusted(f"it is a verdict for {approval.force}")
        officer = officers[envelope.signatures[0].key_id]
        self.check_may_decide(officer, approval.query_hash, now)
        return Given(officer, approval)

    def check_may_decide(self, officer: Officer, query_hash: Digest, now: int) -> None:
        """Check that a query waits, that there is time left, and that it is not the officer's own.

        Raises:
            Untrusted: this officer can say nothing about it now.
        """
        stored = self._ledger.decision(query_hash)
        if stored is None or stored.outcome != Outcome.AWAITING_APPROVAL.name:
            raise Untrusted(f"query {query_hash.hex()[:16]} does not wait for an officer of {self._force}")
        terms = peek(Query, stored.envelope).terms
        if min(terms.decide_by, terms.expires) + self._manifest.timing.clock_tolerance_seconds <= now:
            raise Untrusted(f"the time to decide about query {query_hash.hex()[:16]} is over")
        analyst = verify_certificate(
            stored.certificate, self._manifest.authority, roles=frozenset({Role.ANALYST}), now=now
        )
        if key_id(analyst.key) == officer.key_id or _folded(analyst.identity.name) == _folded(officer.name):
            raise Untrusted(f"{officer.name} cannot decide about a query of their own")

    def _record(self, envelope: Envelope, now: int) -> None:
        given = self.checked(envelope, now)
        if not self._has(given):
            self._ledger.note(ENTRY, codec.encode_envelope(envelope), now)
            self._add(given)

    def _has(self, given: Given) -> bool:
        said = (given.officer.key_id, given.approval.verdict)
        before = self._given.get(given.approval.query_hash, [])
        return said in [(other.officer.key_id, other.approval.verdict) for other in before]

    def _add(self, given: Given) -> None:
        if not self._has(given):
            self._given.setdefault(given.approval.query_hash, []).append(given)

    def _settled(self) -> list[Settled]:
        settled = []
        for query_hash, given in list(self._given.items()):
            stored = self._ledger.decision(query_hash)
            if stored is None or stored.outcome != Outcome.AWAITING_APPROVAL.name:
                del self._given[query_hash]
                continue
            found = amount_to(query_hash, given, self._policy.officers_needed)
            settled += [found] if found is not None else []
        return settled


def amount_to(query_hash: Digest, given: list[Given], needed: int) -> Settled | None:
    """What verdicts on a query amount to: one decline settles it, else as many officers as are needed.

    Pure.
    """
    for item in given:
        if item.approval.verdict is Verdict.DECLINE:
            reason = f": {item.approval.text}" if item.approval.text else ""
            return Settled(query_hash, approved=False, text=f"an officer of this force has declined the query{reason}")
    officers = {item.officer.key_id for item in given}
    return Settled(query_hash, approved=True, text="") if len(officers) >= needed else None


def approvals_folder(state: Path) -> Path:
    """Where officers' signed verdicts are left."""
    return state / "approvals"


def write_verdict(path: Path, approval: Approval, signer: Signer) -> None:
    """Sign a verdict and write it to a new file, whole or not at all.

    Raises:
        Misconfigured: the file exists already, or cannot be written.
    """
    write_new(path, to_json(sign(approval, signer)).encode(), mode=0o644)


def verdict_path(state: Path, query_hash: Digest, officer: Digest) -> Path:
    """Where an officer's verdict on a query is left; its folder is made if need be.

    Raises:
        Misconfigured: the state folder is not there, or is another user's.
    """
    folder = approvals_folder(state)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"cannot make {folder}: {error.strerror}", hint="run this as the node's user") from None
    return folder / f"{query_hash.hex()}.{officer.hex()[:16]}.json"


def read_envelope(path: Path) -> Envelope:
    """An envelope from a file that anybody may have put there; nothing in it is verified.

    Raises:
        Malformed: no plain small file with an envelope in JSON form.
    """
    return from_json(read_text(path))


def read_text(path: Path) -> str:
    """A small text file that anybody may have put there.

    Raises:
        Malformed: no plain small file of text.
    """
    try:
        content = _read_small(path)
        if len(content) > MOST_BYTES:
            raise Malformed(f"it is larger than {MOST_BYTES} bytes")
        return content.decode()
    except OSError as error:
        raise Malformed(f"it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Malformed("it is not text") from None


def _read_small(path: Path) -> bytes:
    # Neither a link to elsewhere nor a pipe that never ends.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Malformed("it is not a plain file")
        return os.read(handle, MOST_BYTES + 1)
    finally:
        os.close(handle)


def _marked(folder: Path) -> dict[tuple[str, int, int], Path]:
    """Files of a folder by what tells a new one from the one before: name, inode and time."""
    marked = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        with suppress(OSError):
            found = path.lstat()
            marked[path.name, found.st_ino, found.st_mtime_ns] = path
    return marked


def _folded(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())
