"""Keys, ciphertexts, check cells, sealed seeds, the stream and the noise: what they hold and what they refuse."""

import math
import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from examples import person_contract
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from cordon.errors import Malformed, Untrusted
from cordon.noise import add_noise_share, local_rho
from cordon.query.plan import SMALL, WIDE, make_plan, split_evenly
from cordon.query.sql import parse_sql
from cordon.sealing import bfv, check, ciphertext, keystream
from cordon.sealing.seed import SEALED_BYTES, open_seed, seal_context, seal_seed, seed_hash
from cordon.units import NANO, Digest, Rho

SETS = pytest.mark.parametrize("parameters", [SMALL, WIDE], ids=["small", "wide"])
OPENERS = {parameters: bfv.Opener(parameters) for parameters in (SMALL, WIDE)}
PUBLIC = {parameters: opener.public_key() for parameters, opener in OPENERS.items()}
TRANSCRIPT = Digest(bytes(32))


def summed(chunks, parameters):
    """The canonical ciphertext of a sum."""
    total = None
    for chunk in chunks:
        polynomials = ciphertext.unpack(chunk, parameters, parameters.moduli)
        total = polynomials if total is None else ciphertext.add(total, polynomials, parameters)
    return ciphertext.pack(total, parameters.moduli)


# BFV


@SETS
def test_sums_at_the_edge_of_the_modulus_come_back(parameters):
    """The largest and the smallest total that have a sign of their own open exactly; one more wraps."""
    t, sealer = parameters.modulus, bfv.Sealer(PUBLIC[parameters], parameters)
    most = (t - 1) // 2
    rows = [[most - 5, -most + 3, most, 0, -1], [5, -3, 1, 0, 0]]
    chunks = [sealer.seal(keystream.residues(row, t))[0] for row in rows]
    opened = OPENERS[parameters].open([summed(chunks, parameters)])
    assert keystream.centred(opened[:5], t) == [most, -most, -most, 0, -1]
    assert not opened[5:].any()


@SETS
def test_a_sum_of_many_ciphertexts_still_opens(parameters):
    """A hundred full ciphertexts, more than there are forces, add up within the noise that BFV has room for."""
    t, sealer = parameters.modulus, bfv.Sealer(PUBLIC[parameters], parameters)
    vector = keystream.uniform(bytes(32), t, parameters.slots)
    (chunk,) = sealer.seal(vector)
    again = [chunk, *sealer.seal(vector)] * 50
    opened = OPENERS[parameters].open([summed(again, parameters)])
    assert opened.tolist() == [100 * value % t for value in vector.tolist()]


@SETS
def test_a_vector_fills_as_many_ciphertexts_as_it_needs(parameters):
    """N cells make one ciphertext, N + 1 make two, and each has the canonical size."""
    sealer = bfv.Sealer(PUBLIC[parameters], parameters)
    for cells, chunks in ((1, 1), (parameters.slots, 1), (parameters.slots + 1, 2)):
        sealed = sealer.seal(np.ones(cells, np.uint64))
        assert [len(chunk) for chunk in sealed] == [ciphertext.packed_size(parameters, parameters.moduli)] * chunks
        assert OPENERS[parameters].open(sealed).tolist() == [1] * cells + [0] * (chunks * parameters.slots - cells)


@SETS
def test_encryption_is_not_deterministic(parameters):
    """The same vector under the same key is another ciphertext each time, and a key is another key."""
    sealer = bfv.Sealer(PUBLIC[parameters], parameters)
    vector = np.zeros(3, np.uint64)
    assert sealer.seal(vector) != sealer.seal(vector)
    assert OPENERS[parameters].public_key() != PUBLIC[parameters]


@SETS
def test_another_key_opens_nothing(parameters):
    """Under another secret key a sum is noise or refused, never the vector."""
    (chunk,) = bfv.Sealer(PUBLIC[parameters], parameters).seal(np.ones(parameters.slots, np.uint64))
    try:
        opened = bfv.Opener(parameters).open([chunk])
    except Untrusted:
        return
    assert (opened == 1).mean() < 0.01


