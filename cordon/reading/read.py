"""Read a register: fetch what is new, verify that it is what was signed, and fold it into the mirror.

1. the newest checkpoint is signed by the coordinator that a trusted manifest names
2. it continues the checkpoint that was accepted before
3. the leaves, all of them, give its root; only then is anything made of them
4. every leaf is held against the leaves before it
5. openings are held against their leaves, and kept contributions are added again
6. what only shows at the end is judged: budgets, gaps, embargoes

docs/auditing.md §3.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from cordon.errors import CordonError, Malformed, Misconfigured, Unavailable, Untrusted
from cordon.manifest import Manifest
from cordon.reading.account import Account
from cordon.reading.judge import Judge
from cordon.reading.members import Membership
from cordon.reading.mirror import Mirror
from cordon.reading.opened import settle_analysts, settle_openings
from cordon.reading.readd import add_again, readded
from cordon.reading.source import Head, Source
from cordon.reading.static import claimed_size
from cordon.reading.verdict import Check, Discrepancy, Pending, Result
from cordon.reading.workers import BATCH, examined
from cordon.register.checkpoint import SignedCheckpoint, open_checkpoint
from cordon.register.leaf import ManifestAdopted
from cordon.register.merkle import leaf_hash, verify_consistency
from cordon.wire import codec
from cordon.wire.proofs import Opening
from cordon.wire.signed import PAYLOAD_TYPES

MOST_SHOWN = 1000
"""Discrepancies that are kept in memory; all are counted."""

Progress = Callable[[str, int, int], None]
"""(what is being done, how far, of how much)."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to read."""

    governance_keys: tuple[str, ...]
    """What the reader trusts, in hexadecimal."""
    jobs: int = 1
    now: int | None = None
    """The reader's own clock, to hold a coordinator's newest checkpoint against; None to leave it."""
    progress: Progress = lambda _what, _at, _of: None


class Lie(Exception):
    """The source shows another register than it signed, or than it showed before."""

    def __init__(self, found: Discrepancy) -> None:
        """With the discrepancy that says so."""
        super().__init__(found.what)
        self.found = found


