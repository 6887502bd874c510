"""The pure core in one process: plan, noise, check cells, masks, BFV, and back."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.contract import Contract
from cordon.query.model import Grain, Key, Measure, MeasureKind, Question
from cordon.query.plan import SMALL, WIDE, make_plan, split_evenly
from cordon.sealing import bfv, check, ciphertext, keystream, masks
from cordon.units import Digest, Rho

CONTRACT = b"""
dataset = "events"
version = 1
title = "Events"
description = "For tests"
source = "none"
licence = "none"
[unit]
kind = "row"
words = "one row"
max_rows_per_unit = 1
max_rows_per_force = 1000
caveat = "a row is not a person"
[[column]]
kind = "category"
name = "colour"
title = "Colour"
codes = [{ code = "red", label = "Red" }, { code = "unknown", label = "Unknown" }]
[[column]]
kind = "date"
name = "day"
title = "Day"
grain = "day"
min = 2025-01-01
max = 2025-12-31
"""


@pytest.mark.parametrize("parameters", [SMALL, WIDE])
def test_masked_sum_opens_to_the_sum_of_the_vectors(parameters):
    """Masks cancel over the roster, and the opened sum passes its check cells."""
    opener = bfv.Opener(parameters)
    sealer = bfv.Sealer(opener.public_key(), parameters)
    seed, transcript, modulus = os.urandom(32), Digest(os.urandom(32)), parameters.modulus
    private = {f"force-{at}": X25519PrivateKey.generate() for at in range(5)}
    public = {force: key.public_key().public_bytes_raw() for force, key in private.items()}
    masks.check_ephemeral_keys(public)
    cells = [(at - 50) * 7 for at in range(100)]

    total = None
    for force, key in private.items():
        vector = check.with_check_cells(keystream.residues(cells, modulus), seed, transcript, modulus)
        pairs = masks.agree(force, key, public, transcript=transcript, modulus=modulus, length=len(vector))
        (chunk,) = sealer.seal(masks.mask(vector, force, pairs, modulus))
        polynomials = ciphertext.unpack(chunk, parameters, parameters.moduli)
        total = polynomials if total is None else ciphertext.add(total, polynomials, parameters)

    opened = opener.open([ciphertext.pack(total, parameters.moduli)])
    answer = check.verify_opened(opened, cells=100, seed=seed, transcript=transcript, roster=5, parameters=parameters)
    assert answer == [5 * cell for cell in cells]


def test_plan_names_its_cells_in_product_order():
    """The first key varies slowest, and months come from the contract's public range."""
    contract = Contract.from_toml(CONTRACT)
    question = Question(
        "events",
        1,
        (Measure(MeasureKind.COUNT),),
        None,
        (Key("force"), Key("colour"), Key("day", Grain.MONTH)),
        ("essex", "kent"),
    )
    plan = make_plan(question, split_evenly(Rho(10**7), 1), contract, colluders=1, most_cells=100)

    assert plan.cells == 2 * 2 * 12
    assert plan.rows[0] == ("essex", "red", "2025-01")
    assert plan.rows[-1] == ("kent", "unknown", "2025-12")
