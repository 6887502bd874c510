"""Make the vectors of protocol version 1: `python tests/vectors/v1/make_vectors.py [FOLDER]`.

The only way these files change. Every key and random value in them is fixed, so a run gives the same
bytes each time; Ed25519 (RFC 8032) and HKDF (RFC 5869) are deterministic. A second implementation needs
docs/protocol.md and these files, and nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.accounting import fixed_point_scale, rho_for_epsilon, share_sigma
from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.envelope import QUERY, KeySigner, commitment, pre_authentication_encoding, to_json
from cordon.query.model import (
    All,
    Grain,
    Grouping,
    Key,
    Measure,
    MeasureKind,
    Member,
    Missing,
    Query,
    Question,
    Range,
    SealedSeed,
    Some,
    Terms,
)  # fmt: skip
from cordon.query.plan import SMALL, WIDE, blinded, make_plan, outline, split_evenly
from cordon.register import merkle
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
)  # fmt: skip
from cordon.sealing import check, ciphertext, keystream, masks
from cordon.sealing.seed import seal_context, seed_hash
from cordon.sealing.transcript import transcript_hash
from cordon.units import Digest, Rho, tagged_digest
from cordon.wire import codec
from cordon.wire.messages import Approval, HeldContract, Hello, Pause, Ready, Verdict, Vouch
from cordon.wire.signed import PAYLOAD_TYPES, question_digest, sign
from node.ledgerfile import entry_hash

PROVENANCE = "made by tests/vectors/v1/make_vectors.py from fixed keys; protocol version 1"
HERE = Path(__file__).parent


def fixed(name: str, length: int = 32) -> bytes:
    """Bytes that are named instead of random."""
    return hashlib.shake_256(f"cordon test vector {name}".encode()).digest(length)


ORIGIN = "cordon/demonstration"
ANALYST, ESSEX, COORDINATOR, GOVERNANCE, OFFICER = (
    KeySigner(Ed25519PrivateKey.from_private_bytes(fixed(name)))
    for name in ("analyst", "essex", "coordinator", "governance", "officer")
)
AT = int(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())
FORCES = ("essex", "kent", "surrey")


def question() -> Question:
    """Every kind of predicate, two measures, two keys."""
    where = All(
        (
            Member("role", ("suspect", "victim")),
            Some((Range("age", 18, None), Range("loss_gbp", None, 500), Missing("recorded"))),
            Range("recorded", 19723, 20088),
        )
    )
    return Question(
        "nominals", 1, (Measure(MeasureKind.COUNT_UNIT), Measure(MeasureKind.SUM, "loss_gbp")), where,
        (Key("force"), Key("recorded", Grain.MONTH)), FORCES,
    )  # fmt: skip


def terms(rho: Rho) -> Terms:
    """Terms with fixed nonce, seed and sealed seeds (sealing draws a key, so these are any 80 bytes)."""
    return Terms(
        rho=rho, block_rho=split_evenly(rho, 2), attempts=2, purpose="research", manifest_version=1,
        nonce=fixed("nonce"), decide_by=AT + 60, expires=AT + 180, parameter_set="wide",
        bfv_key_hash=Digest(fixed("bfv key hash")), seed_hash=seed_hash(fixed("check seed")),
        sealed_seeds=tuple(SealedSeed(force, fixed(f"sealed to {force}", 80)) for force in FORCES),
    )  # fmt: skip


def contract() -> Contract:
    """The bundled contract of the synthetic persons."""
    return next(c for c in map(Contract.from_toml, bundled_contracts()) if c.dataset == "nominals")


RHO = rho_for_epsilon(Fraction(1), 1e-9)
QUERY_MODEL = Query(question(), terms(RHO))
PLAN = make_plan(question(), split_evenly(RHO, 2), contract(), colluders=1, most_cells=1000)
QUERY_ENVELOPE = sign(QUERY_MODEL, ANALYST)
QUERY_HASH = commitment(QUERY, QUERY_ENVELOPE.payload)


GROWN = {
    ("Measure", "where"), ("Measure", "centre"), ("Measure", "offset"), ("Measure", "widths"), ("Key", "width"),
    ("Question", "groupings"), ("Measure", "other"), ("Measure", "other_centre"),
}  # fmt: skip


def plain(value: Any) -> Any:
    """A model as JSON: bytes in hexadecimal, rho in nano-rho, unions under the name of their kind."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Rho):
        return value.nano
    if isinstance(value, IntEnum):
        return value.name
    if is_dataclass(value):
        # A field that a format has grown since stands here only where it says something.
        said = {f.name: getattr(value, f.name) for f in fields(value)}
        said = {name: what for name, what in said.items() if (type(value).__name__, name) not in GROWN or what}
        return {"kind": type(value).__name__} | {name: plain(what) for name, what in said.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def signed_vector(model: Any, signer: KeySigner) -> dict[str, Any]:
    """A model, its payload, its signed envelope and, for leaves, the leaf's bytes."""
    envelope = sign(model, signer)
    return {
        "model": plain(model),
        "payload_type": PAYLOAD_TYPES[type(model)],
        "payload": envelope.payload.hex(),
        "signed_bytes": pre_authentication_encoding(envelope.payload_type, envelope.payload).hex(),
        "key_id": envelope.signatures[0].key_id.hex(),
        "signature": envelope.signatures[0].signature.hex(),
        "envelope": codec.encode_envelope(envelope).hex(),
    }


def envelopes() -> dict[str, Any]:
    """DSSE: what is signed, and both forms of an envelope."""
    return {
        "public_key": ANALYST._private.public_key().public_bytes_raw().hex(),
        "json": to_json(QUERY_ENVELOPE),
        "vector": signed_vector(QUERY_MODEL, ANALYST),
        "commitment": QUERY_HASH.hex(),
    }


def leaves() -> dict[str, Any]:
    """One leaf of every kind that exists in version 1."""
    digest = {name: Digest(fixed(name)) for name in ("transcript", "ciphertext", "sum", "plan", "previous", "text")}
    receipt = receipt_model(digest)
    models: list[tuple[Any, KeySigner]] = [
        (QuerySubmitted(QUERY_HASH, ANALYST.key_id, QUERY_ENVELOPE.signatures[0].signature, FORCES, RHO, 2, "research", AT),
         COORDINATOR),
        (Decision(QUERY_HASH, "essex", 0, Outcome.ADMITTED, DeclineCode.NOT_DECLINED, digest["text"], AT), ESSEX),
        (Decision(QUERY_HASH, "essex", 1, Outcome.DECLINED, DeclineCode.BUDGET, digest["text"], AT), ESSEX),
        (Decision(QUERY_HASH, "essex", 0, Outcome.AWAITING_APPROVAL, DeclineCode.NOT_DECLINED, digest["text"], AT), ESSEX),
        (RosterFixed(QUERY_HASH, 1, FORCES, tuple(Digest(fixed(f"note {f}")) for f in FORCES), digest["transcript"]),
         COORDINATOR),
        (receipt, ESSEX),
        (AttemptFailed(QUERY_HASH, 1, ("kent",)), COORDINATOR),
        (Completed(QUERY_HASH, 2, digest["transcript"], digest["sum"], tuple(Digest(fixed(f"receipt {f}")) for f in FORCES)),
         COORDINATOR),
        (QueryEnded(QUERY_HASH, EndReason.TOO_FEW_FORCES), COORDINATOR),
        (Rejected(QUERY_HASH, 2, digest["sum"]), ANALYST),
    ]  # fmt: skip
    return {"leaves": [signed_vector(model, signer) for model, signer in models]}


def receipt_model(digest: dict[str, Digest]) -> Receipt:
    """A receipt with every field set."""
    return Receipt(
        force="essex", query_hash=QUERY_HASH, attempt=1, transcript_hash=digest["transcript"],
        analyst_key_id=ANALYST.key_id, purpose="research", domain="nominal_records", period=2026, rho=RHO,
        period_sum=RHO * 2, lifetime_sum=RHO * 3, number=3, previous=digest["previous"],
        ciphertext_hash=digest["ciphertext"], plan=digest["plan"], checkpoint=Checkpoint(7, Digest(fixed("root"))),
    )  # fmt: skip


def ledger() -> dict[str, Any]:
    """Three entries of a ledger, each naming the one before."""
    payloads = [("manifest", (1).to_bytes(8, "little") + fixed("manifest digest")), ("decision", b"answer"), ("charge", b"receipt")]  # fmt: skip
    entries, previous = [], NO_DIGEST
    for number, (kind, payload) in enumerate(payloads, start=1):
        digest = entry_hash(number, previous, kind, AT + number, payload)
        entries.append(
            {"number": number, "previous": previous.hex(), "kind": kind, "at": AT + number, "payload": payload.hex(),
             "hash": digest.hex()}
        )  # fmt: skip
        previous = digest
    return {"entries": entries}


def questions() -> dict[str, Any]:
    """A question and terms, their encoding, and every digest that names them."""
    return {
        "query": plain(QUERY_MODEL),
        "question_bytes": codec.encode(question()).hex(),
        "query_bytes": codec.encode(QUERY_MODEL).hex(),
        "question_digest": question_digest(question()).hex(),
        "blinded_question": blinded(fixed("nonce"), question_digest(question())).hex(),
        "query_hash": QUERY_HASH.hex(),
    }


def plans() -> dict[str, Any]:
    """The base plan's text and digest, and completed digests and shares at |R| = 1, c + 2 and n."""
    rosters = (1, PLAN.colluders + 2, len(FORCES))
    return {
        "contract_sha256": contract().digest.hex(),
        "text": PLAN.text(),
        "digest": PLAN.digest.hex(),
        "blinded": blinded(fixed("nonce"), PLAN.digest).hex(),
        "completed": {str(roster): PLAN.completed_digest(roster).hex() for roster in rosters},
        "shares_in_2^-16": {str(r): [int(b.share(r, PLAN.colluders) * 2**16) for b in PLAN.blocks] for r in rosters},
    }


def whole_question() -> Question:
    """Every kind of measure with and without a filter, a bin and a quarter as keys, three tables."""
    known = Range("age", None, None)
    measures = (
        Measure(MeasureKind.COUNT, where=known),
        Measure(MeasureKind.SUM, "age", centre=55),
        Measure(MeasureKind.SQUARES, "age", centre=55, offset=1512),
        Measure(MeasureKind.HISTOGRAM, "age", where=Member("role", ("victim",)), widths=(1, 12)),
        Measure(MeasureKind.COUNT_UNIT),
    )
    keys = (Key("loss_gbp", Grain.BIN, 2500), Key("recorded", Grain.QUARTER))
    tables = (Grouping((0, 1)), Grouping((0,)), Grouping(()))
    return Question("nominals", 1, measures, None, keys, FORCES, tables)


def tables() -> dict[str, Any]:
    """The encoding, the digest and the base plan of a question of several tables."""
    return asked_vector(whole_question())


def product_question() -> Question:
    """Products of two numbers, with centres, with one and without, and one with a filter."""
    pair = {"column": "age", "other": "loss_gbp"}
    measures = (
        Measure(MeasureKind.PRODUCTS, **pair, centre=55, other_centre=2500),
        Measure(MeasureKind.PRODUCTS, **pair, other_centre=2500),
        Measure(MeasureKind.PRODUCTS, **pair, where=Member("role", ("victim",))),
    )
    return Question("nominals", 1, measures, None, (Key("role"),), FORCES)


def products() -> dict[str, Any]:
    """The encoding, the digest and the base plan of a question of products."""
    return asked_vector(product_question())


def asked_vector(asked: Question) -> dict[str, Any]:
    """A question, its encoding, its digest and its base plan at an even split."""
    parts = len(outline(asked, contract(), most_cells=10_000).parts)
    plan = make_plan(asked, split_evenly(RHO, parts), contract(), colluders=1, most_cells=10_000)
    return {
        "question": plain(asked),
        "question_bytes": codec.encode(asked).hex(),
        "question_digest": question_digest(asked).hex(),
        "text": plan.text(),
        "digest": plan.digest.hex(),
    }


def shares() -> dict[str, Any]:
    """Sigma of one force's share for 43 forces and 14 colluders, over sensitivities and costs."""
    found = []
    for d_squared in (Fraction(1), Fraction(3), Fraction(9), Fraction(15_000**2), Fraction(1, 3)):
        for nano in (1, 1000, 14_973_057, 10**9):
            scale = fixed_point_scale(d_squared, Rho(nano), forces=43, colluders=14)
            at = {
                str(roster): int(share_sigma(d_squared, Rho(nano), scale=scale, roster=roster, colluders=14) * 2**16)
                for roster in (1, 16, 43)
            }
            found.append(
                {"d_squared": str(d_squared), "nano_rho": nano, "scale": scale, "shares_in_2^-16_by_roster": at}
            )
    return {"forces": 43, "colluders": 14, "shares": found}


def transcripts() -> dict[str, Any]:
    """A transcript hash, and the parts that it is made of."""
    roster = {force: fixed(f"ready payload of {force}", 50) for force in FORCES}
    made = transcript_hash(
        query_payload=QUERY_ENVELOPE.payload, attempt=1, manifest=Digest(fixed("manifest")),
        contract=contract().digest, completed_plan=PLAN.completed_digest(3), roster=roster,
    )  # fmt: skip
    return {
        "query_payload": QUERY_ENVELOPE.payload.hex(),
        "attempt": 1,
        "manifest": fixed("manifest").hex(),
        "contract": contract().digest.hex(),
        "completed_plan": PLAN.completed_digest(3).hex(),
        "roster": {force: payload.hex() for force, payload in roster.items()},
        "transcript_hash": made.hex(),
    }


def mask_vectors() -> dict[str, Any]:
    """Pair keys, streams and masked vectors of three forces, at both moduli."""
    private = {force: X25519PrivateKey.from_private_bytes(fixed(f"ephemeral {force}")) for force in FORCES}
    public = {force: key.public_key().public_bytes_raw() for force, key in private.items()}
    transcript = Digest(fixed("transcript"))
    sets = []
    for parameters in (SMALL, WIDE):
        masked = {}
        for force in FORCES:
            pairs = masks.agree(
                force, private[force], public, transcript=transcript, modulus=parameters.modulus, length=20
            )
            vector = np.arange(20, dtype=np.uint64)
            masked[force] = {
                "pair_keys": {peer: key.hex() for peer, key in pairs.items()},
                "masked": masks.mask(vector, force, pairs, parameters.modulus).tolist(),
            }
        stream = keystream.uniform(fixed("stream key"), parameters.modulus, 30).tolist()
        sets.append({"modulus": parameters.modulus, "forces": masked, "stream_of_the_stream_key": stream})
    return {
        "private_keys": {force: fixed(f"ephemeral {force}").hex() for force in FORCES},
        "public_keys": {force: key.hex() for force, key in public.items()},
        "transcript_hash": transcript.hex(),
        "vector": list(range(20)),
        "stream_key": fixed("stream key").hex(),
        "sets": sets,
    }


def check_cell_vectors() -> dict[str, Any]:
    """The three check cells of a vector, at both moduli."""
    transcript, seed = Digest(fixed("transcript")), fixed("check seed")
    cells = [-5, 0, 7, 123_456, -99_999]
    sets = [
        {
            "modulus": p.modulus,
            "vector": check.with_check_cells(
                keystream.residues(cells, p.modulus), seed, transcript, p.modulus
            ).tolist(),
        }
        for p in (SMALL, WIDE)
    ]
    return {"seed": seed.hex(), "transcript_hash": transcript.hex(), "cells": cells, "sets": sets}


def seeds() -> dict[str, Any]:
    """The context that a check seed is sealed in, and the hash that is signed of it."""
    made = seal_context(
        force="essex", analyst_key_id=ANALYST.key_id, question=question_digest(question()), nonce=fixed("nonce"),
        bfv_key_hash=Digest(fixed("bfv key hash")), seed=seed_hash(fixed("check seed")),
    )  # fmt: skip
    return {"seed": fixed("check seed").hex(), "seed_hash": seed_hash(fixed("check seed")).hex(), "info": made.hex()}


def ciphertexts() -> dict[str, Any]:
    """Addition of ciphertexts in canonical form; the whole bytes are named by their SHA-256."""
    sets = []
    for parameters in (SMALL, WIDE):
        shape = (2, len(parameters.moduli), parameters.slots)
        parts = []
        for at in range(2):
            raw = np.frombuffer(fixed(f"ciphertext {parameters.name} {at}", 8 * int(np.prod(shape))), dtype="<u8")
            moduli = np.array(parameters.moduli, dtype=np.uint64).reshape(1, -1, 1)
            parts.append(raw.reshape(shape) % moduli)
        packed = [ciphertext.pack(part, parameters.moduli) for part in parts]
        total = ciphertext.pack(ciphertext.add(*parts, parameters), parameters.moduli)
        sets.append(
            {
                "parameter_set": parameters.name,
                "slots": parameters.slots,
                "moduli": list(parameters.moduli),
                "bytes": len(total),
                "sha256_of_parts": [hashlib.sha256(part).hexdigest() for part in packed],
                "first_bytes_of_parts": [part[:32].hex() for part in packed],
                "sha256_of_sum": hashlib.sha256(total).hexdigest(),
                "first_bytes_of_sum": total[:32].hex(),
            }
        )
    how = "coefficients: SHAKE-256('cordon test vector ciphertext NAME AT') as little-endian 64-bit words, each mod q"
    return {"how": how, "sets": sets}


def register() -> dict[str, Any]:
    """Leaves that a register adds, what stays at a force, and the tree with its proofs and checkpoints."""
    limits = [Rho(nano) for nano in (4 * 10**8, 2 * 10**9, 10**8, 2 * 10**8, 5 * 10**7, 8 * 10**7)]
    models: list[tuple[Any, KeySigner]] = [
        (ManifestAdopted(1, Digest(fixed("manifest"))), COORDINATOR),
        (BudgetStatement("essex", 2, Digest(fixed("previous")), "stop_records", *limits, 7, AT), ESSEX),
        (Erasure(12, Ground.RIGHT_TO_ERASURE, AT), GOVERNANCE),
        (PublishedAnswer(QUERY_HASH, 1, Digest(fixed("answer"))), ANALYST),
        (Vouch("essex", (fixed("challenge"), fixed("challenge of kent")), Checkpoint(9, Digest(fixed("root")))), ESSEX),
        (Approval(QUERY_HASH, "essex", Verdict.APPROVE, "", AT), OFFICER),
        (Pause("essex", True, AT), OFFICER),
    ]
    leaves = [number.to_bytes(2, "big") for number in range(11)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]

    def node(level: int, index: int) -> Digest:
        return merkle.Frontier().extended(hashes[index << level : (index + 1) << level]).root

    roots = [merkle.root_of(size, node) for size in range(1, len(leaves) + 1)]
    public = COORDINATOR._private.public_key()
    checkpoints = [Checkpoint(0, merkle.EMPTY_ROOT), Checkpoint(11, roots[-1])]
    return {
        "public_key": public.public_bytes_raw().hex(),
        "models": [signed_vector(model, signer) for model, signer in models],
        "tree": {
            "leaves": [leaf.hex() for leaf in leaves],
            "roots": [root.hex() for root in roots],
            "inclusion": [
                {"index": at, "size": size, "hashes": [h.hex() for h in merkle.inclusion_proof(at, size, node)]}
                for at, size in ((0, 1), (0, 8), (5, 8), (8, 9), (6, 11), (10, 11))
            ],
            "consistency": [
                {"old": old, "new": new, "hashes": [h.hex() for h in merkle.consistency_proof(old, new, node)]}
                for old, new in ((1, 2), (3, 7), (4, 8), (6, 8), (8, 11), (11, 11))
            ],
        },
        "checkpoints": [
            {
                "origin": ORIGIN, "size": item.size, "root": item.root.hex(), "time": AT,
                "note": write_checkpoint(ORIGIN, item, public, COORDINATOR, AT).decode(),
            }
            for item in checkpoints
        ],
    }  # fmt: skip


def notes() -> dict[str, Any]:
    """What nodes say: Hello and Ready; and a decision's text."""
    held = HeldContract(
        "nominals", 1, contract().digest, "2025-01-31", "2024-01", "2024-12", fixed("load id", 16), "synthetic persons"
    )
    hello = Hello(
        "essex", 1, (), (held,), 1, Digest(fixed("manifest")), Checkpoint(), 3, fixed("challenge"), AT
    )  # fmt: skip
    public = X25519PrivateKey.from_private_bytes(fixed("ephemeral essex")).public_key().public_bytes_raw()
    ready = Ready(
        QUERY_HASH, 1, "essex", public, Digest(fixed("manifest")), blinded(fixed("nonce"), PLAN.digest), 1,
        Checkpoint(), AT + 35, 17,
    )  # fmt: skip
    return {
        "hello": signed_vector(hello, ESSEX),
        "ready": signed_vector(ready, ESSEX),
        "text": {
            "salt": fixed("salt").hex(),
            "text": "this force has paused its node",
            "commitment": text_commitment(fixed("salt"), "this force has paused its node").hex(),
        },
        "tagged_digest": {
            "tag": "cordon/v1/example",
            "parts": ["", "00", "636f72646f6e"],
            "digest": tagged_digest("cordon/v1/example", b"", b"\0", b"cordon").hex(),
        },
    }


def bad() -> dict[str, Any]:
    """Payloads that must be refused, each named for what is wrong with it, with the error's class."""
    receipt = receipt_model(
        {n: Digest(fixed(n)) for n in ("transcript", "ciphertext", "sum", "plan", "previous", "text")}
    )
    good = codec.encode(receipt)
    question_bytes = codec.encode(question())
    first, rest = good[:7], good[7:]
    decision = codec.encode(Decision(QUERY_HASH, "essex", 0, Outcome.ADMITTED, DeclineCode.NOT_DECLINED, NO_DIGEST, AT))
    cases = [
        ("receipt_bad_unknown_field", "Receipt", good + b"\x9a\x06\x01x", "Unsupported"),
        ("receipt_bad_unknown_field_in_checkpoint", "Receipt", good.replace(b"\x82\x01\x24", b"\x82\x01\x26", 1) + b"\x18\x01", "Unsupported"),
        ("receipt_bad_fields_out_of_order", "Receipt", rest + first, "Malformed"),
        ("receipt_bad_truncated", "Receipt", good[:-3], "Malformed"),
        ("receipt_bad_missing_checkpoint", "Receipt", good[: good.index(b"\x82\x01")], "Malformed"),
        ("receipt_bad_short_digest", "Receipt", good.replace(b"\x12\x20" + QUERY_HASH, b"\x12\x1f" + QUERY_HASH[:31], 1), "Malformed"),
        ("receipt_bad_field_twice", "Receipt", good[:7] + good, "Malformed"),
        ("decision_bad_unknown_outcome", "Decision", decision.replace(b"\x20\x01", b"\x20\x09", 1), "Unsupported"),
        ("decision_bad_default_written_out", "Decision", decision.replace(b"\x20\x01", b"\x18\x00\x20\x01", 1), "Malformed"),
        ("decision_bad_outcome_unspecified", "Decision", decision.replace(b"\x20\x01", b"", 1), "Unsupported"),
        ("question_bad_unknown_predicate", "Question", question_bytes.replace(b"\x22", b"\x22\x00\x22", 1), "Malformed"),
        ("question_bad_forces_unsorted", "Question", codec.encode(question()).replace(b"\x32\x05essex\x32\x04kent", b"\x32\x04kent\x32\x05essex", 1), "Malformed"),
        ("question_bad_force_name", "Question", codec.encode(question()).replace(b"essex", b"ESSEX", 1), "Malformed"),
        ("question_bad_empty", "Question", b"", "Malformed"),
        ("question_bad_not_protobuf", "Question", b"\xff\xff\xff", "Malformed"),
    ]  # fmt: skip
    return {
        "payloads": [
            {"name": name, "message": message, "payload": payload.hex(), "expect": expect}
            for name, message, payload, expect in cases
        ],
        "ephemeral_keys": [
            {"name": "bit_255_set", "key": (b"\x09" + bytes(30) + b"\x80").hex()},
            {"name": "equal_to_p", "key": (2**255 - 19).to_bytes(32, "little").hex()},
            {"name": "above_p", "key": (2**255 - 1).to_bytes(32, "little").hex()},
            {"name": "too_short", "key": bytes(31).hex()},
        ],
        "low_order_keys": [key.to_bytes(32, "little").hex() for key in (0, 1)],
        "payload_of_another_type": {
            "expect": "Untrusted",
            "payload_type": PAYLOAD_TYPES[Ready],
            "envelope": codec.encode_envelope(replace(sign(receipt, ESSEX), payload_type=PAYLOAD_TYPES[Ready])).hex(),
        },
    }


FILES = {
    "envelopes": envelopes, "leaves": leaves, "ledger": ledger, "questions": questions, "plans": plans,
    "shares": shares, "transcripts": transcripts, "masks": mask_vectors, "check_cells": check_cell_vectors,
    "seeds": seeds, "ciphertexts": ciphertexts, "notes": notes, "bad": bad, "register": register,
    "tables": tables,
    "products": products,
}  # fmt: skip


def make(folder: Path) -> None:
    """Write every file."""
    for name, made in FILES.items():
        content = {"provenance": PROVENANCE} | made()
        (folder / f"{name}.json").write_text(
            json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