class Reader:
    """Brings a mirror up to a source."""

    def __init__(self, mirror: Mirror, source: Source | None, options: Options) -> None:
        """Read from a source, or with None judge what the mirror holds."""
        mirror.belongs_to(options.governance_keys)
        self._mirror = mirror
        self._source = source
        self._options = options
        self._account = Account(mirror, options.governance_keys, self._opening)

    def read(self) -> Result:
        """Read everything that is new.

        Raises:
            Unavailable: the source cannot be reached, or there is nothing in the mirror without it.
            Malformed: what it sends is no register.
        """
        mirror, source = self._mirror, self._source
        before = mirror.accepted.size
        found: list[Discrepancy | Pending] = []
        if source is not None:
            try:
                found += self._advance(source)
            except Lie as lie:
                found.append(lie.found)
        elif not before:
            raise Unavailable("there is nothing in the mirror yet", hint="read it once from a source")
        self._fold()
        members = self._account.members
        if source is not None and members.first is not None:
            found += settle_openings(mirror, source, members)
            settle_analysts(mirror, members)
            found += add_again(mirror, source)
        owed = source is not None and source.opens_at_once
        refused = frozenset(item.leaf for item in found)
        return self._result(before, found, Judge(mirror, members).verdicts(owed_at_once=owed, refused=refused))

    # 1 to 3: what was signed

    def _advance(self, source: Source) -> list[Discrepancy | Pending]:
        mirror = self._mirror
        accepted = mirror.accepted
        head = source.head(accepted.size)
        signed = self._signed(source, head)
        checkpoint = signed.checkpoint
        if checkpoint.size < accepted.size:
            return [self._older(signed, is_live=source.is_live)]
        try:
            verify_consistency(accepted.size, accepted.root, checkpoint.size, checkpoint.root, head.consistency)
        except Untrusted as error:
            raise Lie(self._forked(source, signed, str(error))) from None
        self._fetch(source, checkpoint.size)
        fetched = mirror.fetched
        if fetched.root != checkpoint.root:
            leaf = self._first_false(source, accepted.size, fetched.size)
            what = "the leaves that are served, from here on, do not give the root that the coordinator signed"
            if leaf is None:
                leaf = fetched.size if fetched.size < checkpoint.size else accepted.size
            if leaf == fetched.size:
                what = f"the register is signed with {checkpoint.size} leaves, and leaf {leaf} is not served"
            mirror.forget_unverified()
            raise Lie(Discrepancy(leaf, what, Check.REGISTER, (("checkpoint", signed.note),)))
        mirror.accept(checkpoint, signed.time, signed.note)
        return self._stale(source, signed.time)

    def _stale(self, source: Source, time: int) -> list[Discrepancy | Pending]:
        """A coordinator signs anew all the time; one that does not would keep everything fresh for ever."""
        now = self._options.now
        if now is None or not source.is_live:
            return []
        members = self._account.members
        timing = (members.newest if members.first is not None else self._first_manifest(source)).timing
        if -timing.clock_tolerance_seconds <= now - time <= 2 * timing.freshness_seconds:
            return []
        what = f"the coordinator's newest checkpoint is {now - time} s old by this machine's clock"
        last = max(self._mirror.accepted.size - 1, 0)
        return [Discrepancy(last, what, Check.REGISTER, (("checkpoint", self._mirror.note),))]

    def _signed(self, source: Source, head: Head) -> SignedCheckpoint:
        """The note, by the coordinator of the newest manifest that is trusted."""
        members = self._account.members
        manifest = members.newest if members.first is not None else self._first_manifest(source)
        try:
            return open_checkpoint(head.note, manifest.origin, manifest.coordinator_public)
        except Untrusted:
            # The coordinator's key may have changed with a manifest that is not read yet.
            self._fetch(source, claimed_size(head.note))
            try:
                newest = self._newest_claimed(source, manifest)
                return open_checkpoint(head.note, newest.origin, newest.coordinator_public)
            except CordonError:
                self._mirror.forget_unverified()
                raise

    def _first_manifest(self, source: Source) -> Manifest:
        opening = next((o for o in source.openings([0]) if o.leaf_index == 0), None)
        if opening is None or opening.document is None:
            raise Lie(Discrepancy(0, "the register does not begin with an opened manifest", Check.MANIFESTS))
        try:
            return Membership(self._options.governance_keys).opened(opening.document)
        except (Untrusted, Malformed) as error:
            what = f"the register's first manifest is not trusted: {error}"
            raise Lie(Discrepancy(0, what, Check.MANIFESTS)) from None

    def _newest_claimed(self, source: Source, manifest: Manifest) -> Manifest:
        """The last manifest of those that unverified leaves adopt, each trusted by the one before."""
        members = Membership(self._options.governance_keys)
        for opening in source.openings(self._adoptions()):
            with suppress(Untrusted, Malformed):
                if opening.document is not None:
                    members.adopt(opening.leaf_index, members.opened(opening.document))
        return members.newest if members.first is not None else manifest

    def _adoptions(self) -> list[int]:
        found: list[int] = []
        first = 0
        kind = PAYLOAD_TYPES[ManifestAdopted].encode()
        for page in self._mirror.pages(0, self._mirror.fetched.size):
            found += [first + at for at, leaf in enumerate(page) if kind in leaf[:100]]
            first += len(page)
        return found

    def _fetch(self, source: Source, size: int) -> None:
        at = self._mirror.fetched.size
        waiting: list[bytes] = []
        for page in source.leaves(at, size):
            waiting += page
            if len(waiting) >= BATCH:
                at = self._mirror.append(waiting).size
                waiting.clear()
                self._options.progress("fetching leaves", at, size)
        if waiting:
            self._mirror.append(waiting)

    def _older(self, signed: SignedCheckpoint, *, is_live: bool) -> Pending:
        size = signed.checkpoint.size
        evidence = (("checkpoint-accepted", self._mirror.note), ("checkpoint-served", signed.note))
        if self._mirror.root_at(size) != signed.checkpoint.root:
            what = f"the coordinator signed two registers of {size} leaves or fewer: the register was forked"
            raise Lie(Discrepancy(size, what, Check.REGISTER, evidence))
        if is_live:
            had = self._mirror.accepted.size
            what = f"the register was set back: the coordinator has {size} leaves, and had {had}"
            raise Lie(Discrepancy(size, what, Check.REGISTER, evidence))
        return Pending(size, f"the source is older than the mirror: it has {size} leaves")

    def _forked(self, source: Source, signed: SignedCheckpoint, why: str) -> Discrepancy:
        accepted = self._mirror.accepted.size
        leaf = self._first_false(source, 0, accepted)
        leaf = accepted if leaf is None else leaf
        evidence = (("checkpoint-accepted", self._mirror.note), ("checkpoint-served", signed.note))
        blame = "" if source.is_live else ", or this copy of it is damaged"
        what = f"the register was forked or rewritten from here on{blame}: {why}"
        return Discrepancy(leaf, what, Check.REGISTER, evidence)

    def _first_false(self, source: Source, start: int, end: int) -> int | None:
        """The first leaf here whose hash is not the one that the source's tree has; None if it cannot tell."""
        first = start
        for page in self._mirror.pages(start, end):
            try:
                found = source.differing(first, [leaf_hash(leaf) for leaf in page])
            except CordonError:
                return None
            if found is not None:
                return found
            first += len(page)
        return None

    # 4: leaf by leaf

    def _fold(self) -> None:
        end = self._mirror.accepted.size
        start = int(self._mirror.get("folded", 0))
        # The first leaf by itself: the keys of its manifest are what the others are examined with.
        for upto in (1, end) if start == 0 < end else (end,):
            self._fold_range(start, upto)
            start = upto

    def _fold_range(self, start: int, end: int) -> None:
        mirror, account = self._mirror, self._account
        for first, count, leaves in examined(mirror, start, end, lambda: account.members.keys, self._options.jobs):
            with mirror.transaction():
                if int(mirror.get("folded", 0)) != first:
                    raise Misconfigured("another reading of this mirror is under way", hint="let it finish")
                for index, leaf in enumerate(leaves, start=first):
                    account.fold(index, leaf)
                account.flush()
                mirror.set("folded", first + count)
            self._options.progress("checking leaves", first + count, end)

    def _opening(self, index: int) -> Opening | None:
        data = self._mirror.opening(index)
        if data is not None:
            return codec.decode(Opening, data)
        if self._source is None:
            raise Unavailable(f"the manifest of leaf {index} is not in the mirror", hint="read from a source")
        return next((opening for opening in self._source.openings([index]) if opening.leaf_index == index), None)

    # 6: the result

    def _result(
        self, before: int, found: list[Discrepancy | Pending], judged: Iterable[Discrepancy | Pending]
    ) -> Result:
        mirror = self._mirror
        pending: list[Pending] = []
        counted: Counter[Check] = Counter()

        def discrepancies() -> Iterable[Discrepancy]:
            for item in chain(found, judged, mirror.reported()):
                if isinstance(item, Pending):
                    pending.append(item)
                else:
                    counted[item.check] += 1
                    yield item

        first = tuple(heapq.nsmallest(MOST_SHOWN, discrepancies()))
        members = self._account.members
        return Result(
            checkpoint=mirror.accepted,
            time=mirror.time,
            origin=members.newest.origin if members.first is not None else "",
            new_leaves=mirror.accepted.size - before,
            counts={"leaves": mirror.accepted.size} | {name: mirror.count(table) for name, table in _COUNTED.items()},
            discrepancies=first,
            found=dict(counted),
            pending=tuple(sorted(pending)[:MOST_SHOWN]),
            readded=readded(mirror),
        )


_COUNTED = {
    "queries": "queries WHERE leaf >= 0",
    "completed": "completed",
    "receipts": "receipts",
    "forces": "chains",
    "statements": "statements",
    "manifests": "manifests",
    "openings": "openings",
    "erasures": "erased",
    "unverified": "unsigned",
}
