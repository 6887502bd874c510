"""Signed registers without a coordinator: real keys, manifests, leaves, tree and openings, and knobs to lie with.

Everything that makes a leaf takes `changes`, applied before it is signed, and `signer`. What a dishonest
coordinator does afterwards, a test does to `leaves`, `openings` or to the published files.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from cordon import envelope as kinds
from cordon.envelope import Envelope, KeySigner, commitment, seal
from cordon.identity import Identity, Role, certify, new_authority
from cordon.manifest import open_manifest_with
from cordon.query.model import Measure, MeasureKind, Query, Question, SealedSeed, Terms
from cordon.query.plan import SMALL
from cordon.reading.static import StaticSource, opened_path
from cordon.register.checkpoint import write_checkpoint
from cordon.register.leaf import (
    NO_DIGEST,
    AttemptFailed,
    BudgetStatement,
    Checkpoint,
    Completed,
    Decision,
    DeclineCode,
    EndReason,
    Erasure,
    Ground,
    ManifestAdopted,
    Outcome,
    PublishedAnswer,
    QueryEnded,
    QuerySubmitted,
    Receipt,
    Rejected,
    RosterFixed,
    text_commitment,
)
from cordon.register.merkle import Frontier, leaf_hash, packed, root_of
from cordon.register.tiles import HEIGHT, pack_entries, tile_path, tiles_of
from cordon.sealing.ciphertext import add, chunks_digest, pack, unpack
from cordon.units import Digest, Rho
from cordon.wire import codec
from cordon.wire.messages import ContributionHead, Text
from cordon.wire.proofs import OpenedQuery, Opening
from cordon.wire.signed import payload_hash, sign

FORCES = ("essex", "kent", "norfolk", "suffolk", "surrey")
DOMAIN = "nominal_records"
NOW = int(time.time())
YEAR = datetime.fromtimestamp(NOW, UTC).year
RHO = 10_000_000
ROOMY = Rho(10**12)


def digest() -> Digest:
    """A digest of nothing in particular."""
    return Digest(os.urandom(32))


@dataclass
class Party:
    """Somebody with a signing key."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.signer = KeySigner(self.private)
        self.hex = self.private.public_key().public_bytes_raw().hex()


@dataclass
class Asked:
    """A query that stands in the register."""

    query: Query
    envelope: Envelope
    analyst: str
    hash: Digest
    leaf: int
    rosters: dict[int, RosterFixed] = field(default_factory=dict)
    receipts: dict[tuple[int, str], Envelope] = field(default_factory=dict)


@dataclass
class Spent:
    """What one force has charged."""

    number: int = 0
    previous: Digest = NO_DIGEST
    period_sum: dict[tuple[str, int], int] = field(default_factory=dict)
    lifetime_sum: dict[str, int] = field(default_factory=dict)
    statements: int = 0
    previous_statement: Digest = NO_DIGEST


