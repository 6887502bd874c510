"""Everything between a force's records and an opened answer, without the network and the ledgers."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.contract import Contract
from cordon.noise import add_noise_share
from cordon.query.model import Key, Measure, Question
from cordon.query.plan import Plan, make_plan
from cordon.sealing import bfv, check, ciphertext, keystream, masks
from cordon.units import Digest, Rho
from node.aggregate import Snapshot
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

CODES = 64
FORCES = tuple(f"force-{at}" for at in range(8))


def contract() -> Contract:
    """Persons with one row each, two keys of 64 codes and two bounded numbers, read from the same column."""
    codes = ", ".join(f'{{ code = "c{at}", label = "C{at}" }}' for at in range(CODES - 1))
    codes += ', { code = "unknown", label = "Unknown" }'
    keys = "".join(
        f'[[column]]\nkind = "category"\nname = "{name}"\ntitle = "Key"\ncodes = [{codes}]\n'
        for name in ("first", "second")
    )
    return Contract.from_toml(
        f"""
dataset = "events"
version = 1
title = "Events"
description = "For tests"
source = "none"
licence = "none"
[unit]
kind = "person"
words = "one person"
max_rows_per_unit = 1
max_rows_per_force = 4096
rows_without_unit = "own unit"
caveat = "Somebody who is known to F forces is protected F squared times less in a national total."
[[column]]
kind = "identifier"
name = "person"
title = "Person"
use = "unit"
[[column]]
kind = "number"
name = "loss"
title = "Loss"
unit = "GBP"
min = "0"
max = "4"
resolution = "1"
[[column]]
kind = "number"
name = "toll"
title = "Toll"
unit = "GBP"
min = "-1"
max = "3"
resolution = "1"
{keys}""".encode()
    )


def snapshot(folder: Path, rows: list[tuple[str, str, str, int]]) -> Snapshot:
    """Load (person, first, second, loss) rows as a force does, and open the snapshot."""
    folder.mkdir(parents=True)
    source = folder / "events.csv"
    source.write_text("person,first,second,loss\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    mapping = Mapping(
        dataset="events", version=1, domain="events", source=source, as_at=date(2026, 1, 1),
        first_month="2025-01", last_month="2025-12",
        columns={name: {"source": name} for name in ("person", "first", "second", "loss")} | {"toll": {"source": "loss"}},
    )  # fmt: skip
    load(mapping, contract(), folder, progress=lambda _: None)
    return Snapshot(snapshot_path(folder, "events", 1), contract())


def plan(measures: tuple[Measure, ...], roster: int, shares: tuple[Rho, ...]) -> Plan:
    """Measures over 4,096 groups; each block has its own share of the cost."""
    question = Question("events", 1, measures, None, (Key("first"), Key("second")), FORCES[:roster])
    return make_plan(question, shares, contract(), colluders=1, most_cells=16 * CODES * CODES)


def release(plan: Plan, exact: list[list[int]], *, off_by: float = 1.0, known: int = 0) -> list[int]:
    """The opened sum in scaled units: noise, check cells, masks, encryption, addition, opening.

    Args:
        exact: each force's cells.
        off_by: what the noise is multiplied by, through a changed rho of the plan that the noise is drawn for.
        known: how many forces, the last ones, collude with whoever reads the sum: they subtract their noise, which
            is the same as adding none.
    """
    noisy = plan
    if off_by != 1.0:
        noisy = altered(plan, off_by)
    parameters, modulus = plan.parameters, plan.parameters.modulus
    opener = bfv.Opener(parameters)
    sealer = bfv.Sealer(opener.public_key(), parameters)
    seed, transcript = os.urandom(32), Digest(os.urandom(32))
    private = {force: X25519PrivateKey.generate() for force in FORCES[: len(exact)]}
    public = {force: key.public_key().public_bytes_raw() for force, key in private.items()}
    total: list = [None] * plan.ciphertexts
    for at, ((force, key), cells) in enumerate(zip(private.items(), exact, strict=True)):
        colludes = at >= len(exact) - known
        noised = keystream.residues(
            scaled(cells, plan) if colludes else add_noise_share(cells, noisy, len(exact)), modulus
        )
        vector = check.with_check_cells(noised, seed, transcript, modulus)
        pairs = masks.agree(force, key, public, transcript=transcript, modulus=modulus, length=len(vector))
        for number, chunk in enumerate(sealer.seal(masks.mask(vector, force, pairs, modulus))):
            part = ciphertext.unpack(chunk, parameters, parameters.moduli)
            total[number] = part if total[number] is None else ciphertext.add(total[number], part, parameters)
    opened = opener.open([ciphertext.pack(part, parameters.moduli) for part in total])
    return check.verify_opened(
        opened, cells=plan.cells, seed=seed, transcript=transcript, roster=len(exact), parameters=parameters
    )


def scaled(cells: list[int], plan: Plan) -> list[int]:
    """Cells without noise, as they would travel."""
    return [cell * block.scale for block in plan.blocks for cell in cells[block.start : block.start + block.cells]]


def altered(plan: Plan, off_by: float) -> Plan:
    """The same plan, whose noise is `off_by` times as large."""
    blocks = tuple(replace(b, rho=Rho(round(Fraction(b.rho.nano) / Fraction(off_by) ** 2))) for b in plan.blocks)
    return replace(plan, blocks=blocks)
