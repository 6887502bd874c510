"""The register's Merkle tree: hashes, proofs and their verification, as RFC 9162 has them.

Pure. Whoever proves supplies the hash of any complete subtree (`Node`); whoever verifies needs nothing
but the proof. A `Frontier` is what has to be kept to append, and to compute the root, without the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cordon.errors import Untrusted
from cordon.units import DIGEST_BYTES, Digest

EMPTY_ROOT = Digest(hashlib.sha256(b"").digest())
"""Root of the tree without leaves. Source: RFC 9162, section 2.1.1."""

Node = Callable[[int, int], Digest]
"""Hash of the complete subtree of 2^level leaves that begins at leaf index * 2^level: (level, index)."""


def leaf_hash(leaf: bytes) -> Digest:
    """Hash of one leaf. Source: RFC 9162, section 2.1.1."""
    return Digest(hashlib.sha256(b"\x00" + leaf).digest())


def node_hash(left: bytes, right: bytes) -> Digest:
    """Hash of an inner node. Source: RFC 9162, section 2.1.1."""
    return Digest(hashlib.sha256(b"\x01" + left + right).digest())


def _split(count: int) -> int:
    """The largest power of two below `count`; of 2 or more."""
    return int(1 << (count - 1).bit_length() - 1)


def root_of(size: int, node: Node, start: int = 0) -> Digest:
    """Root over `size` leaves from `start`, which is a multiple of a power of two that is at least `size`."""
    if size == 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, start >> level)
    left = _split(size)
    return node_hash(root_of(left, node, start), root_of(size - left, node, start + left))


def inclusion_proof(index: int, size: int, node: Node) -> tuple[Digest, ...]:
    """Proof that leaf `index` is in the tree of `size` leaves. Source: RFC 9162, section 2.1.3.1.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[Digest] = []
    start, count = 0, size
    while count > 1:
        left = _split(count)
        if index - start < left:
            path.append(root_of(count - left, node, start + left))
            count = left
        else:
            path.append(root_of(left, node, start))
            start, count = start + left, count - left
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, node: Node) -> tuple[Digest, ...]:
    """Proof that the tree of `new` leaves begins with that of `old`. Source: RFC 9162, section 2.1.4.1.

    Empty where `old` is 0 or equals `new`.

    Raises:
        ValueError: `old` is larger than `new`.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} leaves is not the beginning of one of {new}")
    if old in (0, new):
        return ()
    path: list[Digest] = []
    start, count, rest, whole = 0, new, old, True
    while rest != count:
        left = _split(count)
        if rest <= left:
            path.append(root_of(count - left, node, start + left))
            count = left
        else:
            path.append(root_of(left, node, start))
            start, count, rest, whole = start + left, count - left, rest - left, False
    if not whole:
        path.append(root_of(count, node, start))
    return tuple(reversed(path))


def verify_inclusion(leaf: Digest, index: int, size: int, proof: Sequence[Digest], root: Digest) -> None:
    """Check an inclusion proof. Source: RFC 9162, section 2.1.3.2.

    Args:
        leaf: the leaf's hash.

    Raises:
        Untrusted: the leaf is not shown to be in the tree.
    """
    if not 0 <= index < size:
        raise Untrusted(f"no leaf {index} can be in a register of {size} leaves")
    found = leaf
    for item, on_left in zip(proof, _sides(index, size - 1, len(proof)), strict=True):
        found = node_hash(item, found) if on_left else node_hash(found, item)
    if found != root:
        raise Untrusted(f"leaf {index} is not shown to be in the register of {size} leaves")


def verify_consistency(old: int, old_root: Digest, new: int, new_root: Digest, proof: Sequence[Digest]) -> None:
    """Check that one tree is the beginning of another. Source: RFC 9162, section 2.1.4.2.

    Raises:
        Untrusted: the older tree is not shown to be the newer one's beginning.
    """
    if not 0 <= old <= new:
        raise Untrusted(f"a register of {old} leaves cannot be the beginning of one of {new}")
    if old == new and old_root != new_root:
        raise Untrusted(f"two registers of {new} leaves have different roots: the register was forked")
    if old in (0, new):
        if proof:
            raise Untrusted("a consistency proof is too long")
    elif _roots(old, old_root, new, proof) != (old_root, new_root):
        raise Untrusted(f"the register of {old} leaves is not shown to be the beginning of that of {new}")


def _roots(old: int, old_root: Digest, new: int, proof: Sequence[Digest]) -> tuple[Digest, Digest]:
    """What a consistency proof gives as the roots of the older and the newer tree."""
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    # A complete tree is itself the first part of the proof, and is left out of it.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise Untrusted("a consistency proof is missing")
    sides = _sides(first, last, len(path) - 1)
    before = after = path[0]
    for item, on_left in zip(path[1:], sides, strict=True):
        before = node_hash(item, before) if on_left else before
        after = node_hash(item, after) if on_left else node_hash(after, item)
    return before, after


def _sides(first: int, last: int, count: int) -> list[bool]:
    """For each hash of a proof, whether it stands to the left on the way up from node `first` to the root."""
    sides: list[bool] = []
    while last:
        on_left = bool(first & 1) or first == last
        sides.append(on_left)
        while on_left and not first & 1 and first:
            first, last = first >> 1, last >> 1
        first, last = first >> 1, last >> 1
    if len(sides) != count:
        raise Untrusted(f"a proof has {count} hashes where {len(sides)} are needed")
    return sides


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of a tree's complete subtrees, largest first: enough to append and to compute the root."""

    size: int = 0
    peaks: tuple[Digest, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves has {self.size.bit_count()} peaks, got {len(self.peaks)}")

    @classmethod
    def of(cls, size: int, node: Node) -> Frontier:
        """The frontier of the first `size` leaves of a tree."""
        peaks: list[Digest] = []
        start = 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(node(level, start >> level))
                start += 1 << level
        return cls(size, tuple(peaks))

    @property
    def root(self) -> Digest:
        """Root of the tree."""
        if not self.peaks:
            return EMPTY_ROOT
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = node_hash(peak, found)
        return found

    def extended(self, leaves: Iterable[Digest]) -> Frontier:
        """The frontier after more leaves, given by their hashes."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            found, merged = leaf, size
            while merged & 1:
                found = node_hash(peaks.pop(), found)
                merged >>= 1
            peaks.append(found)
            size += 1
        return Frontier(size, tuple(peaks))


def packed(hashes: Iterable[Digest]) -> bytes:
    """Hashes one after the other, as tiles and stored frontiers have them."""
    return b"".join(hashes)


def unpacked(data: bytes) -> tuple[Digest, ...]:
    """The hashes of `packed`.

    Raises:
        ValueError: not a whole number of hashes.
    """
    return tuple(Digest(data[at : at + DIGEST_BYTES]) for at in range(0, len(data), DIGEST_BYTES))
