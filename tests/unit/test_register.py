"""The register's tree, tiles and checkpoints, by published vectors and against a slow definition."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from cordon.envelope import KeySigner
from cordon.errors import Malformed, Untrusted
from cordon.register.checkpoint import open_checkpoint, write_checkpoint
from cordon.register.leaf import Checkpoint
from cordon.register.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from cordon.register.tiles import WIDTH, node_of, pack_entries, tile_path, tiles_of, unpack_entries
from cordon.units import Digest

# Provenance: the eight inputs and roots of Certificate Transparency's reference implementation (Apache-2.0),
# which log implementations share as known answers for RFC 6962 and RFC 9162 hashing.
INPUTS = tuple(bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
))  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(700)]
SIZES = st.integers(0, len(LEAVES))


def slow_root(leaves):
    """The definition of RFC 9162, section 2.1.1, word for word."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else EMPTY_ROOT
    left = 1
    while 2 * left < len(leaves):
        left *= 2
    return node_hash(slow_root(leaves[:left]), slow_root(leaves[left:]))


def tile(level, number):
    """A tile of the tree over LEAVES, from the definition."""
    span = WIDTH**level
    starts = range(number * WIDTH * span, min((number + 1) * WIDTH * span, len(LEAVES)), span)
    return [slow_root(LEAVES[at : at + span]) for at in starts if at + span <= len(LEAVES)]


NODE = node_of(tile)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_published_ones(size):
    """Hashing agrees with the known answers of other implementations."""
    assert Frontier().extended(map(leaf_hash, INPUTS[:size])).root.hex() == ROOTS[size - 1]


@given(SIZES)
def test_roots_and_frontiers_are_those_of_the_definition(size):
    """Tiles, frontier and definition give the same root."""
    expected = slow_root(LEAVES[:size])
    frontier = Frontier.of(size, NODE)
    assert root_of(size, NODE) == frontier.root == Frontier().extended(LEAVES[:size]).root == expected


@given(SIZES, st.data())
def test_proofs_hold_for_what_they_show_and_nothing_else(size, data):
    """A proof verifies; with another leaf, index, root, size, or any of its hashes changed it does not."""
    old = data.draw(st.integers(0, size))
    root, old_root = root_of(size, NODE), root_of(old, NODE)
    proof = consistency_proof(old, size, NODE)
    verify_consistency(old, old_root, size, root, proof)
    other = Digest(hashlib.sha256(root).digest())
    if 0 < old < size:
        refused(verify_consistency, old, other, size, root, proof)
        refused(verify_consistency, old, old_root, size, other, proof)
        refused(verify_consistency, old, old_root, size, root, proof[:-1])
        refused(verify_consistency, old, old_root, size, root, (*proof, other))
        at = data.draw(st.integers(0, len(proof) - 1))
        refused(verify_consistency, old, old_root, size, root, (*proof[:at], other, *proof[at + 1 :]))
    if old < size:
        path = inclusion_proof(old, size, NODE)
        verify_inclusion(LEAVES[old], old, size, path, root)
        refused(verify_inclusion, other, old, size, path, root)
        refused(verify_inclusion, LEAVES[old], size, size, path, root)
        refused(verify_inclusion, LEAVES[old], old, size, (*path, other), root)
        if old + 1 < size:
            refused(verify_inclusion, LEAVES[old], old + 1, size, path, root)


def refused(verify, *values):
    """A proof is refused as untrusted."""
    with pytest.raises(Untrusted):
        verify(*values)


def test_two_roots_of_one_size_are_a_fork():
    """Nothing shows that one tree of a size is another of the same size."""
    with pytest.raises(Untrusted, match="forked"):
        verify_consistency(5, LEAVES[0], 5, LEAVES[1], ())


def test_tile_names_are_those_of_the_specification():
    """The examples of C2SP tlog-tiles."""
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(None, 5, 17) == "tile/entries/005.p/17"
    assert tiles_of(70_000)[-4:] == [(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_entry_bundles_survive_a_round_trip(leaves):
    """An entry bundle gives back what was packed; cut off, it is refused."""
    data = pack_entries(leaves)
    assert unpack_entries(data) == leaves
    if data and leaves[-1]:
        with pytest.raises(Malformed):
            unpack_entries(data[:-1])


KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNER = KeySigner(KEY)
STANDS = Checkpoint(700, root_of(700, NODE))


def note(origin="cordon/demonstration", checkpoint=STANDS, time=1_800_000_000):
    """A signed checkpoint."""
    return write_checkpoint(origin, checkpoint, KEY.public_key(), SIGNER, time)


def test_a_checkpoint_survives_a_round_trip():
    """What was signed is what is read, with the time of the cosignature."""
    opened = open_checkpoint(note(), "cordon/demonstration", KEY.public_key())
    assert (opened.checkpoint, opened.time) == (STANDS, 1_800_000_000)


def test_a_changed_checkpoint_is_refused():
    """Another origin, size, root, time, key or missing cosignature never passes."""
    good = note()
    other = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32).public_key()
    lines = good.decode().split("\n")
    timed = base64.b64decode(lines[-2].split(" ")[2])
    later = base64.b64encode(timed[:4] + (1_900_000_000).to_bytes(8, "big") + timed[12:]).decode()
    changed = [
        good.replace(b"\n700\n", b"\n701\n"),
        good.replace(lines[2].encode(), base64.b64encode(EMPTY_ROOT)),
        good.replace(lines[-2].split(" ")[2].encode(), later.encode()),
        "\n".join([*lines[:-2], ""]).encode(),
        good + (lines[-2] + "\n").encode(),
    ]
    for bad in changed:
        with pytest.raises(Untrusted):
            open_checkpoint(bad, "cordon/demonstration", KEY.public_key())
    for origin, key in (("cordon/other", KEY.public_key()), ("cordon/demonstration", other)):
        with pytest.raises(Untrusted):
            open_checkpoint(good, origin, key)


@pytest.mark.parametrize(
    "bad",
    [b"", b"\xff", b"x\n", note().replace(b"\n700\n", b"\n0700\n"), note()[:-1], note() + b"x", note() * 40],
)
def test_what_is_no_checkpoint_is_malformed(bad):
    """Cut off, doubled, with leading zeros or not text: refused before any signature is looked at."""
    with pytest.raises(Malformed):
        open_checkpoint(bad, "cordon/demonstration", KEY.public_key())