@SETS
def test_a_stored_secret_key_opens_what_the_first_one_did(parameters):
    """The secret survives the disk."""
    (chunk,) = bfv.Sealer(PUBLIC[parameters], parameters).seal(np.arange(7, dtype=np.uint64))
    restored = bfv.Opener(parameters, OPENERS[parameters].secret)
    assert restored.open([chunk])[:7].tolist() == list(range(7))


def changes(data: bytes):
    """Ways in which bytes come damaged: cut, longer, changed in places, exchanged for others."""
    places = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(1, 255)), min_size=1, max_size=4)
    return st.one_of(
        st.integers(0, len(data) - 1).map(lambda end: data[:end]),
        st.binary(min_size=1, max_size=9).map(lambda more: data + more),
        places.map(lambda found: changed(data, found)),
        st.binary(max_size=64),
        st.just(b"\xff" * len(data)),
    )


def changed(data, places):
    """`data` with some bytes changed."""
    copy = bytearray(data)
    for at, by in places:
        copy[at] ^= by
    return bytes(copy)


@SETS
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_damaged_keys_and_ciphertexts_are_refused_or_harmless(parameters, data):
    """Whatever a stranger sends, there is an error of ours or a result, and never a crash."""
    (chunk,) = bfv.Sealer(PUBLIC[parameters], parameters).seal(np.ones(9, np.uint64))
    with suppress(Malformed):
        sealer = bfv.Sealer(data.draw(changes(PUBLIC[parameters])), parameters)
        assert len(sealer.seal(np.ones(9, np.uint64))) == 1
    with suppress(Malformed, Untrusted):
        assert len(OPENERS[parameters].open([data.draw(changes(chunk))])) == parameters.slots
    with suppress(Malformed, Untrusted):
        opener = bfv.Opener(parameters, data.draw(changes(OPENERS[parameters].secret)))
        assert len(opener.open([chunk])) == parameters.slots


@SETS
def test_a_coefficient_at_its_modulus_is_malformed(parameters):
    """Each coefficient has one form: a multiple of the modulus more is refused, in keys and in ciphertexts."""
    for data, moduli in (
        (PUBLIC[parameters], parameters.key_moduli),
        (bytes(ciphertext.packed_size(parameters, parameters.moduli)), parameters.moduli),
    ):
        width = (moduli[0].bit_length() + 7) // 8
        with pytest.raises(Malformed, match="not below its modulus"):
            ciphertext.unpack(moduli[0].to_bytes(width, "little") + data[width:], parameters, moduli)
        assert (
            ciphertext.unpack((moduli[0] - 1).to_bytes(width, "little") + data[width:], parameters, moduli) is not None
        )


