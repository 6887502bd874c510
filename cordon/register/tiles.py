"""Tiles: the register's hashes and leaves as static files that any web server can hand out.

Names and contents as https://c2sp.org/tlog-tiles has them: a tile holds up to 256 hashes of one level,
eight levels of the tree above the next lower tile's; an entry bundle holds up to 256 leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cordon.errors import Malformed
from cordon.register.merkle import Node, node_hash
from cordon.units import DIGEST_BYTES, Digest

HEIGHT = 8
WIDTH = 1 << HEIGHT
MOST_LEAF = 0xFFFF
"""Bytes of a leaf: an entry bundle states its length in two bytes."""

Tile = Callable[[int, int], Sequence[Digest]]
"""Hashes of the tile at (level, number); as many as there are."""


def tile_path(level: int | None, number: int, width: int = WIDTH) -> str:
    """Path of a tile below the register's folder; `level` None names an entry bundle.

    Args:
        width: hashes or leaves in it; below 256 it is partial.
    """
    kind = "entries" if level is None else str(level)
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{kind}/{index_path(number)}{partial}"


def index_path(number: int) -> str:
    """A number as a path of groups of three digits, all but the last behind an x."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def tiles_of(size: int) -> list[tuple[int, int, int]]:
    """(level, number, width) of every tile of a tree of `size` leaves, lowest level first."""
    found: list[tuple[int, int, int]] = []
    level, count = 0, size
    while count:
        whole, rest = divmod(count, WIDTH)
        found += [(level, number, WIDTH) for number in range(whole)]
        if rest:
            found.append((level, whole, rest))
        level, count = level + 1, whole
    return found


def node_of(tile: Tile) -> Node:
    """Hashes of complete subtrees, read from tiles."""

    def node(level: int, index: int) -> Digest:
        of, inner = divmod(level, HEIGHT)
        first = index << inner
        return _within(tile(of, first // WIDTH), inner, first % WIDTH >> inner)

    return node


def _within(hashes: Sequence[Digest], level: int, index: int) -> Digest:
    row = list(hashes[index << level : (index + 1) << level])
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def pack_entries(leaves: Sequence[bytes]) -> bytes:
    """An entry bundle.

    Raises:
        ValueError: a leaf is too long for one.
    """
    if any(len(leaf) > MOST_LEAF for leaf in leaves):
        raise ValueError(f"a leaf has at most {MOST_LEAF} bytes")
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def unpack_entries(data: bytes) -> list[bytes]:
    """The leaves of an entry bundle.

    Raises:
        Malformed: cut off, or too many.
    """
    leaves: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data) or at + 2 > len(data) or len(leaves) == WIDTH:
            raise Malformed("an entry bundle is cut off, or has too many leaves")
        leaves.append(data[at + 2 : end])
        at = end
    return leaves


def unpack_tile(data: bytes, width: int) -> tuple[Digest, ...]:
    """The hashes of a tile.

    Raises:
        Malformed: of another length than `width` hashes.
    """
    if len(data) != width * DIGEST_BYTES:
        raise Malformed(f"a tile of {width} hashes has {width * DIGEST_BYTES} bytes, got {len(data)}")
    return tuple(Digest(data[at : at + DIGEST_BYTES]) for at in range(0, len(data), DIGEST_BYTES))