class Register:
    """A register in the making."""

    def __init__(self, forces: tuple[str, ...] = FORCES, *, analysts: tuple[str, ...] = ("alice", "bob"), stated: bool = True) -> None:  # fmt: skip
        self.forces = forces
        self.now = NOW
        self.coordinator = Party()
        self.governance = [Party() for _ in range(3)]
        self.members = {force: Party() for force in forces}
        self.analysts = {name: Party() for name in analysts}
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._authority = new_authority("Test", self._authority_key)
        self._certificates: dict[str, bytes] = {}
        self.leaves: list[bytes] = []
        self.openings: dict[int, Opening] = {}
        self.kept: dict[tuple[Digest, int], list[Any]] = {}
        self.spent = {force: Spent() for force in forces}
        self.version = 0
        self.gossip = False
        """Whether receipts name the newest checkpoint, as long as `leaves` only grows; else none."""
        self._frontier = Frontier()
        self.adopt()
        if stated:
            for force in forces:
                self.state(force)

    # Manifests

    @property
    def governance_keys(self) -> tuple[str, ...]:
        """What a reader trusts."""
        return tuple(party.hex for party in self.governance)

    def manifest(self, *, embargo_days: int = 30, epsilon: str = "5", register: str = "") -> bytes:
        """The manifest's TOML bytes, as the parties are now."""
        pem = self._authority.public_bytes(Encoding.PEM).decode()
        keys = ", ".join(f'"{key}"' for key in self.governance_keys)
        text = (
            f'federation = "Test"\nversion = {self.version}\ndelta = "1/1000000000"\ntolerated_colluders = 1\n'
            f'coordinator_key = "{self.coordinator.hex}"\nauthority = """\n{pem}"""\n'
            f'[governance]\nthreshold = 2\nkeys = [{keys}]\n[limits]\nepsilon = "{epsilon}"\n'
            '[[purpose]]\ncode = "research"\ntitle = "Research"\nlegal_basis = "DPA 2018 s.41"\nregime = "dpa_2018_part_3"\n'
            '[[purpose]]\ncode = "live"\ntitle = "Live operations"\nlegal_basis = "DPA 2018 s.35"\nregime = "dpa_2018_part_3"\n'
            f"embargo_days = {embargo_days}\n"
            f'[[contract]]\ndataset = "nominals"\nversion = 1\nsha256 = "{"0" * 64}"\n'
        )
        text += register
        for force, party in self.members.items():
            text += (
                f'[[force]]\nid = "{force}"\nname = "{force}"\nsigning_key = "{party.hex}"\nseal_key = "{"1" * 64}"\n'
            )
        return text.encode()

    def adopt(self, *signers: Party, **settings: Any) -> int:
        """The next version of the manifest, from the parties as they are now."""
        self.version += 1
        payload = self.manifest(**settings)
        document = seal(kinds.MANIFEST, payload, *(party.signer for party in signers or self.governance))
        model = ManifestAdopted(self.version, Digest(hashlib.sha256(payload).digest()))
        index = self.add(model, self.coordinator.signer)
        self.openings[index] = Opening(index, document=document)
        if self.version == 1:
            self.origin = open_manifest_with(document, self.governance_keys).origin
        return index

    # Leaves

    def add(self, model: Any, *signers: Any, **changes: Any) -> int:
        """Sign a model and append it; returns the leaf's index."""
        return self.append(sign(replace(model, **changes), *signers))

    def append(self, envelope: Envelope) -> int:
        """Append a signed envelope."""
        self.leaves.append(codec.encode_envelope(envelope))
        self._frontier = self._frontier.extended([leaf_hash(self.leaves[-1])])
        return len(self.leaves) - 1

    def state(self, force: str, domain: str = DOMAIN, *, deposit: bool = True, **changes: Any) -> int:
        """A force's next budget statement; generous unless changed."""
        spent = self.spent[force]
        spent.statements += 1
        model = BudgetStatement(
            force, spent.statements, spent.previous_statement, domain, *(ROOMY,) * 6, spent.number, self.now
        )
        envelope = sign(replace(model, **changes), self.members[force].signer)
        spent.previous_statement = payload_hash(envelope)
        return self.append(envelope) if deposit else -1

    def compose(self, analyst: str = "alice", *, forces: tuple[str, ...] | None = None, rho: int = RHO, attempts: int = 2, purpose: str = "research") -> Query:  # fmt: skip
        """A question of no importance, and its terms."""
        del analyst
        named = forces or self.forces
        question = Question("nominals", 1, (Measure(MeasureKind.COUNT),), None, (), named)
        terms = Terms(
            rho=Rho(rho), block_rho=(Rho(rho - 1),), attempts=attempts, purpose=purpose, manifest_version=self.version,
            nonce=os.urandom(32), decide_by=self.now + 60, expires=self.now + 600, parameter_set=SMALL.name,
            bfv_key_hash=digest(), seed_hash=digest(), sealed_seeds=tuple(SealedSeed(f, os.urandom(80)) for f in named),
        )  # fmt: skip
        return Query(question, terms)

    def ask(self, analyst: str = "alice", *, opened: bool = True, signer: Any = None, changes: dict[str, Any] | None = None, **terms: Any) -> Asked:  # fmt: skip
        """A query is submitted."""
        query = self.compose(analyst, **terms)
        party = self.analysts[analyst]
        envelope = sign(query, party.signer)
        query_hash = commitment(kinds.QUERY, envelope.payload)
        model = QuerySubmitted(
            query_hash, party.signer.key_id, envelope.signatures[0].signature, query.question.forces, query.terms.rho,
            query.terms.attempts, query.terms.purpose, self.now,
        )  # fmt: skip
        index = self.add(model, signer or self.coordinator.signer, **(changes or {}))
        if opened:
            self.openings[index] = Opening(index, query=OpenedQuery(envelope, self.certificate(analyst)))
        return Asked(query, envelope, analyst, query_hash, index)

    def certificate(self, analyst: str) -> bytes:
        """The analyst's certificate."""
        if analyst in self._certificates:
            return self._certificates[analyst]
        public = self.analysts[analyst].private.public_key()
        made = certify(Identity(Role.ANALYST, analyst), public, authority=self._authority, private=self._authority_key)
        self._certificates[analyst] = made.public_bytes(Encoding.DER)
        return self._certificates[analyst]

    def decide(self, asked: Asked, force: str, outcome: Outcome = Outcome.ADMITTED, code: DeclineCode = DeclineCode.NOT_DECLINED, *, text: str = "", signer: Any = None, **changes: Any) -> int:  # fmt: skip
        """A force decides."""
        salt = os.urandom(32)
        committed = text_commitment(salt, text) if text else NO_DIGEST
        model = Decision(asked.hash, force, 0, outcome, code, committed, self.now)
        index = self.add(model, signer or self.members[force].signer, **changes)
        if text:
            self.openings[index] = Opening(index, text=Text(salt, text))
        return index

    def roster(self, asked: Asked, attempt: int = 1, forces: tuple[str, ...] | None = None, *, signer: Any = None, **changes: Any) -> int:  # fmt: skip
        """A roster is fixed."""
        named = forces or asked.query.question.forces
        model = RosterFixed(asked.hash, attempt, named, tuple(digest() for _ in named), digest())
        asked.rosters[attempt] = model
        self._accepted = Checkpoint(self._frontier.size, self._frontier.root)
        return self.add(model, signer or self.coordinator.signer, **changes)

    def receipt(self, asked: Asked, attempt: int, force: str, *, deposit: bool = True, ciphertexts: bool = False, signer: Any = None, **changes: Any) -> int:  # fmt: skip
        """A force charges; its ledger counts what the receipt says, but for sums that were changed."""
        spent, terms = self.spent[force], asked.query.terms
        domain, period = changes.get("domain", DOMAIN), changes.get("period", YEAR)
        spent.number += 1
        spent.period_sum[domain, period] = spent.period_sum.get((domain, period), 0) + terms.rho.nano
        spent.lifetime_sum[domain] = spent.lifetime_sum.get(domain, 0) + terms.rho.nano
        chunks = [_ciphertext()] if ciphertexts else []
        model = Receipt(
            force=force, query_hash=asked.hash, attempt=attempt, transcript_hash=asked.rosters[attempt].transcript_hash,
            analyst_key_id=self.analysts[asked.analyst].signer.key_id, purpose=terms.purpose, domain=domain,
            period=period, rho=terms.rho, period_sum=Rho(spent.period_sum[domain, period]),
            lifetime_sum=Rho(spent.lifetime_sum[domain]), number=spent.number, previous=spent.previous,
            ciphertext_hash=chunks_digest(chunks), plan=digest(),
            checkpoint=self._accepted if self.gossip else Checkpoint(),
        )  # fmt: skip
        envelope = sign(replace(model, **changes), signer or self.members[force].signer)
        spent.previous = payload_hash(envelope)
        asked.receipts[attempt, force] = envelope
        if chunks:
            self.kept.setdefault((asked.hash, attempt), []).append((envelope, chunks))
        return self.append(envelope) if deposit else -1

    def fail(self, asked: Asked, attempt: int, missing: tuple[str, ...], **changes: Any) -> int:
        """An attempt failed."""
        return self.add(AttemptFailed(asked.hash, attempt, missing), self.coordinator.signer, **changes)

    def complete(self, asked: Asked, attempt: int = 1, *, signer: Any = None, **changes: Any) -> int:
        """An attempt is complete."""
        roster = asked.rosters[attempt]
        hashes = tuple(payload_hash(asked.receipts[attempt, force]) for force in roster.forces)
        model = Completed(asked.hash, attempt, roster.transcript_hash, self._sum_hash(asked, attempt), hashes)
        return self.add(model, signer or self.coordinator.signer, **changes)

    def _sum_hash(self, asked: Asked, attempt: int) -> Digest:
        chunks = [data for _, parts in self.kept.get((asked.hash, attempt), []) for data in parts]
        if not chunks:
            return digest()
        total = unpack(chunks[0], SMALL, SMALL.moduli)
        for chunk in chunks[1:]:
            total = add(total, unpack(chunk, SMALL, SMALL.moduli), SMALL)
        return chunks_digest([pack(total, SMALL.moduli)])

    def round(self, analyst: str = "alice", *, decisions: bool = True, ciphertexts: bool = False, **terms: Any) -> Asked:  # fmt: skip
        """A query that is answered at the first attempt by everybody."""
        asked = self.ask(analyst, **terms)
        for force in asked.query.question.forces if decisions else ():
            self.decide(asked, force)
        self.roster(asked)
        for force in asked.query.question.forces:
            self.receipt(asked, 1, force, ciphertexts=ciphertexts)
        self.complete(asked)
        self.now += 1
        return asked

    def end(self, asked: Asked, reason: EndReason = EndReason.TOO_FEW_FORCES) -> int:
        """A query ended without an answer."""
        return self.add(QueryEnded(asked.hash, reason), self.coordinator.signer)

    def reject(self, asked: Asked, sum_hash: Digest, *, signer: Any = None) -> int:
        """The analyst rejects a sum."""
        return self.add(Rejected(asked.hash, 1, sum_hash), signer or self.analysts[asked.analyst].signer)

    def publish(self, asked: Asked, payload: bytes = b'{"salt": "x"}', *, signer: Any = None) -> int:
        """The analyst publishes an answer."""
        party = self.analysts[asked.analyst]
        model = PublishedAnswer(asked.hash, 1, commitment(kinds.ANSWER, payload))
        index = self.add(model, signer or party.signer)
        self.openings[index] = Opening(index, document=seal(kinds.ANSWER, payload, party.signer))
        return index

    def erase(self, target: int, *, signer: Any = None) -> int:
        """Governance erases an opening."""
        self.openings.pop(target, None)
        return self.add(Erasure(target, Ground.COURT_ORDER, self.now), signer or self.governance[0].signer)

    # Publishing

    def note(self, size: int | None = None, *, after: int = 0) -> bytes:
        """A signed checkpoint over the first `size` leaves."""
        count = len(self.leaves) if size is None else size
        root = Frontier().extended(map(leaf_hash, self.leaves[:count])).root
        public = self.coordinator.private.public_key()
        return write_checkpoint(self.origin, Checkpoint(count, root), public, self.coordinator.signer, self.now + after)

    def files(self, *, after: int = 0) -> dict[str, bytes]:
        """Every published file, by path."""
        hashes = [leaf_hash(leaf) for leaf in self.leaves]
        found = {"checkpoint": self.note(after=after)}
        for level, number, width in tiles_of(len(self.leaves)):
            span = 1 << (HEIGHT * level)
            firsts = range(number * 256 * span, (number * 256 + width) * span, span)
            row = [root_of(span, lambda _, at: _subtree(hashes, _, at), first) for first in firsts]
            found[tile_path(level, number, width)] = packed(row)
            if level == 0:
                found[tile_path(None, number, width)] = pack_entries(self.leaves[number * 256 : number * 256 + width])
        return found | {opened_path(index): codec.encode(opening) for index, opening in self.openings.items()}

    def write(self, folder: Path, **settings: Any) -> Path:
        """Publish into a folder."""
        for path, data in self.files(**settings).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder

    def source(self, *, kept: bool = False, at_once: bool = False, after: int = 0) -> Served:
        """The published files as a source, without a disk."""
        return Served(self.files(after=after), self.kept if kept else None, at_once=at_once)


class Served(StaticSource):
    """Published files in memory; with kept contributions, as only a coordinator serves them."""

    def __init__(self, files: dict[str, bytes], kept: Any, *, at_once: bool) -> None:
        super().__init__(lambda path, _most: files.get(path))
        self.files = files
        self._kept = kept
        self._at_once = at_once

    @property
    def opens_at_once(self) -> bool:
        return self._at_once

    @property
    def is_live(self) -> bool:
        return self._at_once

    def kept(self, query_hash: Digest, attempt: int) -> Any:
        if self._kept is None:
            return None
        contributions = self._kept.get((query_hash, attempt), [])
        return iter([p for e, chunks in contributions for p in (ContributionHead(e, len(chunks)), *chunks)])


def _subtree(hashes: list[Digest], level: int, at: int) -> Digest:
    return Frontier().extended(hashes[at << level : (at + 1) << level]).root


def _ciphertext() -> bytes:
    rows = [np.random.default_rng().integers(0, q, SMALL.slots, dtype=np.uint64) for q in SMALL.moduli]
    return pack(np.stack([np.stack(rows), np.stack(rows)]), SMALL.moduli)