@SETS
@pytest.mark.parametrize("kind", ["empty", "half", "text", "other set", "ciphertext"])
def test_what_is_no_secret_key_is_malformed(parameters, kind):
    """A damaged or foreign key file is named as such when it is loaded."""
    whole = OPENERS[parameters].secret
    (chunk,) = bfv.Sealer(PUBLIC[parameters], parameters).seal(np.ones(9, np.uint64))
    secret = {
        "empty": b"", "half": whole[: len(whole) // 2], "text": b"not a key " * 20,
        "other set": OPENERS[WIDE if parameters is SMALL else SMALL].secret, "ciphertext": chunk,
    }[kind]  # fmt: skip
    with pytest.raises(Malformed):
        bfv.Opener(parameters, secret)


def test_keys_of_the_other_set_are_malformed():
    """A public key belongs to one parameter set."""
    for mine, other in ((SMALL, WIDE), (WIDE, SMALL)):
        with pytest.raises(Malformed, match="bytes of coefficients"):
            bfv.Sealer(PUBLIC[other], mine)


# Ciphertexts


@SETS
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_packing_and_unpacking_lose_nothing(parameters, seed):
    """Coefficients come back, in a form of one size."""
    source = np.random.default_rng(seed)
    rows = [source.integers(0, q, parameters.slots, dtype=np.uint64) for q in parameters.moduli * 2]
    polynomials = np.array(rows).reshape(2, len(parameters.moduli), parameters.slots)
    packed = ciphertext.pack(polynomials, parameters.moduli)
    assert len(packed) == ciphertext.packed_size(parameters, parameters.moduli)
    assert np.array_equal(ciphertext.unpack(packed, parameters, parameters.moduli), polynomials)


@SETS
def test_addition_is_that_of_the_plaintexts_whatever_their_order(parameters):
    """Sums that we add without a key are what SEAL decrypts of them."""
    t, sealer = parameters.modulus, bfv.Sealer(PUBLIC[parameters], parameters)
    vectors = [keystream.uniform(bytes([at]) * 32, t, 50) for at in range(4)]
    chunks = [sealer.seal(vector)[0] for vector in vectors]
    expected = [sum(int(vector[at]) for vector in vectors) % t for at in range(50)]
    assert OPENERS[parameters].open([summed(chunks, parameters)])[:50].tolist() == expected
    assert summed(chunks, parameters) == summed(chunks[::-1], parameters)


def test_a_digest_is_over_the_ciphertexts_in_order():
    """Two contributions with the same parts in another order are two contributions."""
    assert ciphertext.chunks_digest([b"a", b"b"]) != ciphertext.chunks_digest([b"b", b"a"])


# Check cells


def opened_sum(parameters, roster=3):
    """Decrypted slots of an honest sum over `roster` forces, its seed and its cells."""
    t, seed = parameters.modulus, os.urandom(32)
    cells = [7, -5, 0, 12345]
    vector = check.with_check_cells(keystream.residues(cells, t), seed, TRANSCRIPT, t)
    slots = np.zeros(parameters.slots, np.uint64)
    slots[: len(vector)] = [roster * value % t for value in vector.tolist()]
    return slots, seed, [roster * cell for cell in cells]


def verified(slots, parameters, seed, transcript=TRANSCRIPT, roster=3, cells=4):
    """What `verify_opened` says of slots."""
    return check.verify_opened(
        slots, cells=cells, seed=seed, transcript=transcript, roster=roster, parameters=parameters
    )


@SETS
def test_an_honest_sum_passes(parameters):
    """Tags and constant add up with the cells."""
    slots, seed, cells = opened_sum(parameters)
    assert verified(slots, parameters, seed) == cells


@SETS
def test_any_changed_slot_is_noticed(parameters):
    """A change of one in any cell, the constant, a tag or the padding fails, and the message tells no value."""
    slots, seed, _ = opened_sum(parameters)
    for at in (0, 3, 4, 5, 6, 7, parameters.slots - 1):
        other = slots.copy()
        other[at] = (int(other[at]) + 1) % parameters.modulus
        with pytest.raises(Untrusted, match="changed on the way") as refusal:
            verified(other, parameters, seed)
        assert not any(character.isdigit() for character in str(refusal.value))


@SETS
def test_a_sum_of_another_attempt_roster_or_seed_fails(parameters):
    """Tags are bound to the transcript, the seed and the roster's size, and a vector cut short has none."""
    slots, seed, _ = opened_sum(parameters)
    for wrong in (
        {"transcript": Digest(b"\x01" * 32)}, {"seed": os.urandom(32)}, {"roster": 2}, {"roster": 4}, {"cells": 3},
        {"cells": 5}, {"slots": slots[:6]},
    ):  # fmt: skip
        arguments = {"slots": slots, "parameters": parameters, "seed": seed} | wrong
        with pytest.raises(Untrusted):
            verified(**arguments)


@SETS
def test_doubling_a_sum_fails_on_the_constant(parameters):
    """A linear change of everything keeps the tags and not the constant."""
    slots, seed, cells = opened_sum(parameters)
    doubled = np.array([2 * value % parameters.modulus for value in slots.tolist()], dtype=np.uint64)
    with pytest.raises(Untrusted, match="each force of the roster once"):
        verified(doubled, parameters, seed)
    assert verified(doubled, parameters, seed, roster=6) == [2 * cell for cell in cells]


# Seeds

FORCE_KEY = X25519PrivateKey.from_private_bytes(b"\x07" * 32)
SEED = bytes(range(32))
PARTS = {
    "force": "kent", "analyst_key_id": Digest(b"\x01" * 32), "question": Digest(b"\x02" * 32), "nonce": b"\x03" * 32,
    "bfv_key_hash": Digest(b"\x04" * 32), "seed": seed_hash(SEED),
}  # fmt: skip


def test_a_seed_opens_for_its_force_and_query_only():
    """The right key and context open it; each other context and key do not."""
    sealed = seal_seed(SEED, FORCE_KEY.public_key(), seal_context(**PARTS))
    assert len(sealed) == SEALED_BYTES
    assert open_seed(sealed, FORCE_KEY, seal_context(**PARTS), signed_hash=seed_hash(SEED)) == SEED
    for name, value in PARTS.items():
        other = "essex" if name == "force" else Digest(bytes(32))
        assert other != value
        with pytest.raises(Untrusted, match="not sealed to this force"):
            open_seed(sealed, FORCE_KEY, seal_context(**(PARTS | {name: other})), signed_hash=seed_hash(SEED))
    with pytest.raises(Untrusted, match="not sealed to this force"):
        open_seed(sealed, X25519PrivateKey.generate(), seal_context(**PARTS), signed_hash=seed_hash(SEED))


def test_one_force_cannot_be_given_another_seed():
    """A seed that opens and is not the one that was signed for all is refused."""
    context = seal_context(**PARTS)
    sealed = seal_seed(bytes(32), FORCE_KEY.public_key(), context)
    with pytest.raises(Untrusted, match="differs from the one"):
        open_seed(sealed, FORCE_KEY, context, signed_hash=seed_hash(SEED))


@given(st.binary(max_size=100) | st.binary(min_size=SEALED_BYTES, max_size=SEALED_BYTES))
def test_what_is_no_sealed_seed_is_untrusted(sealed):
    """Any bytes end in a refusal."""
    with pytest.raises(Untrusted):
        open_seed(sealed, FORCE_KEY, seal_context(**PARTS), signed_hash=seed_hash(SEED))


# The stream


@pytest.mark.parametrize("modulus", [SMALL.modulus, WIDE.modulus, 3 * 2**29 + 1, 3 * 2**40 + 1])
def test_the_stream_is_uniform(modulus):
    """Counts of 200,000 integers in 64 equal classes pass a chi-square test at 1e-9, also for moduli far below a power of two.

    The key is fixed, so the test says the same at each run.
    """
    numbers = keystream.uniform(b"\x05" * 32, modulus, 200_000)
    assert int(numbers.max()) < modulus
    classes = Counter(number * 64 // modulus for number in numbers.tolist())
    expected = 200_000 / 64
    statistic = sum((classes[at] - expected) ** 2 / expected for at in range(64))
    assert statistic < chi2.isf(1e-9, 63)
    # Words that are taken modulo t, instead of skipped, fail the same test where t lies far below a power of two.
    if modulus.bit_length() != (modulus * 5 // 4).bit_length():
        return
    folded = np.random.default_rng(1).integers(0, 2 ** modulus.bit_length(), 200_000, dtype=np.uint64) % np.uint64(
        modulus
    )
    classes = Counter(number * 64 // modulus for number in folded.tolist())
    assert sum((classes[at] - expected) ** 2 / expected for at in range(64)) > chi2.isf(1e-9, 63)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_shorter_stream_is_the_beginning_of_a_longer_one(first, second):
    """How much is asked for changes nothing of what comes out."""
    short, long = sorted((first, second))
    modulus = 3 * 2**29 + 1
    assert (
        keystream.uniform(bytes(32), modulus, long)[:short].tolist()
        == keystream.uniform(bytes(32), modulus, short).tolist()
    )


def test_keys_differ_by_secret_transcript_and_every_part():
    """No two ways of cutting the same bytes into parts give one key."""
    keys = [
        keystream.derive_key(b"s", TRANSCRIPT, b"a", b"b"), keystream.derive_key(b"s", TRANSCRIPT, b"ab"),
        keystream.derive_key(b"s", TRANSCRIPT, b"ab", b""), keystream.derive_key(b"t", TRANSCRIPT, b"ab"),
        keystream.derive_key(b"s", Digest(b"\x01" * 32), b"ab"),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


@SETS
@given(value=st.integers())
def test_residues_and_centred_are_inverse(parameters, value):
    """A signed integer below half the modulus comes back, any other as its nearest residue."""
    t = parameters.modulus
    (back,) = keystream.centred(keystream.residues([value], t), t)
    assert (back - value) % t == 0
    assert 2 * abs(back) < t


# Noise


EPSILON_1 = Rho(14_970_000)


def plan_of(sql, rho=EPSILON_1):
    """A plan over persons for five forces."""
    question = parse_sql(sql, {"persons": person_contract()}, ("a", "b", "c", "d", "e")).question
    return make_plan(
        question, split_evenly(rho, len(question.measures)), person_contract(), colluders=1, most_cells=10**5
    )


@pytest.mark.parametrize("change", [-1, 1])
def test_a_vector_of_another_length_gets_no_noise(change):
    """Cells that are not the plan's are a fault, and not sent."""
    plan = plan_of("SELECT role, COUNT(*), SUM(loss) FROM persons GROUP BY role")
    assert len(add_noise_share([0] * plan.cells, plan, 5)) == plan.cells
    with pytest.raises(ValueError, match="the plan has 6 cells"):
        add_noise_share([0] * (plan.cells + change), plan, 5)


def test_cells_beyond_their_bound_are_clamped_before_the_noise():
    """A fault that makes a cell huge moves the total no further than the public bound."""
    plan = plan_of("SELECT COUNT(*), SUM(loss) FROM persons")
    for sign in (1, -1):
        noised = add_noise_share([sign * 10**15] * plan.cells, plan, 5)
        for block in plan.blocks:
            reach = 12 * float(block.share(5, plan.colluders))
            assert abs(noised[block.start] - sign * block.bound * block.scale) < reach


def test_noise_is_scaled_to_fixed_point_and_drawn_anew():
    """The mean of many cells is the value times the scale; two calls differ."""
    contract_plan = plan_of("SELECT MONTH(day), role, force, COUNT(*) FROM persons GROUP BY 1, 2, 3", Rho(10**9))
    (block,) = contract_plan.blocks
    assert block.scale > 1
    first, second = (add_noise_share([500] * block.cells, contract_plan, 5) for _ in range(2))
    sigma = float(block.share(5, 1))
    assert abs(sum(first) / block.cells - 500 * block.scale) < 8 * sigma / math.sqrt(block.cells)
    assert first != second


@pytest.mark.parametrize("roster", [1, 2, 3, 5])
def test_opendps_map_gives_no_more_than_was_planned(roster):
    """OpenDP's own map of one share, times the forces that are honest, is at most the block's rho."""
    (block,) = plan_of("SELECT SUM(loss) FROM persons").blocks
    alone = local_rho(block.d_squared, scale=block.scale, sigma=block.share(roster, 1))
    assert alone / max(1, roster - 1) <= block.rho.nano / NANO * (1 + 1e-9)
    thinner = replace(block, rho=Rho(block.rho.nano * 2)).share(roster, 1)
    assert local_rho(block.d_squared, scale=block.scale, sigma=thinner) / max(1, roster - 1) > block.rho.nano / NANO
