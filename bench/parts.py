"""CPU of one node's parts of one query, in one process, for 43 forces and about 1,000 cells."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.accounting import rho_for_epsilon
from cordon.contract import Contract
from cordon.envelope import KeySigner, key_id
from cordon.noise import add_noise_share
from cordon.query.plan import CHECK_CELLS, make_plan, split_evenly
from cordon.query.sql import parse_sql
from cordon.register.leaf import Checkpoint
from cordon.sealing import masks
from cordon.sealing.bfv import Opener, Sealer
from cordon.sealing.check import with_check_cells
from cordon.sealing.keystream import residues
from cordon.units import Digest
from cordon.wire.messages import Ready
from cordon.wire.signed import open_signed, sign
from node.aggregate import Snapshot

FORCES = 43
COLLUDERS = 14
REPEATS = 15


def measure(snapshot_path: Path, contract: Contract, sql: str) -> list[tuple[str, float]]:
    """(part, milliseconds of CPU) of one node: medians of several repetitions."""
    forces = [f"force-{at:02d}" for at in range(FORCES)]
    question = parse_sql(sql, {contract.dataset: contract}, forces).question
    rho = rho_for_epsilon(1, 1e-9)  # type: ignore[arg-type]

    def plan_it():  # type: ignore[no-untyped-def]  # noqa: ANN202
        return make_plan(question, split_evenly(rho, 1), contract, colluders=COLLUDERS, most_cells=100_000)

    plan = plan_it()
    modulus, length = plan.parameters.modulus, plan.cells + CHECK_CELLS
    snapshot = Snapshot(snapshot_path, contract)
    private = {force: X25519PrivateKey.generate() for force in forces}
    keys = {force: key.public_key().public_bytes_raw() for force, key in private.items()}
    transcript, seed = Digest(os.urandom(32)), os.urandom(32)
    public_key = Opener(plan.parameters).public_key()
    sealer = Sealer(public_key, plan.parameters)
    signing = Ed25519PrivateKey.generate()
    signer, ring = KeySigner(signing), {key_id(signing.public_key()): signing.public_key()}
    note = sign(Ready(transcript, 1, forces[0], keys[forces[0]], transcript, transcript, 1, Checkpoint(), 9, 1), signer)
    own = forces[20]

    def agreed():  # type: ignore[no-untyped-def]  # noqa: ANN202
        return masks.agree(own, private[own], keys, transcript=transcript, modulus=modulus, length=length)

    pairs = agreed()
    cells = snapshot.aggregate(replace(plan), own)
    noised = residues(add_noise_share(cells, plan, FORCES), modulus)
    vector = with_check_cells(noised, seed, transcript, modulus)
    parts: list[tuple[str, Callable[[], object]]] = [
        ("plan", plan_it),
        (f"verify {FORCES} Ready notes", lambda: [open_signed(Ready, note, ring) for _ in forces]),
        ("aggregate over the snapshot", lambda: snapshot.aggregate(plan, own)),
        (f"exact discrete Gaussian noise, {plan.cells} cells", lambda: add_noise_share(cells, plan, FORCES)),
        (f"X25519 and HKDF with {FORCES - 1} peers", agreed),
        (f"masks of {FORCES - 1} pairs", lambda: masks.mask(vector, own, pairs, modulus)),
        ("check cells", lambda: with_check_cells(noised, seed, transcript, modulus)),
        ("load the public key", lambda: Sealer(public_key, plan.parameters)),
        ("encrypt and pack", lambda: sealer.seal(vector)),
    ]
    return [(name, _milliseconds(work)) for name, work in parts]


def _milliseconds(work: Callable[[], object]) -> float:
    work()
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        found.append(1000 * (time.process_time() - start))
    return median(found)
