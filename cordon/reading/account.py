"""The fold: every leaf is held against the leaves before it; what does not fit is reported with its index.

Takes leaves that `cordon.reading.examine` has examined, in order, and writes into the mirror. It reads
no clock and asks nobody, but for the manifests that leaves adopt. docs/auditing.md §3 lists the checks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from cordon import envelope as kinds
from cordon.errors import CordonError
from cordon.reading.charges import Charge, Charges
from cordon.reading.examine import Examined, signed_by
from cordon.reading.lives import Attempt, Life, Lives
from cordon.reading.members import ids_of, members_of
from cordon.reading.mirror import Mirror
from cordon.reading.verdict import Check
from cordon.register.leaf import NO_DIGEST, Outcome
from cordon.wire import codec
from cordon.wire.proofs import Opening

Open = Callable[[int], Opening | None]
"""What a source serves as the opening of a leaf."""

MOST_RHO = 2**40
"""Nano-rho of one query that is counted, whatever a manifest allows: 2^23 such charges still add up in SQL."""

MOST_ROOTS = 4096
"""Roots of earlier sizes that are kept in memory."""


class Wrong(Exception):
    """A leaf does not hold, and nothing follows from it."""


class Account:
    """What follows from a register's leaves, leaf by leaf."""

    def __init__(self, mirror: Mirror, governance_keys: tuple[str, ...], opening: Open) -> None:
        """Go on where the mirror is.

        Args:
            governance_keys: what the reader trusts, in hexadecimal.
        """
        self._mirror = mirror
        self._opening = opening
        self._roots: dict[int, bytes] = {}
        self.lives = Lives(mirror)
        self.charges = Charges(mirror)
        self.members = members_of(mirror, governance_keys)
        self._handlers: dict[str, Callable[[int, Any, Any], None]] = {
            kinds.RECEIPT: self._receipt,
            kinds.DECISION: self._decision,
            kinds.QUERY_SUBMITTED: self._submitted,
            kinds.ROSTER_FIXED: self._roster,
            kinds.COMPLETED: self._completed,
            kinds.ATTEMPT_FAILED: self._failed,
            kinds.QUERY_ENDED: self._ended,
            kinds.REJECTED: self._rejected,
            kinds.PUBLISHED_ANSWER: self._published,
            kinds.MANIFEST_ADOPTED: self._manifest,
            kinds.BUDGET_STATEMENT: self._statement,
            kinds.ERASURE: self._erasure,
        }

    def fold(self, index: int, leaf: Examined) -> None:
        """Take the next leaf."""
        finding, envelope, found = leaf
        if isinstance(finding, str):
            self._mirror.report(index, f"the leaf does not hold: {finding}", Check.LEAVES)
            return
        kind = envelope.payload_type
        check = Check.LEAVES
        try:
            self._check_signer(index, kind, leaf)
            check = _CHECKS.get(kind, Check.QUERIES)
            self._handlers[kind](index, envelope, found)
        except Wrong as wrong:
            self._mirror.report(index, str(wrong), check)

    def flush(self) -> None:
        """Write what is not in the mirror yet; within the caller's transaction."""
        self.lives.flush()
        self.charges.flush()

    # Who signed

    def _check_signer(self, index: int, kind: str, leaf: Examined) -> None:
        if kind == kinds.MANIFEST_ADOPTED:
            return
        if self.members.first is None:
            raise Wrong("the register does not begin with a manifest that the reader's governance keys have signed")
        signer = leaf.finding if isinstance(leaf.finding, bytes) else leaf.envelope.signatures[0].key_id
        if kind in _BY_ANALYST:
            self._check_analyst(index, leaf.message, signer)
            return
        expected, who = self._expected(index, kind, leaf.message, signer)
        if not expected:
            raise Wrong(f"is signed by the key {signer.hex()[:12]}, which is not that of {who} at this leaf")
        if leaf.finding is None and not signed_by(leaf.envelope, self.members.keys[signer]):
            raise Wrong("its signature does not verify")

    def _expected(self, index: int, kind: str, found: Any, signer: bytes) -> tuple[bool, str]:
        """Whether a leaf's signer is who it must be, and who that is."""
        if kind in _FROM_OUTBOX:
            # What a force signed before its key changed may wait in its outbox until after.
            return self.members.was_key_of(found.force, signer), f"the force {found.force}"
        if kind == kinds.DECISION:
            return self.members.forces.get(found.force) == signer, f"the force {found.force}"
        if kind == kinds.ERASURE:
            return self.members.governs(signer, index), "governance"
        return self.members.coordinator == signer, "the coordinator"

    def _check_analyst(self, index: int, found: Any, signer: bytes) -> None:
        life = self._life(found)
        if signer != life.analyst:
            raise Wrong(f"a leaf of the analyst is signed by another key, {signer.hex()[:12]}")
        # Whose key that is, and whether it verifies, shows when the query is opened.
        self._mirror.sql.execute("INSERT INTO unsigned VALUES (?, ?)", (index, life.leaf))

    def _life(self, found: Any) -> Life:
        life = self.lives.get(found.query_hash)
        if life is None:
            raise Wrong(f"is about the query {found.query_hash.hex()[:12]}, which was not submitted before")
        return life

    def _attempt(self, found: Any) -> tuple[Life, Attempt]:
        life = self._life(found)
        attempt = life.rosters.get(found.attempt)
        if attempt is None:
            raise Wrong(f"is about attempt {found.attempt} of query {life.hash.hex()[:12]}, which has no roster before")
        return life, attempt

    # Kinds of leaves

    def _receipt(self, index: int, envelope: Any, found: Any) -> None:
        if self.members.replaces and self.lives.get(found.query_hash) is None:
            self._lost(index, envelope, found)
            return
        life, attempt = self._attempt(found)
        force = found.force
        if force not in attempt.forces:
            raise Wrong(f"is a receipt of {force}, which is not on the roster of that attempt")
        if (found.transcript_hash, found.analyst_key_id, found.purpose, found.rho) != (
            *(attempt.transcript, life.analyst, life.purpose),
            life.rho,
        ):
            raise Wrong(f"the receipt of {force} is for another transcript, analyst, purpose or rho than the query's")
        first, last = life.periods
        if not first <= found.period <= last:
            raise Wrong(f"the receipt of {force} is charged to {found.period}, which is not when its query was asked")
        if force in attempt.receipts:
            raise Wrong(f"is a second receipt of {force} for one attempt")
        self._check_gossip(index, found)
        payload_hash = hashlib.sha256(envelope.payload).digest()
        times = 1 if len(life.rosters) == 1 else life.charged(force) + 1
        self._charge(Charge.of(found, index, life.leaf), found, payload_hash, times)
        attempt.receipts[force], attempt.numbers[force] = payload_hash, found.number
        if attempt.failed is not None:
            self.charges.fail(attempt.failed, force, found.number)
        self.lives.changed(life, index)

    def _lost(self, index: int, envelope: Any, found: Any) -> None:
        """A receipt from a register that was lost: nothing is left of its query but what it says itself."""
        if found.rho > min(self.members.newest.most_rho.nano, MOST_RHO):
            raise Wrong(f"the receipt of {found.force} charges more than the manifest allows; it is not counted")
        point = found.checkpoint
        if 0 < point.size <= index and self._root_at(point.size) == point.root:
            # Its force had accepted this register when it charged: the query is hidden, not lost.
            self._life(found)
        query = self.lives.lost(index, found)
        self._charge(Charge.of(found, index, query), found, hashlib.sha256(envelope.payload).digest(), 1)

    def _charge(self, charge: Charge, found: Any, payload_hash: bytes, times: int) -> None:
        known = self.charges.add(charge, found, payload_hash, times)
        if known is not None:
            raise Wrong(f"receipt {charge.number} of {charge.force} also stands in leaf {known}: two of one number")

    def _check_gossip(self, index: int, found: Any) -> None:
        """Hold the checkpoint that a force had accepted against this register: was it shown another one?"""
        size, root = found.checkpoint.size, found.checkpoint.root
        if not size or self._roots.get(size) == root:
            return
        if size > index:
            what = f"{found.force} was shown a register of {size} leaves before this leaf stood in it"
        elif size not in self._roots and self._root_at(size) == root:
            return
        else:
            what = f"{found.force} was shown another register of {size} leaves: the coordinator forked it"
        self._mirror.report(index, what, Check.REGISTER)

    def _root_at(self, size: int) -> bytes:
        if len(self._roots) >= MOST_ROOTS:
            self._roots.clear()
        self._roots[size] = root = self._mirror.root_at(size)
        return root

    def _decision(self, index: int, _envelope: Any, found: Any) -> None:
        life = self._life(found)
        if found.force not in life.forces:
            raise Wrong(f"is a decision of {found.force}, which was not asked")
        if found.attempt > life.attempts or (found.outcome == Outcome.DECLINED) != bool(found.code):
            raise Wrong(
                f"the decision of {found.force} is about an attempt that was not signed for, or has a wrong code"
            )
        if found.text_commitment != NO_DIGEST:
            self._want(index, "text", life.leaf)
        self.lives.changed(life, index)

    def _submitted(self, index: int, _envelope: Any, found: Any) -> None:
        known = self.lives.get(found.query_hash)
        if known is not None:
            raise Wrong(
                f"submits the query {found.query_hash.hex()[:12]} again; it stands in leaf {known.leaf} already"
            )
        manifest = self.members.newest
        if found.rho * max(found.attempts, 1) > min(manifest.most_rho.nano, MOST_RHO):
            # Nothing about it is added up: what can be charged at all is bounded, and so is every sum.
            raise Wrong("the query costs more than the manifest allows; nothing that is about it is counted")
        forces = list(found.forces)
        life = Life(
            leaf=index, hash=found.query_hash, analyst=found.analyst_key_id, purpose=found.purpose, rho=found.rho,
            attempts=found.attempts, submitted_at=found.submitted_at, forces=forces,
        )  # fmt: skip
        self.lives.changed(life, index)
        self._want(index, "query", index)
        if not forces or forces != sorted(set(forces), key=str.encode) or not set(forces) <= set(manifest.by_id):
            raise Wrong("the query asks forces that are no members, or names them out of order")
        if found.purpose not in manifest.by_purpose:
            raise Wrong(f"the query has the purpose {found.purpose!r}, which the manifest does not list")
        if not 1 <= found.attempts <= manifest.limits.attempts:
            raise Wrong("the query has more attempts than the manifest allows")

    def _roster(self, index: int, _envelope: Any, found: Any) -> None:
        life = self._life(found)
        forces, named = list(found.forces), life.forces
        if not 1 <= found.attempt <= life.attempts:
            raise Wrong(f"fixes a roster for attempt {found.attempt}, which the analyst has not signed for")
        if found.attempt in life.rosters:
            raise Wrong(f"fixes a second roster for attempt {found.attempt}; the first is in another leaf")
        if life.ended is not None or any(attempt.completed is not None for attempt in life.rosters.values()):
            raise Wrong("fixes a roster for a query that was completed or ended before")
        if forces != sorted(set(forces), key=str.encode) or not set(forces) <= set(named):
            raise Wrong("the roster is not made of distinct forces of the query, in order")
        life.rosters[found.attempt] = Attempt(index, forces, found.transcript_hash)
        self.lives.changed(life, index)
        smallest = self.members.newest.smallest_roster
        small_allowed = (len(forces) >= 3 and len(named) < smallest) or len(forces) == len(named) == 1
        if (len(forces) < smallest and not small_allowed) or len(found.ready_hashes) != len(forces):
            raise Wrong(f"the roster has {len(forces)} forces, fewer than the federation's {smallest}")

    def _completed(self, index: int, _envelope: Any, found: Any) -> None:
        life, attempt = self._attempt(found)
        if attempt.failed is not None or attempt.completed is not None:
            raise Wrong("completes an attempt that failed or was completed before")
        attempt.completed, attempt.sum_hash = index, found.sum_hash
        self._mirror.sql.execute(
            "INSERT INTO completed (leaf, query, attempt) VALUES (?, ?, ?)", (index, life.leaf, found.attempt)
        )
        self.lives.changed(life, index)
        lacking = [force for force in attempt.forces if force not in attempt.receipts]
        if lacking:
            raise Wrong(f"completes an attempt for which the register has no receipt of {', '.join(lacking)}")
        if list(found.receipt_hashes) != [attempt.receipts[force] for force in attempt.forces]:
            raise Wrong("the sum is made of other receipts than those in the register")
        if found.transcript_hash != attempt.transcript:
            raise Wrong("completes an attempt with another transcript than its roster's")

    def _failed(self, index: int, _envelope: Any, found: Any) -> None:
        life, attempt = self._attempt(found)
        if attempt.failed is not None or attempt.completed is not None:
            raise Wrong("fails an attempt that failed or was completed before")
        attempt.failed = index
        for force, number in attempt.numbers.items():
            self.charges.fail(index, force, number)
        self.lives.changed(life, index)
        if not set(found.missing) <= set(attempt.forces):
            raise Wrong("names forces as missing that are not on the roster")
        # That a missing force's receipt stands here is no lie: it may come by itself, from the force's outbox.

    def _ended(self, index: int, _envelope: Any, found: Any) -> None:
        life = self._life(found)
        if life.ended is not None or any(attempt.completed is not None for attempt in life.rosters.values()):
            raise Wrong("ends a query that was completed or ended before")
        life.ended = index
        self.lives.changed(life, index)

    def _rejected(self, index: int, _envelope: Any, found: Any) -> None:
        life, attempt = self._attempt(found)
        if attempt.completed is None or attempt.sum_hash != found.sum_hash:
            raise Wrong("rejects a sum that is not in the register")
        self.lives.changed(life, index)

    def _published(self, index: int, _envelope: Any, found: Any) -> None:
        life, attempt = self._attempt(found)
        if attempt.completed is None:
            raise Wrong("publishes an answer of an attempt that is not completed")
        self._want(index, "answer", life.leaf)
        self.lives.changed(life, index)

    def _manifest(self, index: int, envelope: Any, found: Any) -> None:
        opening = self._opening(index)
        if opening is None or opening.document is None:
            raise Wrong("adopts a manifest that is not opened")
        try:
            manifest = self.members.opened(opening.document)
        except CordonError as error:
            raise Wrong(f"adopts a manifest that is not trusted: {error}") from None
        if (manifest.digest, manifest.version) != (found.manifest_hash, found.version):
            raise Wrong("adopts another manifest than the one that is served for it")
        # A coordinator whose key changes signs with the new one, which governance has signed for.
        known = self.members.keys | ids_of(manifest)
        coordinators = {self.members.coordinator, *manifest.coordinator_keyring}
        signer = envelope.signatures[0].key_id
        if signer not in coordinators or not signed_by(envelope, known[signer]):
            raise Wrong("adopts a manifest, and is not signed by the coordinator")
        self.members.adopt(index, manifest)
        document = codec.encode_envelope(opening.document)
        self._mirror.sql.execute("INSERT INTO manifests VALUES (?, ?, ?)", (index, manifest.version, document))
        self._want(index, "manifest", None)
        self._mirror.put_opening(index, codec.encode(opening))

    def _statement(self, index: int, envelope: Any, found: Any) -> None:
        self.charges.state(index, found, hashlib.sha256(envelope.payload).digest())

    def _erasure(self, index: int, _envelope: Any, found: Any) -> None:
        if found.leaf_index >= index:
            raise Wrong(f"erases the opening of leaf {found.leaf_index}, which does not stand before it")
        if self._mirror.sql.execute("SELECT 1 FROM manifests WHERE leaf = ?", (found.leaf_index,)).fetchone():
            # Without it nobody could verify what follows from it; it holds nothing about a person.
            raise Wrong(f"erases the manifest of leaf {found.leaf_index}; a manifest stays open for ever")
        row = (found.leaf_index, index, found.ground, found.erased_at)
        self._mirror.sql.execute("INSERT OR IGNORE INTO erased VALUES (?, ?, ?, ?)", row)
        # The reader's own copy goes too: what was erased is not kept here either.
        self._mirror.sql.execute(_FORGET, {"target": found.leaf_index})

    def _want(self, index: int, kind: str, query: int | None) -> None:
        self._mirror.sql.execute("INSERT INTO wanted (leaf, kind, query) VALUES (?, ?, ?)", (index, kind, query))


_FORGET = """
DELETE FROM openings WHERE leaf = :target OR leaf IN (SELECT leaf FROM wanted WHERE query = :target)
"""
_BY_ANALYST = frozenset({kinds.REJECTED, kinds.PUBLISHED_ANSWER})
_FROM_OUTBOX = frozenset({kinds.RECEIPT, kinds.BUDGET_STATEMENT})
_CHECKS = {
    kinds.RECEIPT: Check.RECEIPTS,
    kinds.MANIFEST_ADOPTED: Check.MANIFESTS,
    kinds.BUDGET_STATEMENT: Check.BUDGETS,
    kinds.ERASURE: Check.OPENINGS,
}
